//! Verifying a request: the one door through which a signed byte comes in.
//!
//! The order is the security: cheap checks first, the MAC before anything is told of the key, the MAC before the
//! digest, and no parser of the body before all of them.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderName};

use super::base::{Component, RequestView, Subject, signature_base};
use super::keys::{KeyRecord, Keyring, Purpose, Scheme, Secret, Validity};
use super::origins::Origins;
use super::profile::{
    self, DEPTH, DEPTH_MAX, GENERATION, GENERATION_MAX, HEADERS_MAX, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_MAX_BYTES,
    REQUEST_TAG, SKEW_MAX_S, WINDOW_MAX_S, required_components,
};
use super::rejection::Rejection;
use super::response::Binding;
use super::structured::parse_string;
use super::{digest, mac, path, webhook};

/// What a route asks of a request's signature.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The keys that may sign.
    pub keyring: &'a Keyring,
    /// The origins that a request may be addressed to.
    pub origins: &'a Origins,
    /// What the key must be for.
    pub purpose: Purpose,
    /// Whether an idempotency key must be there and covered: on every call that has an effect.
    pub idempotency: bool,
    /// Whether `If-Match` and `If-None-Match` decide about the call's effect: where they are sent, they must be
    /// covered.
    pub preconditions: bool,
    /// The agent and the action, where Standard Webhooks may be accepted: the derived secret is bound to them.
    pub webhook: Option<(&'a str, &'a str)>,
    /// The current time in Unix seconds.
    pub now_s: u64,
}

/// A request whose signature holds. There is no other way to make one than [`verify`].
#[derive(Debug, Clone)]
pub struct Verified {
    pub(super) key_id: String,
    pub(super) orchestrator: String,
    agents: Vec<String>,
    pub(super) nonce: String,
    nonce_expires_at_s: Option<u64>,
    idempotency_key: Option<String>,
    generation: Option<u64>,
    depth: u32,
    pub(super) binding: Binding,
    pub(super) secret: Secret,
}

impl Verified {
    /// The key that signed.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The orchestrator that holds the key.
    #[must_use]
    pub fn orchestrator(&self) -> &str {
        &self.orchestrator
    }

    /// The nonce, and the first second (Unix) in which it may be forgotten. Under Standard Webhooks there is
    /// none to remember: a delivery's id is its idempotency key, and it is repeated on purpose.
    #[must_use]
    pub fn nonce(&self) -> Option<(&str, u64)> {
        self.nonce_expires_at_s.map(|until| (self.nonce.as_str(), until))
    }

    /// The idempotency key, unquoted. There is one where the policy asked for it.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// The generation of the lease that the call belongs to, where it names one. Under Standard Webhooks it names none: a
    /// delivery's signature covers no header field.
    #[must_use]
    pub const fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// How many gateways the call went through before this one: 0 to [`DEPTH_MAX`].
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Checks that the key may invoke this agent.
    ///
    /// # Errors
    /// [`Rejection::KeyNotAllowed`].
    pub fn authorise(&self, agent: &str) -> Result<(), Rejection> {
        if self.agents.iter().any(|id| id == "*" || id == agent) {
            Ok(())
        } else {
            Err(Rejection::KeyNotAllowed)
        }
    }
}

/// Verifies a request by `baton-request-v1`, or by Standard Webhooks where the policy and the key record
/// allow it. A broken signature of one scheme never falls back to the other.
///
/// # Errors
/// The class of the first rule that does not hold, in the order of `docs/protocol.md`.
pub fn verify(request: &RequestView<'_>, body: &[u8], policy: &Policy<'_>) -> Result<Verified, Rejection> {
    check_envelope(request, policy.origins)?;
    let has = |name: &str| request.headers.contains_key(name);
    let signature = has("signature") || has("signature-input");
    let webhook = has("webhook-signature") || has("webhook-id") || has("webhook-timestamp");
    match (signature, webhook) {
        (true, true) => Err(Rejection::Scheme),
        (false, false) => Err(Rejection::Missing),
        (true, false) => verify_signature(request, body, policy),
        (false, true) => verify_webhook(request, body, policy),
    }
}

/// What holds for every request, by whatever its caller is known.
///
/// # Errors
/// The class of the first rule that does not hold.
pub fn check_envelope(request: &RequestView<'_>, origins: &Origins) -> Result<(), Rejection> {
    if request.headers.len() > HEADERS_MAX {
        return Err(Rejection::TooManyHeaders);
    }
    if !path::is_canonical(request.path) {
        return Err(Rejection::Path);
    }
    if !origins.serve(request.authority) {
        return Err(Rejection::Authority);
    }
    let encoded = request
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Rejection::ContentEncoding);
    }
    Ok(())
}

fn verify_signature(request: &RequestView<'_>, body: &[u8], policy: &Policy<'_>) -> Result<Verified, Rejection> {
    let found = profile::find(request.headers, REQUEST_TAG)?;
    let parameters = &found.parameters;
    let expires = parameters.expires.ok_or(Rejection::Parameters)?;
    check_window(parameters.created, expires, policy.now_s)?;
    check_coverage(&found.components, request.headers, body, policy)?;
    let base = signature_base(&Subject::Request(*request), &found.components, &found.received)
        .map_err(|_| Rejection::Coverage)?;
    let key = check_mac(policy, &parameters.key_id, Scheme::Baton, |key| {
        mac::verify(key, base.as_bytes(), &found.mac)
    })?;
    check_digest(request.headers, body)?;
    let idempotency_key = idempotency_key(request.headers, policy.idempotency)?;
    let generation = number(request.headers, GENERATION, GENERATION_MAX, Rejection::Generation)?;
    let depth = number(request.headers, DEPTH, DEPTH_MAX.into(), Rejection::Depth)?;
    Ok(Verified {
        key_id: key.id.clone(),
        orchestrator: key.orchestrator.clone(),
        agents: key.agents.clone(),
        nonce: parameters.nonce.clone(),
        // In the second `expires + SKEW_MAX_S` the request is still accepted.
        nonce_expires_at_s: Some(expires + SKEW_MAX_S + 1),
        idempotency_key,
        generation,
        depth: depth.and_then(|depth| depth.try_into().ok()).unwrap_or(0),
        binding: Binding::of(request),
        secret: key.secret.clone(),
    })
}

