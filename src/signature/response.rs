//! Responses: signed under the key of the request that they answer, and bound to that request.

use http::HeaderMap;
use http::HeaderValue;
use sfv::{BareItem, Integer};

use super::base::{Component, RequestView, Subject, signature_base, signature_params};
use super::keys::KeyRecord;
use super::profile::{
    self, ALGORITHM, IDEMPOTENCY_KEY, LABEL, REQUEST_COMPONENTS, RESPONSE_TAG, SKEW_MAX_S, WINDOW_MAX_S,
};
use super::rejection::Rejection;
use super::structured::{Parameters, serialise_string};
use super::verify::Verified;
use super::{digest, mac};

/// The header that marks a stored answer. It is covered where it is sent.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// Header fields that a response covers where it has them: what is done next depends on them.
const WHERE_SENT: [&str; 3] = [IDEMPOTENCY_REPLAYED, "etag", "location"];

/// What of a request its response is bound to.
#[derive(Debug, Clone)]
pub struct Binding {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Binding {
    /// Takes what is needed from a request.
    #[must_use]
    pub fn of(request: &RequestView<'_>) -> Self {
        let mut headers = HeaderMap::new();
        for name in ["content-digest", IDEMPOTENCY_KEY] {
            if let Some(value) = request.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        Self {
            method: request.method.to_owned(),
            authority: request.authority.to_owned(),
            path: request.path.to_owned(),
            query: request.query.map(str::to_owned),
            headers,
        }
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }

    /// What a response to this request must cover.
    #[must_use]
    pub fn components(&self, response: &HeaderMap) -> Vec<Component> {
        // A response without a body, such as 304, has no content type. Stripping one that was covered breaks the base.
        let own = ["@status", "content-type", "content-digest"]
            .into_iter()
            .filter(|name| *name != "content-type" || response.contains_key(*name))
            .map(Component::own);
        let of_request = REQUEST_COMPONENTS.map(Component::of_request);
        let bound = ["content-digest", IDEMPOTENCY_KEY]
            .into_iter()
            .filter(|name| self.headers.contains_key(*name))
            .map(Component::of_request);
        let where_sent = WHERE_SENT
            .into_iter()
            .filter(|name| response.contains_key(*name))
            .map(Component::own);
        own.chain(of_request).chain(bound).chain(where_sent).collect()
    }
}

/// Signs a response for the caller whose request was verified: adds `Content-Digest`, `Signature-Input`
/// and `Signature`. The response must have a `Content-Type`.
pub fn sign_response(response: &mut http::Response<Vec<u8>>, caller: &Verified, now_s: u64) {
    let digest = digest::content_digest(response.body());
    insert(response.headers_mut(), "content-digest", &digest);
    let components = caller.binding.components(response.headers());
    let parameters: Parameters = vec![
        ("created".into(), integer(now_s)),
        ("nonce".into(), string(&caller.nonce)),
        ("alg".into(), string(ALGORITHM)),
        ("keyid".into(), string(&caller.key_id)),
        ("tag".into(), string(RESPONSE_TAG)),
    ];
    let subject = Subject::Response {
        status: response.status().as_u16(),
        headers: response.headers(),
        request: caller.binding.view(),
    };
    // An answer that cannot be signed goes out unsigned: to the caller that is a transport failure.
    let Ok((input, signature)) = sign(&subject, &components, &parameters, caller.secret.bytes()) else {
        return;
    };
    insert(response.headers_mut(), "signature-input", &input);
    insert(response.headers_mut(), "signature", &signature);
}

/// Verifies that a response answers this very request, under this key.
///
/// # Errors
/// The class of the first rule that does not hold.
pub fn verify_response(
    response: &http::Response<Vec<u8>>,
    binding: &Binding,
    nonce: &str,
    key: &KeyRecord,
    now_s: u64,
) -> Result<(), Rejection> {
    let headers = response.headers();
    if !headers.contains_key("signature") {
        return Err(Rejection::Missing);
    }
    let found = profile::find(headers, RESPONSE_TAG)?;
    let parameters = &found.parameters;
    if parameters.created > now_s.saturating_add(SKEW_MAX_S) {
        return Err(Rejection::NotYetValid);
    }
    if parameters.created + WINDOW_MAX_S + SKEW_MAX_S < now_s {
        return Err(Rejection::Expired);
    }
    if parameters.nonce != nonce || parameters.key_id != key.id {
        return Err(Rejection::Invalid);
    }
    let required = binding.components(headers);
    if !required.iter().all(|component| found.components.contains(component)) {
        return Err(Rejection::Coverage);
    }
    profile::covered_once(&found.components, headers)?;
    let subject = Subject::Response {
        status: response.status().as_u16(),
        headers,
        request: binding.view(),
    };
    let base = signature_base(&subject, &found.components, &found.received).map_err(|_| Rejection::Coverage)?;
    if !mac::verify(key.secret.bytes(), base.as_bytes(), &found.mac) {
        return Err(Rejection::Invalid);
    }
    match profile::single(headers, "content-digest")? {
        Some(field) if digest::matches(field, response.body()) => Ok(()),
        _ => Err(Rejection::Digest),
    }
}

/// Both field values, under our label.
pub(super) fn sign(
    subject: &Subject<'_>,
    components: &[Component],
    parameters: &Parameters,
    key: &[u8],
) -> Result<(String, String), super::base::BaseError> {
    let base = signature_base(subject, components, parameters)?;
    let mac = BareItem::ByteSequence(mac::sign(key, base.as_bytes()));
    let input = format!("{LABEL}={}", signature_params(components, parameters)?);
    let signature = sfv::ItemSerializer::new().bare_item(&mac).finish();
    Ok((input, format!("{LABEL}={signature}")))
}

pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn integer(value: u64) -> BareItem {
    // A structured integer has 15 digits: enough for seconds for thirty million years.
    BareItem::Integer(Integer::try_from(value).unwrap_or(Integer::MAX))
}

pub(super) fn string(value: &str) -> BareItem {
    let printable = serialise_string(value).map(|_| value.to_owned()).unwrap_or_default();
    BareItem::String(sfv::String::from_string(printable).unwrap_or_default())
}
