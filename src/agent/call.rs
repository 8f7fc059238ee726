//! Calls of agents to the outside: to an allowed address alone, behind a breaker, and again where that may help.

use http::HeaderMap;

use super::outside::{Destination, Incoming, within};
use super::{Context, Failure};
use crate::backoff::{backoff_ms, retry_after_ms};
use crate::breaker::{End, Permit};
use crate::outgoing::{CALLBACK_URL_MAX_BYTES, Rules, check_url};
use crate::platform::Unanswered;

/// The wait before a call is made again, in milliseconds, where the other side names none; it doubles from then on.
pub const AGAIN_MS: u64 = 200;
/// The longest of these waits, in milliseconds. The other side may ask for a longer one, which it gets within the deadline.
pub const AGAIN_MAX_MS: u64 = 10_000;
/// The time that is kept for what comes after the last call, in milliseconds.
pub(super) const MARGIN_MS: u64 = 50;

/// What calls of one agent have in common.
pub(super) struct Call<'a> {
    pub(super) context: &'a Context<'a>,
    /// The one place that may be called.
    pub(super) to: Destination<'a>,
    /// Whose breaker is asked.
    pub(super) breaker: String,
    /// How long the head of an answer may take, and how long its body may be silent, in milliseconds.
    pub(super) silence_max_ms: u64,
    /// How long a call may take from beginning to end, in milliseconds.
    pub(super) whole_max_ms: u64,
    /// For how long the next call is waited for, in milliseconds: less than the deadline where somebody else stands ready.
    pub(super) wait_max_ms: u64,
}

/// Why a call came to no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// The breaker is open: nothing was sent.
    BreakerOpen,
    /// The address may not be called: nothing was sent.
    NotAllowed(String),
    /// Nothing came in time.
    TimedOut,
    /// It did not get through, or broke off. Nobody is told how: the platform's words may name an address.
    Failed,
}

impl Missed {
    /// The same as a failure of the agent that called an API, which had `timeout_ms`.
    pub(super) fn failure(&self, timeout_ms: u64) -> Failure {
        match self {
            Self::NotAllowed(reason) => not_allowed(reason),
            Self::BreakerOpen => Failure::retryable(
                "http-breaker-open",
                "the other side failed several times: it is left alone for a while",
                crate::breaker::OPEN_MS,
            ),
            Self::TimedOut => Failure::retryable(
                "http-timed-out",
                format!("the other side did not answer within {timeout_ms} ms"),
                AGAIN_MS,
            ),
            Self::Failed => Failure::retryable("http-unreachable", "the other side could not be reached", AGAIN_MS),
        }
    }
}

impl From<Unanswered> for Missed {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::TimedOut { .. } => Self::TimedOut,
            Unanswered::Failed(_) => Self::Failed,
        }
    }
}

