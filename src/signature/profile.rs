//! The profiles `baton-request-v1` and `baton-response-v1`: what must be covered, which parameters
//! must be there, and every limit. A library that says "valid" proves nothing about coverage; this does.

use http::HeaderMap;
use sfv::BareItem;

use super::base::Component;
use super::rejection::Rejection;
use super::structured::{Member, Parameters, parse_dictionary};

/// The tag of a signed request.
pub const REQUEST_TAG: &str = "baton-request-v1";
/// The tag of a signed response.
pub const RESPONSE_TAG: &str = "baton-response-v1";
/// The one algorithm.
pub const ALGORITHM: &str = "hmac-sha256";
/// The label that we give our own signatures.
pub const LABEL: &str = "baton";
/// `expires` is at most this much later than `created`, in seconds.
pub const WINDOW_MAX_S: u64 = 300;
/// How far clocks may differ, both ways, in seconds.
pub const SKEW_MAX_S: u64 = 60;
/// A nonce is at least this long, in characters.
pub const NONCE_MIN_CHARS: usize = 16;
/// A nonce is at most this long, in characters.
pub const NONCE_MAX_CHARS: usize = 64;
/// A message carries at most this many signature labels.
pub const LABELS_MAX: usize = 4;
/// A signature covers at most this many components.
pub const COMPONENTS_MAX: usize = 16;
/// `Signature-Input` and `Signature` have at most this many bytes each.
pub const SIGNATURE_FIELD_MAX_BYTES: usize = 4096;
/// A request has at most this many header fields.
pub const HEADERS_MAX: usize = 64;
/// An idempotency key has at most this many bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 256;

/// Covered by every request.
pub const REQUEST_COMPONENTS: [&str; 4] = ["@method", "@authority", "@path", "@query"];
/// Covered as well when there is a body.
pub const BODY_COMPONENTS: [&str; 2] = ["content-type", "content-digest"];
/// Covered as well by an invocation, and by every other call that has an effect.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Covered as well where they are sent with a call that they decide about.
pub const PRECONDITIONS: [&str; 2] = ["if-match", "if-none-match"];

/// Covered as well wherever it is sent: the generation of the lease that the call belongs to.
pub const GENERATION: &str = "baton-generation";
/// The largest generation: the largest integer of a structured field.
pub const GENERATION_MAX: u64 = 999_999_999_999_999;
/// Covered as well wherever it is sent: how many gateways the call went through, one calling the other.
pub const DEPTH: &str = "baton-depth";
/// A call goes through at most so many gateways before the one that it ends at: no circle of gateways is longer.
pub const DEPTH_MAX: u32 = 4;

/// The signature parameters of a profile: each of them must be there, and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureParameters {
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds. A response has none: it is bound to its request's nonce.
    pub expires: Option<u64>,
    /// 16 to 64 characters, never used twice before it expires.
    pub nonce: String,
    /// Which key.
    pub key_id: String,
}

/// A signature as found in a message, its structure checked.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it covers, in the order received.
    pub components: Vec<Component>,
    /// Its parameters as received, for the base.
    pub received: Parameters,
    /// The same, typed.
    pub parameters: SignatureParameters,
    /// The MAC.
    pub mac: Vec<u8>,
}

/// The value that `Accept-Signature` gives a client that wants to correct itself (RFC 9421 section 5.1). There, `created` and
/// `expires` ask for the parameter; a `nonce` or a `keyid` would prescribe one, so they are left to the profile that `tag` names.
#[must_use]
pub fn accept_signature(with_body: bool, with_idempotency_key: bool) -> String {
    let names: Vec<_> = required_components(with_body, with_idempotency_key)
        .map(|name| format!("\"{name}\""))
        .collect();
    format!(
        "{LABEL}=({});created;expires;alg=\"{ALGORITHM}\";tag=\"{REQUEST_TAG}\"",
        names.join(" ")
    )
}

/// What a request's signature must cover.
pub fn required_components(with_body: bool, with_idempotency_key: bool) -> impl Iterator<Item = &'static str> {
    REQUEST_COMPONENTS
        .into_iter()
        .chain(BODY_COMPONENTS.into_iter().filter(move |_| with_body))
        .chain(with_idempotency_key.then_some(IDEMPOTENCY_KEY))
}

/// The preconditions that a request has.
pub fn preconditions(headers: &HeaderMap) -> impl Iterator<Item = &'static str> {
    PRECONDITIONS.into_iter().filter(|name| headers.contains_key(*name))
}

/// The fields of a request that are covered wherever they are sent.
pub fn wherever_sent(headers: &HeaderMap) -> impl Iterator<Item = &'static str> {
    [GENERATION, DEPTH]
        .into_iter()
        .filter(|name| headers.contains_key(*name))
}

