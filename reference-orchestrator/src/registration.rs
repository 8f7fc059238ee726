//! Registration: a gateway says who it is; the orchestrator proves it before it believes it.

use std::time::Duration;

use baton::json::{DEPTH_LIMIT, parse_strict};
use baton::signature::{KeyRecord, Origins, Verified, digest};
use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Orchestrator;
use crate::client::Call;
use crate::error::Problem;
use crate::json::{self, JSON_DEPTH_MAX};
use crate::outside;
use crate::store::{NewRegistration, Registered, Renewed};

/// A gateway registers at most this many agents.
pub const AGENTS_MAX: usize = 256;
/// An id, a URL or a digest in a registration has at most this many bytes.
pub const TEXT_MAX_BYTES: usize = 512;
/// The challenge and the manifest are answered within this time each, where nothing else is configured.
pub const PROOF_MAX: Duration = Duration::from_secs(5);
/// A lease is renewed this many times before it would run out: two renewals may be lost.
const RENEWALS_PER_LEASE: u64 = 3;

/// What a gateway sends to register.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationRequest {
    /// The gateway's id.
    pub gateway: String,
    /// Where it is reached: scheme and authority.
    pub origin: String,
    /// Its discovery manifest.
    pub manifest: ManifestReference,
    /// The ids of its agents.
    pub agents: Vec<String>,
}

/// Where the discovery manifest is, and what it must be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestReference {
    /// At the gateway's own origin.
    pub url: String,
    /// As in `Content-Digest`.
    pub digest: String,
}

/// What a gateway sends to keep its lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// The manifest as it is now.
    pub manifest_digest: String,
    /// The generation that the registration gave.
    pub generation: u64,
    /// How the gateway is.
    pub health: Health,
}

/// How a gateway says that it is. It may say more than this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub status: String,
}

/// What the gateway's answer to the challenge holds.
#[derive(Debug, Deserialize)]
struct ChallengeAnswer {
    gateway: String,
    challenge: String,
    manifest_digest: String,
}

/// Registers a gateway: status and body of the answer.
///
/// # Errors
/// When the request is malformed, when a claim of it cannot be proved, or when the gateway is live elsewhere.
pub fn register(app: &Orchestrator, caller: &Verified, body: &[u8]) -> Result<(u16, Value), Problem> {
    let request: RegistrationRequest = json::parse(body)?;
    check(&request)?;
    for agent in &request.agents {
        caller.authorise(agent)?;
    }
    let now_ms = outside::now_ms();
    let elsewhere = |origin| Problem::Elsewhere {
        gateway: request.gateway.clone(),
        origin,
    };
    // Asked before the proof, which costs two calls, and again in the transaction that registers.
    if let Some(origin) = app.store.live_elsewhere(&request.gateway, &request.origin, now_ms)? {
        return Err(elsewhere(origin));
    }
    let key = app.invoke_key(now_ms).ok_or(Problem::NoInvokeKey)?;
    prove_origin(app, key, &request, &outside::token())?;
    prove_manifest(app, &request)?;

    let new = NewRegistration {
        registration: format!("reg_{}", outside::token()),
        gateway: request.gateway.clone(),
        origin: request.origin.clone(),
        manifest_digest: request.manifest.digest.clone(),
        agents: request.agents.clone(),
        idempotency_key: caller.idempotency_key().unwrap_or_default().to_owned(),
        body_digest: digest::content_digest(body),
    };
    let now_ms = outside::now_ms();
    let (status, registration) = match app.store.register(&new, app.lease_ms, now_ms)? {
        Registered::New(registration) => (201, registration),
        Registered::Known(registration) => (200, registration),
        Registered::KeyReused => return Err(Problem::IdempotencyMismatch),
        Registered::Elsewhere { origin } => return Err(elsewhere(origin)),
    };
    app.log.event(
        now_ms,
        "registered",
        json!({
            "gateway": registration.gateway, "origin": registration.origin, "agents": registration.agents,
            "registration": registration.registration, "generation": registration.generation,
        }),
    );
    let mut lease = lease(app, registration.generation);
    lease["registration"] = registration.registration.into();
    Ok((status, lease))
}

/// Renews a lease.
///
/// # Errors
/// When the gateway has to register anew, and why.
pub fn renew(app: &Orchestrator, registration: &str, body: &[u8]) -> Result<(u16, Value), Problem> {
    let request: RenewalRequest = json::parse(body)?;
    check_length("health.status", &request.health.status)?;
    let changed = |what: &str| Problem::RegistrationChanged {
        reason: format!("the registration has another {what}"),
    };
    let stated = (request.generation, request.manifest_digest.as_str());
    match app.store.renew(
        registration,
        stated,
        &request.health.status,
        app.lease_ms,
        outside::now_ms(),
    )? {
        Renewed::Renewed(renewed) => Ok((200, lease(app, renewed.generation))),
        Renewed::Unknown => Err(Problem::UnknownRegistration),
        Renewed::Ended(status) => Err(Problem::RegistrationEnded { status }),
        Renewed::OtherGeneration => Err(changed("generation")),
        Renewed::OtherManifest => Err(changed("manifest digest")),
    }
}

