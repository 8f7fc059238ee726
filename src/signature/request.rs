//! Signing a request: what an orchestrator, the command line and the gateway's own link do.

use sfv::BareItem;

use super::base::{BaseError, Component, RequestView, Subject};
use super::digest;
use super::keys::KeyRecord;
use super::profile::{
    ALGORITHM, IDEMPOTENCY_KEY, REQUEST_TAG, WINDOW_MAX_S, preconditions, required_components, wherever_sent,
};
use super::rejection::Rejection;
use super::response::{Binding, insert, integer, sign, string, verify_response};
use super::structured::{Parameters, serialise_string};

/// When a request is signed, and under which nonce.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The current time in Unix seconds.
    pub created_s: u64,
    /// 16 to 64 random characters, never used before under this key.
    pub nonce: String,
}

/// What the sender must keep to verify the answer.
#[derive(Debug, Clone)]
pub struct Sent {
    binding: Binding,
    nonce: String,
    key: KeyRecord,
}

impl Sent {
    /// Verifies that a response answers this very request.
    ///
    /// # Errors
    /// The class of the first rule that does not hold.
    pub fn verify(&self, response: &http::Response<Vec<u8>>, now_s: u64) -> Result<(), Rejection> {
        verify_response(response, &self.binding, &self.nonce, &self.key, now_s)
    }
}

/// Signs a request by `baton-request-v1`: adds `Content-Digest` where there is a body, `Signature-Input` and
/// `Signature`. The URI must be absolute; a body needs a `Content-Type`; `Idempotency-Key`, `If-Match`,
/// `If-None-Match`, `Baton-Generation` and `Baton-Depth` are covered where they are there.
///
/// # Errors
/// When something that must be covered is missing.
pub fn sign_request(request: &mut http::Request<Vec<u8>>, key: &KeyRecord, stamp: Stamp) -> Result<Sent, BaseError> {
    serialise_string(&stamp.nonce).map_err(|_| BaseError::ParameterType("nonce".into()))?;
    let with_body = !request.body().is_empty();
    if with_body {
        let digest = digest::content_digest(request.body());
        insert(request.headers_mut(), "content-digest", &digest);
    }
    let with_key = request.headers().contains_key(IDEMPOTENCY_KEY);
    let components: Vec<_> = required_components(with_body, with_key)
        .chain(preconditions(request.headers()))
        .chain(wherever_sent(request.headers()))
        .map(Component::own)
        .collect();
    let parameters: Parameters = vec![
        ("created".into(), integer(stamp.created_s)),
        ("expires".into(), integer(stamp.created_s + WINDOW_MAX_S)),
        ("nonce".into(), string(&stamp.nonce)),
        ("alg".into(), string(ALGORITHM)),
        ("keyid".into(), string(&key.id)),
        ("tag".into(), BareItem::String(sfv::string_ref(REQUEST_TAG).to_owned())),
    ];
    let view = RequestView::of(request)?;
    let (input, signature) = sign(&Subject::Request(view), &components, &parameters, key.secret.bytes())?;
    let sent = Sent {
        binding: Binding::of(&view),
        nonce: stamp.nonce,
        key: key.clone(),
    };
    insert(request.headers_mut(), "signature-input", &input);
    insert(request.headers_mut(), "signature", &signature);
    Ok(sent)
}