fn verify_webhook(request: &RequestView<'_>, body: &[u8], policy: &Policy<'_>) -> Result<Verified, Rejection> {
    // A delivery's signature covers no header field, so no precondition either.
    let accepted = policy.webhook.filter(|_| !policy.preconditions);
    let (agent, action) = accepted.ok_or(Rejection::Scheme)?;
    let delivery = webhook::find(request.headers)?;
    let key_id = webhook::key_id(request.query).ok_or(Rejection::Parameters)?;
    webhook::check_timestamp(delivery.timestamp_s, policy.now_s)?;
    let orchestrator = policy.keyring.get(key_id).map_or("", |key| key.orchestrator.as_str());
    let derive = |key: &[u8]| webhook::derived_secret(key, orchestrator, agent, action);
    let key = check_mac(policy, key_id, Scheme::StandardWebhooks, |key| {
        delivery.verify(&derive(key), body)
    })?;
    let secret = Secret::new(derive(key.secret.bytes())).map_err(|_| Rejection::Invalid)?;
    Ok(Verified {
        key_id: key.id.clone(),
        orchestrator: key.orchestrator.clone(),
        agents: key.agents.clone(),
        nonce: delivery.id.to_owned(),
        nonce_expires_at_s: None,
        idempotency_key: Some(delivery.id.to_owned()),
        generation: None,
        depth: 0,
        binding: Binding::of(request),
        secret,
    })
}

fn check_window(created: u64, expires: u64, now_s: u64) -> Result<(), Rejection> {
    if expires <= created || expires - created > WINDOW_MAX_S {
        return Err(Rejection::Window);
    }
    if created > now_s.saturating_add(SKEW_MAX_S) {
        return Err(Rejection::NotYetValid);
    }
    if expires + SKEW_MAX_S < now_s {
        return Err(Rejection::Expired);
    }
    Ok(())
}

fn check_coverage(
    components: &[Component],
    headers: &HeaderMap,
    body: &[u8],
    policy: &Policy<'_>,
) -> Result<(), Rejection> {
    // A digest that is sent is covered, also where there is no body: an uncovered one proves nothing.
    let with_body = !body.is_empty() || headers.contains_key("content-digest");
    let idempotency = policy.idempotency || headers.contains_key(IDEMPOTENCY_KEY);
    let preconditions = profile::preconditions(headers).filter(|_| policy.preconditions);
    let covered = |name: &str| components.contains(&Component::own(name));
    if !required_components(with_body, idempotency)
        .chain(preconditions)
        .chain(profile::wherever_sent(headers))
        .all(covered)
    {
        return Err(Rejection::Coverage);
    }
    profile::covered_once(components, headers)
}

/// Looks the key up and checks the MAC. An unknown key costs the same work and gets the same answer as a
/// wrong MAC; what else is wrong with a key is told only to one who holds it.
fn check_mac<'a>(
    policy: &Policy<'a>,
    key_id: &str,
    scheme: Scheme,
    holds: impl Fn(&[u8]) -> bool,
) -> Result<&'a KeyRecord, Rejection> {
    const NOBODYS_KEY: [u8; 32] = [0; 32];
    let key = policy.keyring.get(key_id);
    let holds = holds(key.map_or(&NOBODYS_KEY, |key| key.secret.bytes()));
    let key = key.filter(|_| holds).ok_or(Rejection::Invalid)?;
    if key.scheme != scheme {
        return Err(Rejection::Scheme);
    }
    match key.validity(policy.now_s) {
        Validity::Valid => {}
        Validity::Expired => return Err(Rejection::KeyExpired),
        Validity::NotYetValid => return Err(Rejection::KeyNotYetValid),
    }
    if !key.allows(policy.purpose) {
        return Err(Rejection::KeyNotAllowed);
    }
    Ok(key)
}

fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), Rejection> {
    match profile::single(headers, "content-digest")? {
        Some(field) if digest::matches(field, body) => Ok(()),
        None if body.is_empty() => Ok(()),
        _ => Err(Rejection::Digest),
    }
}

fn idempotency_key(headers: &HeaderMap, required: bool) -> Result<Option<String>, Rejection> {
    const NAME: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);
    let Some(field) = profile::single(headers, NAME.as_str())? else {
        return if required {
            Err(Rejection::IdempotencyKey)
        } else {
            Ok(None)
        };
    };
    match parse_string(field) {
        Ok(key) if (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Rejection::IdempotencyKey),
    }
}

/// The number that a header field is, from 1 to this one.
fn number(headers: &HeaderMap, name: &str, max: u64, otherwise: Rejection) -> Result<Option<u64>, Rejection> {
    let Some(field) = profile::single(headers, name)? else {
        return Ok(None);
    };
    let number: Option<u64> = field.parse().ok();
    // In one spelling alone: no sign, and no zeros before it.
    let number = number.filter(|number| (1..=max).contains(number) && number.to_string() == field);
    number.map(Some).ok_or(otherwise)
}