impl Call<'_> {
    /// Makes one call, and reads of its answer what `read` does. `failed` says whether an answer counts against the other
    /// side.
    pub(super) async fn once<T>(
        &self,
        request: &http::Request<Vec<u8>>,
        read: impl AsyncFnOnce(Incoming) -> Result<T, Unanswered>,
        failed: impl FnOnce(&T) -> bool,
    ) -> Result<T, Missed> {
        let outside = self.context.host.outside();
        self.check(&request.uri().to_string()).map_err(Missed::NotAllowed)?;
        let permit = outside.permit(&self.breaker);
        if permit == Permit::Reject {
            return Err(Missed::BreakerOpen);
        }
        let mut reported = Reported {
            call: self,
            permit,
            end: End::Unknown,
        };
        let host = self.context.host;
        let answer = within(host, self.whole_max_ms, async {
            let incoming = within(host, self.silence_max_ms, outside.fetch(self.to, request)).await?;
            read(incoming).await
        })
        .await;
        reported.end = match &answer {
            Ok(answer) if failed(answer) => End::Failed,
            Ok(_) => End::Answered,
            // The step's own time was over: whose fault that is, nobody knows.
            Err(Unanswered::TimedOut { .. })
                if host.now_ms().saturating_add(MARGIN_MS) >= self.context.deadline_at_ms =>
            {
                End::Unknown
            }
            Err(_) => End::Failed,
        };
        answer.map_err(Missed::from)
    }

    /// Whether the request may go where it is to go; if not, why.
    fn check(&self, url: &str) -> Result<(), String> {
        let outside = self.context.host.outside();
        match self.to {
            Destination::Origin(origin) => {
                let rules = Rules {
                    development: outside.connections().development,
                    origins: &[origin.to_owned()],
                };
                let target = check_url(url, rules).map_err(|refusal| refusal.to_string())?;
                let as_it_is = target.url == url;
                as_it_is
                    .then_some(())
                    .ok_or("the URL is not in its one spelling".into())
            }
            Destination::Binding(_) | Destination::Ai(_) if url.len() > CALLBACK_URL_MAX_BYTES => {
                let bytes = url.len();
                Err(format!(
                    "the URL has {bytes} bytes: at most {CALLBACK_URL_MAX_BYTES} are allowed"
                ))
            }
            Destination::Ai(name) if !outside.is_bound(self.to) => Err(format!(
                "Workers AI is not bound as `{name}`: an operator adds `ai` to wrangler.toml"
            )),
            Destination::Binding(name) if !outside.is_bound(self.to) => Err(format!(
                "no Worker is bound as `{name}`: an operator adds it to `services` in wrangler.toml"
            )),
            Destination::Binding(_) | Destination::Ai(_) => Ok(()),
        }
    }

    /// The next bytes of a body, or nothing at its end.
    pub(super) async fn chunk(&self, incoming: &mut Incoming) -> Result<Option<Vec<u8>>, Unanswered> {
        within(self.context.host, self.silence_max_ms, incoming.body.next()).await
    }

    /// Reads a body that may have so many bytes; nothing where it has more.
    pub(super) async fn body(&self, incoming: &mut Incoming, max_bytes: usize) -> Result<Option<Vec<u8>>, Unanswered> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(incoming).await? {
            if body.len() + chunk.len() > max_bytes {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    /// Waits before the next call: as long as the other side asks for, or longer with each failure. Answers whether there is
    /// time for it; where there is not, nothing was waited for.
    pub(super) async fn wait(&self, failures: u32, asked_ms: Option<u64>) -> bool {
        let host = self.context.host;
        let own_ms = backoff_ms(AGAIN_MS, AGAIN_MAX_MS, failures, host.outside().random());
        let wait_ms = asked_ms.unwrap_or(own_ms);
        let back_at_ms = host.now_ms().saturating_add(wait_ms).saturating_add(MARGIN_MS);
        if wait_ms > self.wait_max_ms || back_at_ms >= self.context.deadline_at_ms {
            return false;
        }
        host.sleep_ms(wait_ms).await;
        true
    }
}

/// Tells the breaker in any case, also when nobody waits for the call any more.
struct Reported<'a> {
    call: &'a Call<'a>,
    permit: Permit,
    end: End,
}

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        let outside = self.call.context.host.outside();
        outside.report(&self.call.breaker, self.permit, self.end);
    }
}

/// Whether the same call may succeed later, by its status.
pub(super) const fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// How long the other side asks to wait, in milliseconds: `Retry-After`, seconds or a date, or the finer `retry-after-ms`
/// that providers of models send. `now_ms` is the time at which the answer came.
pub(super) fn asked_to_wait_ms(headers: &HeaderMap, now_ms: u64) -> Option<u64> {
    let field = |name: &str| headers.get(name)?.to_str().ok();
    let finer = field("retry-after-ms").and_then(|field| field.trim().parse().ok());
    finer.or_else(|| retry_after_ms(field("retry-after")?, now_ms))
}

/// A failure that an operator has to look at: the manifest and the configuration do not fit together.
pub(super) fn not_allowed(reason: &str) -> Failure {
    Failure::terminal("call-not-allowed", format!("nothing was sent: {reason}"))
}

/// The host of an origin or of a URL, and nothing else of it; empty where it has none.
pub(super) fn host_of(url: &str) -> String {
    let url: Option<http::Uri> = url.parse().ok();
    url.as_ref().and_then(http::Uri::host).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        // Wed, 21 Oct 2026 07:27:30 GMT.
        const NOW_MS: u64 = 1_792_567_650_000;
        let check = |fields: &[(&'static str, &'static str)], expected| {
            let headers = fields
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            assert_eq!(asked_to_wait_ms(&headers.collect(), NOW_MS), expected, "{fields:?}");
        };
        check(&[], None);
        check(&[("retry-after", "2")], Some(2_000));
        check(&[("retry-after", "2"), ("retry-after-ms", "15")], Some(15));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], Some(30_000));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:27:00 GMT")], None);
        check(
            &[
                ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
                ("retry-after-ms", "15"),
            ],
            Some(15),
        );
        check(&[("retry-after", "2"), ("retry-after-ms", "soon")], Some(2_000));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "18446744073709551615")], Some(u64::MAX));
    }
}
