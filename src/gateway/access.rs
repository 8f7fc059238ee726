//! Callers of agents, with an API key mostly: who they are, and what they have left.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::Gateway;
use super::reply::Reply;
use crate::access::{Admission, Arrival, Customer, PresentedKey, Rate, Session};
use crate::invocation::Occasion;
use crate::platform::Platform;
use crate::problem::Problem;

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Gateway<'_> {
    /// Who calls: an operator by its session, which tries an agent, else whoever `Authorization: Bearer` and an API key
    /// name. One call is taken from the key's bucket; an operator has that of its address alone.
    ///
    /// # Errors
    /// 401 `api-key-missing` and `api-key-invalid`, 429 `rate-limited`, 503 `storage-unavailable`.
    pub(super) async fn authenticate<P: Platform>(
        &self,
        session: Option<&Session>,
        headers: &HeaderMap,
        occasion: &Occasion,
        platform: &P,
    ) -> Result<(Customer, Rate), Problem> {
        if let Some(session) = session {
            return match platform.admit_address(&occasion.address).await? {
                Arrival::Welcome { rate } => Ok((session.into(), rate)),
                Arrival::Limited { rate, retry_after_ms } => Err(Problem::RateLimited { rate, retry_after_ms }),
            };
        }
        let text = bearer(headers);
        let presented = text.and_then(PresentedKey::parse);
        // Whoever has no key is counted as well.
        match platform.admit_client(presented.as_ref(), &occasion.address).await? {
            Admission::Admitted { key, rate } => Ok((key.into(), rate)),
            Admission::Limited { rate, retry_after_ms } => Err(Problem::RateLimited { rate, retry_after_ms }),
            Admission::Invalid if text.is_none() => Err(Problem::ApiKeyMissing),
            Admission::Invalid => Err(Problem::ApiKeyInvalid),
        }
    }
}

/// What the one field `Authorization: Bearer` holds.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next()?.to_str().ok()?;
    let (scheme, token) = field.split_once(' ')?;
    let only = fields.next().is_none();
    (only && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim_matches(' '))
}

impl Reply {
    /// Tells what a bucket holds, in the fields of draft-ietf-httpapi-ratelimit-headers.
    pub(super) fn rate(self, rate: &Rate) -> Self {
        let name = rate.policy.name();
        self.with(
            RATE_LIMIT,
            &format!("\"{name}\";r={};t={}", rate.remaining, rate.reset_s),
        )
        .with(
            RATE_LIMIT_POLICY,
            &format!("\"{name}\";q={};w={}", rate.limit, rate.window_s),
        )
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::access::RatePolicy;

    #[test]
    fn bearers() {
        let check = |fields: &[&'static str], expected| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(AUTHORIZATION, HeaderValue::from_static(field));
            }
            assert_eq!(bearer(&headers), expected, "{fields:?}");
        };
        check(&[], None);
        check(&["Bearer k"], Some("k"));
        check(&["bearer  k "], Some("k"));
        check(&["Bearer"], None);
        check(&["Bearer "], Some(""));
        check(&["Basic k"], None);
        check(&["k"], None);
        check(&["Bearer k", "Bearer k"], None);
    }

    #[test]
    fn fields() {
        let rate = Rate {
            policy: RatePolicy::Key,
            limit: 60,
            window_s: 60,
            remaining: 5,
            reset_s: 55,
        };
        let response = Reply::no_content().rate(&rate).into_response("r");
        assert_eq!(response.headers()["ratelimit"], "\"key\";r=5;t=55");
        assert_eq!(response.headers()["ratelimit-policy"], "\"key\";q=60;w=60");
    }
}