/// Ends a registration. One that is unknown or has ended is no error.
///
/// # Errors
/// When the database fails.
pub fn deregister(app: &Orchestrator, registration: &str) -> Result<(u16, Value), Problem> {
    if app.store.deregister(registration)? {
        app.log.event(
            outside::now_ms(),
            "deregistered",
            json!({ "registration": registration }),
        );
    }
    Ok((204, Value::Null))
}

fn lease(app: &Orchestrator, generation: u64) -> Value {
    let mut lease = json!({
        "lease_ms": app.lease_ms, "renew_after_ms": app.lease_ms / RENEWALS_PER_LEASE, "generation": generation,
    });
    if let Some(key) = app.behaviour.now().signing_keyid {
        lease["signing_keyid"] = key.into();
    }
    lease
}

/// What can be said of a registration without asking anyone.
fn check(request: &RegistrationRequest) -> Result<(), Problem> {
    let invalid = |reason: String| Problem::Invalid { reason };
    for (name, text) in [
        ("gateway", &request.gateway),
        ("origin", &request.origin),
        ("manifest.url", &request.manifest.url),
        ("manifest.digest", &request.manifest.digest),
    ] {
        check_length(name, text)?;
    }
    if request.agents.len() > AGENTS_MAX {
        return Err(invalid(format!(
            "{} agents, at most {AGENTS_MAX} can be registered",
            request.agents.len()
        )));
    }
    for agent in &request.agents {
        // The id becomes a path segment of the URL that steps are sent to.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if agent.is_empty() || agent.len() > TEXT_MAX_BYTES || !agent.bytes().all(fits) {
            return Err(invalid(
                "an agent's id must be letters, digits, hyphens and underscores".into(),
            ));
        }
    }
    let canonical = Origins::parse(&request.origin).is_ok_and(|origins| origins.primary() == request.origin);
    if !canonical {
        return Err(invalid(
            "origin must be scheme and host in lower case, as in https://agents.example.com".into(),
        ));
    }
    if !is_at(&request.manifest.url, &request.origin) {
        return Err(invalid("manifest.url must be at the gateway's own origin".into()));
    }
    Ok(())
}

fn check_length(name: &str, text: &str) -> Result<(), Problem> {
    if (1..=TEXT_MAX_BYTES).contains(&text.len()) {
        return Ok(());
    }
    let reason = format!("{name} must have 1 to {TEXT_MAX_BYTES} bytes");
    Err(Problem::Invalid { reason })
}

/// Whether a URL has exactly this origin. Compared by its parts: `http://a.example` is no origin of
/// `http://a.example.evil/` nor of `http://a.example@evil/`.
fn is_at(url: &str, origin: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}") == origin,
        _ => false,
    }
}

/// Asks the origin a question that only the holder of our key can answer.
fn prove_origin(
    app: &Orchestrator,
    key: &KeyRecord,
    request: &RegistrationRequest,
    challenge: &str,
) -> Result<(), Problem> {
    let failed = |reason: String| Problem::ChallengeFailed {
        reason: format!("{}/link/challenge {reason}", request.origin),
    };
    let url = format!("{}/link/challenge", request.origin);
    let question = json!({ "gateway": request.gateway, "challenge": challenge }).to_string();
    let call = Call {
        method: "POST",
        url: &url,
        body: &question,
        idempotency_key: None,
        headers: &[],
    };
    let answer = app
        .client
        .send_signed(call, key, app.proof_max)
        .map_err(|error| failed(format!("was not answered: {error}")))?;
    let status = answer.response.status().as_u16();
    if let Err(rejection) = answer.verified {
        return Err(failed(format!(
            "answered {status}, unverified ({}): {rejection}",
            rejection.code()
        )));
    }
    if status != 200 {
        return Err(failed(format!("answered {status} where 200 is the proof")));
    }
    let answer: ChallengeAnswer = parse_strict(answer.response.body(), JSON_DEPTH_MAX)
        .ok()
        .and_then(|value| serde_json::from_value(value).ok())
        .ok_or_else(|| failed("answered something else than gateway, challenge and manifest_digest".into()))?;
    if answer.gateway != request.gateway || answer.challenge != challenge {
        return Err(failed("answered for another gateway or to another challenge".into()));
    }
    if answer.manifest_digest != request.manifest.digest {
        return Err(Problem::ManifestMismatch {
            reason: "the origin states another manifest digest than the registration".into(),
        });
    }
    Ok(())
}

