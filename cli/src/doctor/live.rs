//! What a gateway that runs says about itself, and whether it knows our keys.

use baton::documents::discovery::discovery;
use baton::manifest::Team;
use http::{Response, StatusCode};
use serde_json::Value;

use super::Finding;
use crate::output::{Failure, text};
use crate::signed::{Answer, Trust};

/// Where a gateway says whether it can serve.
pub const HEALTH: &str = "/healthz";
/// Where a gateway describes itself.
pub const DISCOVERY: &str = "/.well-known/baton.json";
/// An operator's call without an effect, which asks D1.
pub const OPERATOR_PROBE: &str = "/operator/dead-letters?limit=1";
/// An orchestrator's call without an effect, which asks a Run object. There is no such run.
pub const ORCHESTRATOR_PROBE: &str = "/runs/baton-doctor";

const NOT_A_GATEWAY: &str = "is a Baton gateway there? Look at the route, and at the log: `wrangler tail`";

/// What `/healthz` answered.
pub fn check_health(gateway: &str, response: &Response<Vec<u8>>) -> Option<Finding> {
    let body = object(response);
    if response.status() == StatusCode::OK && body["status"] == "ok" {
        return None;
    }
    let (problem, remedy) = refusal(response.status(), &body);
    Some(Finding::error(format!("{gateway}{HEALTH}"), problem, remedy))
}

