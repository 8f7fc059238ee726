//! Why a rule does not hold: what was found, what was expected, and what to do about it.
//!
//! The verdict itself is the core's. This looks at the same message again to say more than a gateway may say to
//! a caller that it does not know.

mod evidence;
mod mistakes;

use baton::signature::base::Component;
use baton::signature::keys::Scheme;
use baton::signature::profile::{
    self, ALGORITHM, DEPTH, GENERATION, IDEMPOTENCY_KEY, NONCE_MAX_CHARS, NONCE_MIN_CHARS, REQUEST_TAG, RESPONSE_TAG,
    SKEW_MAX_S, WINDOW_MAX_S,
};
use baton::signature::{Rejection, digest};

use crate::environment::rfc3339;
pub use evidence::Evidence;
use evidence::{moment, text};

/// What can be said about a rule that does not hold.
#[derive(Debug, Default)]
pub struct Explanation {
    /// What was found and what was expected, line by line.
    pub facts: Vec<(&'static str, String)>,
    /// What to do.
    pub advice: String,
}

fn name(component: &Component) -> String {
    format!(
        "\"{}\"{}",
        component.name,
        if component.of_request { ";req" } else { "" }
    )
}

fn names(components: &[Component]) -> String {
    components.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// Says more about a rule that does not hold.
pub fn explain(rejection: Rejection, evidence: &Evidence<'_>) -> Explanation {
    let fact = |label, value: String| Explanation {
        facts: vec![(label, value)],
        ..Explanation::default()
    };
    let signature_input = || fact("Signature-Input", evidence.field("signature-input"));
    match rejection {
        Rejection::Missing if evidence.status.is_some() => Explanation::default()
            .advise("The gateway signs whatever it answers to a caller that it knows. An unsigned answer to a known caller came from something on the way."),
        Rejection::Missing => fact(
            "wanted",
            profile::accept_signature(!evidence.body.is_empty(), evidence.idempotency),
        )
        .advise("Sign the request, and check that no proxy or client library drops the fields Signature-Input and Signature."),
        Rejection::Malformed => malformed(evidence),
        Rejection::DuplicateHeader => duplicates(evidence),
        Rejection::FieldTooLarge => Explanation::default()
            .with("Signature-Input", format!("{} bytes", evidence.field("signature-input").len()))
            .with("Signature", format!("{} bytes", evidence.field("signature").len()))
            .advise("Send our signature alone, covering what is needed."),
        Rejection::TooManyLabels | Rejection::TwoSignatures => signature_input()
            .advise("Send one signature with the tag of the profile; leave out the labels that nobody reads."),
        Rejection::TooManyComponents => signature_input().advise("Cover what the profile asks for, and little more."),
        Rejection::Tag => signature_input()
            .with("expected", format!("tag=\"{}\"", evidence.tag()))
            .advise(&tag_advice(evidence)),
        Rejection::Algorithm => signature_input()
            .with("expected", format!("alg=\"{ALGORITHM}\""))
            .advise("Name the algorithm in the parameters: many libraries leave it out unless told otherwise."),
        Rejection::Parameters => parameters(evidence),
        Rejection::Expired | Rejection::NotYetValid | Rejection::Window => window(evidence),
        Rejection::Coverage => coverage(evidence),
        Rejection::Scheme => scheme(evidence),
        Rejection::Invalid => mistakes::explain_invalid(evidence),
        Rejection::KeyExpired | Rejection::KeyNotYetValid | Rejection::KeyNotAllowed => key(evidence),
        Rejection::Digest => content_digest(evidence),
        Rejection::Replayed => Explanation::default().advise("Sign a retry anew: a new created, expires and nonce, the same Idempotency-Key."),
        Rejection::IdempotencyKey => fact("Idempotency-Key", evidence.field(IDEMPOTENCY_KEY))
            .advise("Send it with its quotes: Idempotency-Key: \"run_01/s1\", and cover it."),
        Rejection::Generation => fact("Baton-Generation", evidence.field(GENERATION))
            .advise("Send the generation of the lease as the registration was answered with it, in digits, and cover it."),
        Rejection::Depth => fact("Baton-Depth", evidence.field(DEPTH))
            .advise("Gateways send it by themselves, and an orchestrator leaves it out. More than 4 means that gateways call each other in a circle."),
        Rejection::Authority => fact("addressed to", evidence.request.authority.to_owned())
            .with("served", evidence.origins.primary().to_owned())
            .advise("Send to an origin in the gateway's BATON_ORIGINS, port included, or add this one there. A proxy must keep Host as it is."),
        Rejection::Path => fact("path", evidence.request.path.to_owned())
            .advise("Send and sign the same spelling: no `//`, no `.` or `..`, no trailing slash, percent-encoding in upper case and only where it is needed."),
        Rejection::TooManyHeaders => fact("header fields", evidence.headers.len().to_string())
            .advise("Send fewer header fields."),
        Rejection::ContentEncoding => fact("Content-Encoding", evidence.field("content-encoding"))
            .advise("Send the body uncompressed: the digest is over the bytes as they are."),
    }
}

impl Explanation {
    fn with(mut self, label: &'static str, value: String) -> Self {
        self.facts.push((label, value));
        self
    }

    fn advise(mut self, advice: &str) -> Self {
        advice.clone_into(&mut self.advice);
        self
    }
}

fn malformed(evidence: &Evidence<'_>) -> Explanation {
    if evidence.headers.contains_key("webhook-id") || evidence.headers.contains_key("webhook-signature") {
        return Explanation::default()
            .with("webhook-id", evidence.field("webhook-id"))
            .with("webhook-timestamp", evidence.field("webhook-timestamp"))
            .advise(
                "Send webhook-id (printable, without spaces), webhook-timestamp (Unix seconds) and webhook-signature.",
            );
    }
    let mut explanation = Explanation::default();
    let mut labels = Vec::new();
    for (title, name) in [("Signature-Input", "signature-input"), ("Signature", "signature")] {
        explanation = explanation.with(title, evidence.field(name));
        match evidence.dictionary(name) {
            Ok(members) => labels.push(members.into_iter().map(|(label, _)| label).collect::<Vec<_>>()),
            Err(error) => explanation = explanation.with("which", format!("{title}: {error}")),
        }
    }
    if let [inputs, macs] = labels.as_slice()
        && inputs != macs
    {
        explanation = explanation.with(
            "labels",
            format!(
                "{} in Signature-Input, {} in Signature",
                inputs.join(", "),
                macs.join(", ")
            ),
        );
    }
    explanation.advise("Write them as in: Signature-Input: baton=(\"@method\" ...);created=1764000000;... and Signature: baton=:<base64>:")
}

fn duplicates(evidence: &Evidence<'_>) -> Explanation {
    let twice = evidence
        .headers
        .keys()
        .filter(|name| evidence.headers.get_all(*name).iter().count() > 1);
    let twice: Vec<_> = twice.map(http::HeaderName::as_str).collect();
    Explanation::default()
        .with("sent twice", twice.join(", "))
        .advise("Send each field that is covered on one line, once.")
}

fn tag_advice(evidence: &Evidence<'_>) -> String {
    let tag = text(&evidence.parameters(), "tag");
    match tag.as_deref() {
        None => format!("Add the parameter tag=\"{}\".", evidence.tag()),
        Some(RESPONSE_TAG) => "This is the signature of a response: it opens no request.".to_owned(),
        Some(REQUEST_TAG) => "This is the signature of a request: it proves no response.".to_owned(),
        Some(_) => "The signature is of another profile: sign by this one.".to_owned(),
    }
}

fn parameters(evidence: &Evidence<'_>) -> Explanation {
    let received = evidence.parameters();
    let mut wanted = vec!["created", "nonce", "keyid", "alg", "tag"];
    if evidence.status.is_none() {
        wanted.insert(1, "expires");
    }
    let missing: Vec<_> = wanted
        .iter()
        .copied()
        .filter(|name| !received.iter().any(|(key, _)| key == name))
        .collect();
    let unknown: Vec<_> = received
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| !wanted.contains(key))
        .collect();
    let mut explanation = Explanation::default().with("Signature-Input", evidence.field("signature-input"));
    if !missing.is_empty() {
        explanation = explanation.with("missing", missing.join(", "));
    }
    if !unknown.is_empty() {
        explanation = explanation.with("not allowed", unknown.join(", "));
    }
    if let Some(nonce) = text(&received, "nonce")
        && !(NONCE_MIN_CHARS..=NONCE_MAX_CHARS).contains(&nonce.len())
    {
        explanation = explanation.with(
            "nonce",
            format!(
                "{} characters, {NONCE_MIN_CHARS} to {NONCE_MAX_CHARS} are wanted",
                nonce.len()
            ),
        );
    }
    explanation.advise(&format!(
        "Send exactly these parameters: {}. created and expires are integers, the others quoted strings.",
        wanted.join(", ")
    ))
}

fn window(evidence: &Evidence<'_>) -> Explanation {
    let mut explanation = Explanation::default();
    for name in ["created", "expires"] {
        if let Some(time) = evidence.time(name) {
            explanation = explanation.with(name, moment(time, evidence.now_s));
        }
    }
    if evidence.headers.contains_key("webhook-timestamp") {
        explanation = explanation.with("webhook-timestamp", evidence.field("webhook-timestamp"));
    }
    explanation.with("judged at", format!("{} ({})", evidence.now_s, rfc3339(evidence.now_s))).advise(&format!(
        "Sign at the moment of sending, with expires at most {WINDOW_MAX_S} s after created, and keep the clocks within {SKEW_MAX_S} s. To judge an old capture as of when it was sent, give --at."
    ))
}

fn coverage(evidence: &Evidence<'_>) -> Explanation {
    let required = evidence.required();
    let covered = evidence.found().map(|found| found.components).unwrap_or_default();
    let missing: Vec<_> = required
        .iter()
        .filter(|component| !covered.contains(component))
        .cloned()
        .collect();
    let mut explanation = Explanation::default().with("covered", names(&covered));
    if !missing.is_empty() {
        explanation = explanation.with("missing", names(&missing));
    } else if let Err(error) = evidence.base() {
        explanation = explanation.with("problem", error);
    }
    explanation.advise("Cover every component that the profile asks for; what is covered must be in the message.")
}

fn scheme(evidence: &Evidence<'_>) -> Explanation {
    let signed = evidence.headers.contains_key("signature-input") || evidence.headers.contains_key("signature");
    let hooked = evidence.headers.contains_key("webhook-signature") || evidence.headers.contains_key("webhook-id");
    let sent = match (signed, hooked) {
        (true, true) => "both HTTP Message Signatures and Standard Webhooks",
        (true, false) => "HTTP Message Signatures (baton-request-v1)",
        _ => "Standard Webhooks",
    };
    let key = match evidence.signing_key().map(|key| key.scheme) {
        Some(Scheme::Baton) => "HTTP Message Signatures (baton-request-v1)",
        Some(Scheme::StandardWebhooks) => "Standard Webhooks",
        None => "(unknown key)",
    };
    Explanation::default()
        .with("sent", sent.to_owned())
        .with("key's scheme", key.to_owned())
        .advise("Sign by the one scheme in the key record. A key for the other scheme: `baton keys new --scheme ...`. Standard Webhooks works for steps only.")
}

fn key(evidence: &Evidence<'_>) -> Explanation {
    let Some(key) = evidence.signing_key() else {
        return Explanation::default();
    };
    let bound = |bound: Option<u64>| bound.map_or_else(|| "(open)".to_owned(), |at| moment(at, evidence.now_s));
    Explanation::default()
        .with("key", key.id.clone())
        .with(
            "purposes",
            format!("{:?}, this call needs {:?}", key.purposes, evidence.purpose).to_lowercase(),
        )
        .with("agents", key.agents.join(", "))
        .with("not before", bound(key.not_before))
        .with("not after", bound(key.not_after))
        .advise("Sign with a key that is valid and allowed for this call, or change the record in BATON_KEYS.")
}

fn content_digest(evidence: &Evidence<'_>) -> Explanation {
    let sent = evidence.field("content-digest");
    let body = evidence.body;
    let explanation = Explanation::default()
        .with("Content-Digest", sent.clone())
        .with("expected", digest::content_digest(body))
        .with("body", format!("{} bytes", body.len()));
    if body.is_empty() {
        return explanation.advise("The capture has no body: give it with --body FILE if there was one. Without a body there is no digest to send, either.");
    }
    let trimmed = body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(b"\n"));
    let extended = [body, b"\n"].concat();
    if trimmed.is_some_and(|body| digest::matches(&sent, body)) {
        return explanation.advise("Without the line end at its end the body fits: it came in when the message was captured, or the sender signs before it adds one.");
    }
    if digest::matches(&sent, &extended) {
        return explanation.advise("With a line end at its end the body fits: it was lost when the message was captured, or the sender signs more than it sends.");
    }
    explanation.advise(
        "Compute sha-256 over the bytes that go out, after serialising; the body was changed after it was signed.",
    )
}