/// Fetches the manifest, and checks that it is the one that the registration speaks of.
fn prove_manifest(app: &Orchestrator, request: &RegistrationRequest) -> Result<(), Problem> {
    let url = &request.manifest.url;
    let mismatch = |reason: String| Problem::ManifestMismatch {
        reason: format!("{url} {reason}"),
    };
    let answer = app
        .client
        .get(url, app.proof_max)
        .map_err(|error| mismatch(format!("was not answered: {error}")))?;
    if answer.status() != 200 {
        return Err(mismatch(format!(
            "answered {} where 200 is needed",
            answer.status().as_u16()
        )));
    }
    if !digest::matches(&request.manifest.digest, answer.body()) {
        return Err(mismatch("has another digest than the registration states".into()));
    }
    // It holds the agents' schemas, which nest deeper than messages do.
    let manifest = parse_strict(answer.body(), DEPTH_LIMIT)
        .map_err(|error| mismatch(format!("is no JSON as we accept it: {error}")))?;
    names(&manifest, request).map_err(|what| mismatch(format!("names {what} than the registration")))
}

/// Whether the manifest names the same gateway, origin and agents, these in any order.
fn names(manifest: &Value, request: &RegistrationRequest) -> Result<(), &'static str> {
    if manifest["gateway"]["id"] != request.gateway.as_str() {
        return Err("another gateway");
    }
    if manifest["gateway"]["origin"] != request.origin.as_str() {
        return Err("another origin");
    }
    let listed = manifest["agents"].as_array().map_or(&[][..], Vec::as_slice);
    let mut named: Vec<_> = listed.iter().filter_map(|agent| agent["id"].as_str()).collect();
    let mut stated: Vec<_> = request.agents.iter().map(String::as_str).collect();
    named.sort_unstable();
    stated.sort_unstable();
    if named != stated || named.len() != listed.len() {
        return Err("other agents");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RegistrationRequest {
        RegistrationRequest {
            gateway: "g".into(),
            origin: "http://127.0.0.1:8787".into(),
            manifest: ManifestReference {
                url: "http://127.0.0.1:8787/.well-known/baton.json".into(),
                digest: "sha-256=:x:".into(),
            },
            agents: vec!["triage".into(), "redact".into()],
        }
    }

    #[test]
    fn what_can_be_checked_without_asking() {
        let check = |change: &dyn Fn(&mut RegistrationRequest), expected: &str| {
            let mut request = request();
            change(&mut request);
            let found = check(&request).map_or_else(|problem| problem.to_string(), |()| "ok".into());
            assert!(found.contains(expected), "{found}, expected {expected}");
        };
        check(&|_| {}, "ok");
        check(&|request| request.gateway.clear(), "gateway must have 1 to");
        check(
            &|request| request.manifest.digest = "x".repeat(TEXT_MAX_BYTES + 1),
            "manifest.digest",
        );
        check(
            &|request| request.origin = "http://127.0.0.1:8787/".into(),
            "origin must be",
        );
        check(
            &|request| request.origin = "HTTP://127.0.0.1:8787".into(),
            "origin must be",
        );
        check(&|request| request.origin = "http://a,http://b".into(), "origin must be");
        check(
            &|request| request.origin = "file:///etc/passwd".into(),
            "origin must be",
        );
        for url in [
            "http://127.0.0.1:87870/x",
            "http://127.0.0.1:8787@evil/x",
            "https://127.0.0.1:8787/x",
            "/x",
            "",
        ] {
            check(&|request| request.manifest.url = url.into(), "manifest.url");
        }
        check(&|request| request.agents.push("../x".into()), "an agent's id");
        check(
            &|request| request.agents = vec!["a".into(); AGENTS_MAX + 1],
            "257 agents",
        );
    }

    #[test]
    fn a_manifest_must_name_the_same() {
        let check = |id: &str, origin: &str, agents: Value, expected: Result<(), &str>| {
            let manifest = json!({ "gateway": { "id": id, "origin": origin }, "agents": agents });
            assert_eq!(names(&manifest, &request()), expected, "{manifest}");
        };
        let agents = json!([{ "id": "redact" }, { "id": "triage" }]);
        let origin = "http://127.0.0.1:8787";
        check("g", origin, agents.clone(), Ok(()));
        check("h", origin, agents.clone(), Err("another gateway"));
        check("g", "http://127.0.0.1:8788", agents, Err("another origin"));
        check("g", origin, json!([{ "id": "triage" }]), Err("other agents"));
        check(
            "g",
            origin,
            json!([{ "id": "triage" }, { "id": "redact" }, {}]),
            Err("other agents"),
        );
        check("g", origin, Value::Null, Err("other agents"));
        assert_eq!(names(&json!("x"), &request()), Err("another gateway"));
    }
}