/// Finds the one signature with this tag, and checks sizes, structure, parameters, tag and algorithm.
///
/// # Errors
/// The class of the first rule that does not hold.
pub fn find(headers: &HeaderMap, tag: &str) -> Result<Found, Rejection> {
    let inputs = dictionary(headers, "signature-input")?;
    let macs = dictionary(headers, "signature")?;
    let same_labels = inputs.len() == macs.len()
        && inputs
            .iter()
            .all(|(label, _)| macs.iter().any(|(other, _)| other == label));
    if !same_labels {
        return Err(Rejection::Malformed);
    }
    let mut ours = inputs.into_iter().filter(|(_, member)| has_tag(member, tag));
    let (label, member) = ours.next().ok_or(Rejection::Tag)?;
    if ours.next().is_some() {
        return Err(Rejection::TwoSignatures);
    }
    let Member::InnerList(items, received) = member else {
        return Err(Rejection::Malformed);
    };
    if items.len() > COMPONENTS_MAX {
        return Err(Rejection::TooManyComponents);
    }
    let parameters = parameters(&received, tag)?;
    let components = items
        .iter()
        .map(Component::from_item)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Rejection::Malformed)?;
    let mac = macs.into_iter().find(|(other, _)| *other == label);
    match mac {
        Some((_, Member::Item(item))) => match item.value {
            BareItem::ByteSequence(mac) if item.parameters.is_empty() => Ok(Found {
                components,
                received,
                parameters,
                mac,
            }),
            _ => Err(Rejection::Malformed),
        },
        _ => Err(Rejection::Malformed),
    }
}

fn dictionary(headers: &HeaderMap, name: &str) -> Result<super::structured::Dictionary, Rejection> {
    let text = single(headers, name)?.ok_or(Rejection::Missing)?;
    if text.len() > SIGNATURE_FIELD_MAX_BYTES {
        return Err(Rejection::FieldTooLarge);
    }
    let members = parse_dictionary(text).map_err(|_| Rejection::Malformed)?;
    if members.len() > LABELS_MAX {
        return Err(Rejection::TooManyLabels);
    }
    Ok(members)
}

/// A field that must not be split over several lines.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Rejection> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(Rejection::DuplicateHeader);
    }
    line.to_str().map(Some).map_err(|_| Rejection::Malformed)
}

/// Checks that no covered field of the message itself is split over several lines.
pub(super) fn covered_once(components: &[Component], headers: &HeaderMap) -> Result<(), Rejection> {
    components
        .iter()
        .filter(|component| !component.of_request && !component.name.starts_with('@'))
        .try_for_each(|component| single(headers, &component.name).map(|_| ()))
}

fn has_tag(member: &Member, tag: &str) -> bool {
    let (Member::InnerList(_, parameters) | Member::Item(super::structured::Item { parameters, .. })) = member;
    text(parameters, "tag") == Some(tag)
}

fn text<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find_map(|(key, value)| match value {
        BareItem::String(value) if key == name => Some(value.as_str()),
        _ => None,
    })
}

fn seconds(parameters: &Parameters, name: &str) -> Option<u64> {
    parameters.iter().find_map(|(key, value)| match value {
        BareItem::Integer(value) if key == name => u64::try_from(i64::from(*value)).ok(),
        _ => None,
    })
}

fn parameters(received: &Parameters, tag: &str) -> Result<SignatureParameters, Rejection> {
    let request = tag == REQUEST_TAG;
    let known =
        |name: &str| matches!(name, "created" | "nonce" | "keyid" | "alg" | "tag") || (request && name == "expires");
    if !received.iter().all(|(name, _)| known(name)) {
        return Err(Rejection::Parameters);
    }
    let algorithm = text(received, "alg").ok_or(Rejection::Algorithm)?;
    if algorithm != ALGORITHM {
        return Err(Rejection::Algorithm);
    }
    let nonce = text(received, "nonce").ok_or(Rejection::Parameters)?;
    // A response repeats its request's nonce, which under Standard Webhooks is a delivery's id of any length.
    if request && !(NONCE_MIN_CHARS..=NONCE_MAX_CHARS).contains(&nonce.len()) {
        return Err(Rejection::Parameters);
    }
    let expires = seconds(received, "expires");
    if request && expires.is_none() {
        return Err(Rejection::Parameters);
    }
    Ok(SignatureParameters {
        created: seconds(received, "created").ok_or(Rejection::Parameters)?,
        expires,
        nonce: nonce.to_owned(),
        key_id: text(received, "keyid").ok_or(Rejection::Parameters)?.to_owned(),
    })
}
