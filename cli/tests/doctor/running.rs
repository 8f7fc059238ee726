//! What the doctor says of a gateway that runs.

use std::time::{Duration, SystemTime};

use baton::documents::discovery::discovery;
use serde_json::json;

use super::common::gateway::{Gateway, Reply};
use super::common::{file, folder};
use super::{CONFIGURATION, deployment, doctor, findings, new_key, repository};

const HEALTHY: &str = r#"{"status":"ok","gateway":"baton","version":"0.1.0"}"#;

fn dated(status: u16, body: &'static str, ago: Duration) -> Reply {
    let date = httpdate::fmt_http_date(SystemTime::now() - ago).leak();
    Reply::Plain(status, vec![("date", date)], body, |_| ())
}

fn reply(status: u16, body: &'static str) -> Reply {
    dated(status, body, Duration::ZERO)
}

/// The manifest of the repository's team, as a gateway would publish it that knows itself by another address.
fn manifest() -> &'static str {
    let team = baton::manifest::load(&repository().join("manifests")).expect("a team");
    discovery(&team, "https://agents.acme.dev").body.leak()
}

#[test]
fn a_gateway_that_runs() {
    let gateway = Gateway::new("[]", vec![reply(200, HEALTHY), reply(200, manifest())]);
    let run = doctor(&std::env::temp_dir(), &[&gateway.origin, "--json"]).expect(0, &[]);
    let said: Vec<_> = findings(&run)
        .iter()
        .map(|finding| finding["what"].to_string())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("calls itself https://agents.acme.dev"), "{said:?}");
    assert!(said[1].contains("no signed call was made"), "{said:?}");
    let paths: Vec<_> = gateway
        .requests()
        .iter()
        .map(|request| request.uri().path().to_owned())
        .collect();
    assert_eq!(paths, ["/healthz", "/.well-known/baton.json"]);
}

#[test]
fn a_gateway_with_other_manifests_and_another_clock() {
    let other = manifest()
        .replace(
            "\"id\":\"triage\",\"version\":\"1.",
            "\"id\":\"triage\",\"version\":\"0.",
        )
        .leak();
    let replies = vec![dated(200, HEALTHY, Duration::from_secs(600)), reply(200, other)];
    let gateway = Gateway::new("[]", replies);
    doctor(&std::env::temp_dir(), &[&gateway.origin]).expect(
        1,
        &[
            "s ahead of the gateway's: signed calls",
            "triage is 0.",
            "1 error, 2 warnings",
        ],
    );
    gateway.requests();
}

#[test]
fn a_gateway_that_cannot_serve() {
    let problem = r#"{"code":"gateway-misconfigured","status":503}"#;
    let gateway = Gateway::new("[]", vec![reply(503, problem), reply(503, problem)]);
    doctor(&std::env::temp_dir(), &[&gateway.origin])
        .expect(1, &["503 gateway-misconfigured", "alarm `configuration`"]);
    gateway.requests();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    doctor(&std::env::temp_dir(), &[&nobody]).expect(1, &["nothing listens", "nothing else was asked"]);
}

const LINKS: &str = r#"{"links":[{"orchestrator":"acme","url":"https://plans.acme.dev","state":"registered",
"failures":0,"breaker":{"state":"open","forced":true}}]}"#;

#[test]
fn keys_are_tried() {
    let folder = folder("doctor-signed");
    let keys = json!([new_key("operate", &[]), new_key("invoke", &[])]).to_string();
    let key = file(&folder, "keys.json", &keys);
    let replies = |operator: (u16, &'static str)| {
        vec![
            reply(200, HEALTHY),
            reply(200, manifest()),
            reply(operator.0, operator.1),
            reply(200, LINKS),
            reply(404, r#"{"code":"run-unknown","status":404}"#),
        ]
    };
    let gateway = Gateway::new(&keys, replies((200, r#"{"dead_letters":[]}"#)));
    doctor(&folder, &[&gateway.origin, "--key", &key]).expect(
        0,
        &[
            "key acme-operate-",
            "links",
            "key acme-invoke-",
            "0 errors",
            "baton link breaker auto acme",
        ],
    );
    let paths: Vec<_> = gateway
        .requests()
        .iter()
        .map(|request| request.uri().path().to_owned())
        .collect();
    assert_eq!(
        paths[2..],
        ["/operator/dead-letters", "/operator/links", "/runs/baton-doctor"]
    );

    let gateway = Gateway::new(&keys, replies((503, r#"{"code":"storage-unavailable","status":503}"#)));
    doctor(&folder, &[&gateway.origin, "--key", &key]).expect(1, &["503 storage-unavailable", "apply the migrations"]);
    gateway.requests();

    // A key that is refused is tried once; without an operator's key the links are not looked at.
    let refused = r#"{"code":"signature-invalid","status":401}"#;
    let operate = json!([new_key("operate", &[])]).to_string();
    let operate_file = file(&folder, "operate.json", &operate);
    let replies = vec![reply(200, HEALTHY), reply(200, manifest()), reply(401, refused)];
    let gateway = Gateway::new(&operate, replies);
    doctor(&folder, &[&gateway.origin, "--key", &operate_file]).expect(1, &["put this very record", "1 error"]);
    gateway.requests();
    let invoke = json!([new_key("invoke", &[])]).to_string();
    let invoke_file = file(&folder, "invoke.json", &invoke);
    let replies = vec![
        reply(200, HEALTHY),
        reply(200, manifest()),
        reply(404, r#"{"code":"run-unknown","status":404}"#),
    ];
    let gateway = Gateway::new(&invoke, replies);
    doctor(&folder, &[&gateway.origin, "--key", &invoke_file]).expect(
        0,
        &[
            "how the links stand was not looked at",
            "of the purpose `operate` as well",
        ],
    );
    gateway.requests();

    let of_others = json!([new_key("register", &[])]).to_string();
    let useless = file(&folder, "register.json", of_others);
    let gateway = Gateway::new(&keys, vec![reply(200, HEALTHY)]);
    doctor(&folder, &[&gateway.origin, "--key", &useless]).expect(2, &["so it opens nothing"]);
    gateway.requests();
}

#[test]
fn an_address_that_the_environment_does_not_have() {
    let folder = deployment("doctor-address", CONFIGURATION);
    let gateway = Gateway::new("[]", vec![reply(200, HEALTHY), reply(200, manifest())]);
    let run = doctor(&folder, &[&gateway.origin, "--env", "staging"]);
    run.expect(1, &["it is not in BATON_ORIGINS of env.staging", "1 error, 1 warning"]);
    gateway.requests();
}