fn object(response: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

/// What an answer says that should have been another one, and what to do.
fn refusal(status: StatusCode, body: &Value) -> (String, String) {
    let Some(code) = body["code"].as_str() else {
        return (format!("it answered {status}"), NOT_A_GATEWAY.to_owned());
    };
    let remedy = match code {
        "gateway-misconfigured" => {
            "a variable or secret is wrong: the alarm `configuration` in `wrangler tail` names it, and so does `baton doctor --env`"
        }
        "authority-unknown" => "add this address to BATON_ORIGINS, or use one that is in it",
        "storage-unavailable" => {
            "apply the migrations (`wrangler d1 migrations apply HISTORY --remote`, with --env), then read the log"
        }
        "key-expired" | "key-not-yet-valid" | "signature-expired" | "signature-not-yet-valid" => {
            "compare the record's validity, and the clocks"
        }
        _ if status == StatusCode::UNAUTHORIZED => {
            "put this very record into BATON_KEYS of the deployment: `wrangler secret put BATON_KEYS`, with --env"
        }
        _ => "its log may say more: `wrangler tail`",
    };
    (
        format!("it answered {} {}", status.as_u16(), text(&body["code"])),
        remedy.to_owned(),
    )
}

/// What the discovery manifest says: whose it is, and whether it is that of these manifests.
pub fn check_discovery(gateway: &str, response: &Response<Vec<u8>>, team: Option<&Team>) -> Vec<Finding> {
    let place = format!("{gateway}{DISCOVERY}");
    let body = object(response);
    if response.status() == StatusCode::UNAUTHORIZED && body["code"].is_string() {
        let remedy = "give --key with a record of the purpose `invoke` to read it";
        return vec![Finding::note(place, "it is closed to those who do not sign", remedy)];
    }
    if response.status() != StatusCode::OK {
        let (problem, remedy) = refusal(response.status(), &body);
        return vec![Finding::error(place, problem, remedy)];
    }
    let Some(origin) = body["gateway"]["origin"]
        .as_str()
        .filter(|_| body["protocol"] == "baton/1")
    else {
        let problem = "it is no discovery manifest of the protocol baton/1";
        return vec![Finding::error(place, problem, NOT_A_GATEWAY)];
    };
    let mut findings = Vec::new();
    if origin != gateway {
        findings.push(Finding::warning(
            &place,
            format!("the gateway calls itself {origin}: orchestrators and documents name that address"),
            "write the address that callers use first in BATON_ORIGINS",
        ));
    }
    match team {
        Some(team) => findings.extend(check_manifests(&place, origin, response.body(), &body, team)),
        None => findings.push(Finding::note(
            place,
            "it was not compared with the manifests, which could not be read",
            "run this where `manifests/` is, or name the folder with --manifests",
        )),
    }
    findings
}

fn check_manifests(place: &str, origin: &str, body: &[u8], theirs: &Value, team: &Team) -> Option<Finding> {
    let expected = discovery(team, origin);
    if expected.body.as_bytes() == body {
        return None;
    }
    let ours: Value = serde_json::from_str(&expected.body).unwrap_or_default();
    Some(Finding::warning(
        place,
        format!("it is not that of the manifests here: {}", differences(theirs, &ours)),
        "deploy what is here, or compare with the state that was deployed; a changed agent needs another `version`",
    ))
}

fn differences(theirs: &Value, ours: &Value) -> String {
    let mut said = Vec::new();
    for agent in agents(ours) {
        let (id, version) = (text(&agent["id"]), text(&agent["version"]));
        match agents(theirs).find(|other| other["id"] == agent["id"]) {
            None => said.push(format!("{id} is not there")),
            Some(other) if other["version"] != agent["version"] => {
                said.push(format!("{id} is {} there and {version} here", text(&other["version"])));
            }
            Some(other) if other != agent => said.push(format!("{id} {version} is another one there")),
            Some(_) => {}
        }
    }
    let only_there = agents(theirs).filter(|other| !agents(ours).any(|agent| agent["id"] == other["id"]));
    said.extend(only_there.map(|other| format!("{} is only there", text(&other["id"]))));
    if said.is_empty() {
        said.push("the gateway's own part differs, as by another version of Baton".to_owned());
    }
    said.join("; ")
}

fn agents(manifest: &Value) -> impl Iterator<Item = &Value> {
    manifest["agents"].as_array().into_iter().flatten()
}

/// What a signed call came to that should be answered with one of these statuses.
pub fn check_signed(
    gateway: &str,
    target: &str,
    key: &str,
    answered: Result<&Answer, &Failure>,
    good: StatusCode,
) -> Option<Finding> {
    let place = format!("{gateway}{target}, signed with key {key}");
    let answer = match answered {
        Ok(answer) => answer,
        Err(failure) => {
            return Some(Finding::error(
                place,
                failure.message(),
                "the key's secret must be the same on both sides; the log may say more",
            ));
        }
    };
    let status = answer.response.status();
    if status == good && matches!(answer.trust, Trust::Signed(_)) {
        return None;
    }
    let (problem, remedy) = refusal(status, &object(&answer.response));
    Some(Finding::error(place, problem, remedy))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Severity, assert_found};
    use super::*;
    use crate::output::Exit;
    use Severity::{Error, Note, Warning};

    const GATEWAY: &str = "https://agents.acme.dev";

    fn answer(status: u16, body: impl ToString) -> Response<Vec<u8>> {
        let body = body.to_string().into_bytes();
        Response::builder().status(status).body(body).expect("a response")
    }

    #[test]
    fn health() {
        let found = |status, body: Value, expected: &[(Severity, &str)]| {
            let found: Vec<_> = check_health(GATEWAY, &answer(status, body)).into_iter().collect();
            assert_found(&found, expected);
        };
        found(200, json!({"status": "ok"}), &[]);
        found(
            200,
            json!({"status": "sick"}),
            &[(Error, "it answered 200 OK: is a Baton gateway there?")],
        );
        found(404, json!("no"), &[(Error, "it answered 404 Not Found")]);
        found(
            503,
            json!({"code": "gateway-misconfigured"}),
            &[(Error, "the alarm `configuration`")],
        );
        found(
            421,
            json!({"code": "authority-unknown"}),
            &[(Error, "421 authority-unknown: add this address")],
        );
    }

    fn document(change: impl FnOnce(&mut Value)) -> Value {
        let mut document = serde_json::from_str(&discovery(Team::embedded(), GATEWAY).body).expect("JSON");
        change(&mut document);
        document
    }

    #[track_caller]
    fn discovered(change: impl FnOnce(&mut Value), expected: &[(Severity, &str)]) {
        let response = answer(200, document(change));
        assert_found(&check_discovery(GATEWAY, &response, Some(Team::embedded())), expected);
    }

    #[test]
    fn the_manifest_of_these_agents() {
        discovered(|_| (), &[]);
        discovered(
            |document| document["agents"][0]["version"] = "0.9.0".into(),
            &[(Warning, "front-desk is 0.9.0 there and 1.")],
        );
        discovered(
            |document| document["agents"][0]["id"] = "new".into(),
            &[(Warning, "front-desk is not there; new is only there")],
        );
        discovered(
            |document| document["agents"][0]["title"] = "T".into(),
            &[(Warning, "is another one there")],
        );
        discovered(
            |document| document["limits"]["wait_max_s"] = 1.into(),
            &[(Warning, "another version of Baton")],
        );
        discovered(
            |document| document["protocol"] = "baton/2".into(),
            &[(Error, "of the protocol baton/1")],
        );
        let elsewhere = answer(200, discovery(Team::embedded(), "https://other.acme.dev").body);
        assert_found(
            &check_discovery(GATEWAY, &elsewhere, Some(Team::embedded())),
            &[(Warning, "calls itself https://other.acme.dev")],
        );
    }

    #[test]
    fn no_manifest_to_compare() {
        let open = answer(200, document(|_| ()));
        assert_found(&check_discovery(GATEWAY, &open, None), &[(Note, "it was not compared")]);
        let closed = answer(401, json!({"code": "signature-missing"}));
        assert_found(
            &check_discovery(GATEWAY, &closed, None),
            &[(Note, "closed to those who do not sign")],
        );
        assert_found(
            &check_discovery(GATEWAY, &answer(404, "no"), None),
            &[(Error, "it answered 404")],
        );
        assert_found(
            &check_discovery(GATEWAY, &answer(401, "no"), None),
            &[(Error, "it answered 401")],
        );
    }

    #[test]
    fn signed_calls() {
        let found = |status, body: Value, trust, expected: &[(Severity, &str)]| {
            let response = answer(status, body);
            let answered = Answer { response, trust };
            let found = check_signed(GATEWAY, OPERATOR_PROBE, "k1", Ok(&answered), StatusCode::OK);
            assert_found(&found.into_iter().collect::<Vec<_>>(), expected);
        };
        let signed = || Trust::Signed("k1".to_owned());
        found(200, json!({}), signed(), &[]);
        found(200, json!({}), Trust::Unsigned, &[(Error, "it answered 200")]);
        found(
            401,
            json!({"code": "signature-invalid"}),
            Trust::Unsigned,
            &[(Error, "put this very record into BATON_KEYS")],
        );
        found(
            401,
            json!({"code": "key-expired"}),
            Trust::Unsigned,
            &[(Error, "the record's validity")],
        );
        found(
            503,
            json!({"code": "storage-unavailable"}),
            signed(),
            &[(Error, "apply the migrations")],
        );
        let failure = Failure::new(Exit::Transport, "the signature does not hold");
        let found = check_signed(GATEWAY, ORCHESTRATOR_PROBE, "k1", Err(&failure), StatusCode::NOT_FOUND);
        assert_found(
            &found.into_iter().collect::<Vec<_>>(),
            &[(Error, "k1: the signature does not hold")],
        );
    }
}
