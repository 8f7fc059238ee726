//! Direct calls of a gateway that has no orchestrator: who may call, what is asked, and who answers.

use std::sync::OnceLock;

use contract_tests::gateway::{Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::{answered, api_key, call, echo};

/// The web page that may call.
const PAGE: &str = "https://shop.example.com";

struct World {
    gateway: Gateway,
    /// May call all agents.
    all: String,
    /// May call `triage` alone.
    narrow: String,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let gateway = Gateway::start(Options {
            keys: Keys::new([Key::new("operator", "acme", "operate")]),
            history: true,
            variables: vec![("BATON_CORS_ORIGINS", PAGE.to_owned())],
            ..Options::default()
        });
        let rate = json!({ "burst": 10_000, "per_minute": 10_000 });
        let all = api_key(&gateway, "operator", &json!({ "name": "all", "rate": rate }));
        let narrow = json!({ "name": "narrow", "agents": ["triage"], "rate": rate });
        let narrow = api_key(&gateway, "operator", &narrow);
        World { gateway, all, narrow }
    })
}

#[track_caller]
fn ask(path: &str, body: &Value) -> Value {
    let world = world();
    answered(&call(&world.gateway, &world.all, path, body).send())
}

#[test]
fn an_agent_answers_its_input() {
    let body = ask("/agents/echo/query", &echo());
    assert_eq!(body["output"]["input"], echo()["input"]);
    assert_eq!(
        (&body["status"], &body["route"]["by"]),
        (&json!("completed"), &json!("local"))
    );
    assert_eq!(body["output"]["run"], body["run"]);
}

#[test]
fn an_agent_answers_text_and_the_router_finds_it() {
    let text = json!({ "text": "I was charged twice and want a refund!" });
    let named = ask("/agents/triage/query", &text);
    assert_eq!(named["output"]["category"], "support");
    let body = ask(
        "/query",
        &json!({ "text": "Please summarize this report: all is well. Nothing is wrong." }),
    );
    assert_eq!(body["choice"]["agent"], "summarize", "{body}");
    assert_eq!(body["agent"], "summarize");
    assert!(
        body["choice"]["reason"].as_str().expect("a reason").contains("summar"),
        "{body}"
    );
}

#[test]
fn an_agent_without_its_model_has_an_answer_ready_and_says_so() {
    let body = ask("/query", &json!({ "text": "How do I change my address?" }));
    assert_eq!(
        (&body["agent"], &body["choice"]["agent"]),
        (&json!("support"), &json!("support"))
    );
    assert_eq!(body["stand_in"], true, "{body}");
    assert_eq!(body["output"]["needs_person"], true, "{body}");
    assert_eq!(body["failed"][0]["code"], "model-not-configured", "{body}");
}

#[test]
fn the_router_chooses_among_what_the_key_may_call() {
    let world = world();
    let text = json!({ "text": "Please summarize this report, and say which category it is." });
    let body = answered(&call(&world.gateway, &world.narrow, "/query", &text).send());
    assert_eq!(body["agent"], "triage", "{body}");
    call(&world.gateway, &world.narrow, "/agents/echo/query", &echo())
        .send()
        .problem(403, "agent-not-allowed");
}

#[test]
fn what_is_wrong_with_a_call_is_told() {
    let world = world();
    let check = |path: &str, body: Value, status, code: &str| {
        call(&world.gateway, &world.all, path, &body)
            .send()
            .problem(status, code)
    };
    check("/agents/nobody/query", echo(), 404, "agent-unknown");
    check("/query", json!({ "input": {} }), 422, "text-required");
    check("/query", json!({}), 422, "schema-violated");
    check("/query", json!({ "text": "a", "input": 1 }), 422, "schema-violated");
    check("/agents/sleep/query", json!({ "text": "a" }), 422, "text-not-taken");
    let problem = check(
        "/agents/triage/query",
        json!({ "input": { "text": 1 } }),
        422,
        "schema-violated",
    );
    assert_eq!(problem["errors"][0]["instance"], "/input/text");
    call(&world.gateway, &world.all, "/agents/echo/query", &echo())
        .line("idempotency-key", "bare")
        .send()
        .problem(400, "idempotency-key-invalid");
}

#[test]
fn without_a_good_key_nothing_is_answered() {
    let world = world();
    Message::post(&world.gateway, "/agents/echo/query", &echo())
        .send()
        .problem(401, "api-key-missing");
    let mut wrong = world.all.clone();
    let last = if wrong.pop() == Some('A') { 'B' } else { 'A' };
    wrong.push(last);
    for key in [
        wrong.as_str(),
        "baton_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "x",
    ] {
        let answer = call(&world.gateway, key, "/agents/echo/query", &echo()).send();
        answer.problem(401, "api-key-invalid");
    }
}

#[test]
fn the_same_key_gets_the_same_answer() {
    let world = world();
    let key = format!("\"{}\"", fresh());
    let send = |body: &Value| {
        call(&world.gateway, &world.all, "/agents/echo/query", body)
            .line("idempotency-key", &key)
            .send()
    };
    let (first, second) = (answered(&send(&echo())), answered(&send(&echo())));
    assert_eq!(first["run"], second["run"]);
    assert_eq!(first["output"]["executed_at_ms"], second["output"]["executed_at_ms"]);
    send(&json!({ "input": { "text": "other" } })).problem(422, "idempotency-key-reused");
    // Another customer's key of the same name is another one.
    let other = call(
        &world.gateway,
        &world.narrow,
        "/agents/triage/query",
        &json!({ "text": "Hello" }),
    )
    .line("idempotency-key", &key)
    .send();
    assert_ne!(answered(&other)["run"], first["run"]);
}

#[test]
fn agents_stand_in_for_one_that_fails_and_then_its_answer_does() {
    let failing = json!({ "input": { "code": "broken" } });
    let body = ask("/agents/brittle/query", &failing);
    assert_eq!(
        (&body["agent"], &body["status"]),
        (&json!("echo"), &json!("completed")),
        "{body}"
    );
    assert_eq!(body["failed"][0]["agent"], "brittle");
    assert_eq!(body["failed"][0]["code"], "broken");

    let body = ask("/agents/brittle-static/query", &failing);
    assert_eq!(
        (&body["agent"], &body["output"]),
        (&json!("brittle-static"), &json!({ "attempt": 0 })),
        "{body}"
    );
    assert_eq!(body["stand_in"], true);

    let body = ask("/agents/brittle-chain/query", &json!({ "text": "anything" }));
    assert_eq!(body["agent"], "echo", "{body}");
    let tried: Vec<_> = body["failed"]
        .as_array()
        .expect("failures")
        .iter()
        .map(|one| one["agent"].clone())
        .collect();
    assert_eq!(tried, ["brittle-chain", "brittle-static"]);

    let body = ask("/agents/fail/query", &failing);
    assert_eq!(
        (&body["status"], &body["error"]["code"]),
        (&json!("failed"), &json!("broken")),
        "{body}"
    );
}

#[test]
fn handoffs_are_followed() {
    let next = json!({ "agent": "script-again", "reason": "it is better", "input": { "actions": [] } });
    let body = ask(
        "/agents/script/query",
        &json!({ "input": { "actions": [{ "hand_off": next }] } }),
    );
    assert_eq!(
        (&body["agent"], &body["status"]),
        (&json!("script-again"), &json!("completed")),
        "{body}"
    );
}

#[test]
fn an_answer_does_not_come_after_its_deadline() {
    let world = world();
    let slow = json!({ "input": { "ms": 60_000 }, "deadline_ms": 300 });
    let answer = call(&world.gateway, &world.all, "/agents/sleep/query", &slow).send();
    answer.problem(504, "deadline-exceeded");
}

#[test]
fn too_many_calls_are_slowed() {
    let world = world();
    let request = json!({ "name": "slow", "rate": { "burst": 2, "per_minute": 1 } });
    let key = api_key(&world.gateway, "operator", &request);
    let send = || call(&world.gateway, &key, "/agents/echo/query", &echo()).send();
    assert_eq!(
        send().header("ratelimit").map(|field| field.contains("r=1")),
        Some(true)
    );
    let _ = answered(&send());
    let refused = send();
    let problem = refused.problem(429, "rate-limited");
    assert_eq!(problem["retryable"], true);
    let seconds: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[test]
fn a_web_page_that_is_named_may_call_and_no_other() {
    let world = world();
    let preflight = |origin: &str| {
        Message::new(&world.gateway, "OPTIONS", "/query")
            .line("origin", origin)
            .line("access-control-request-method", "POST")
            .line("access-control-request-headers", "authorization,content-type")
            .send()
    };
    let allowed = preflight(PAGE);
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        preflight("https://evil.example.com").header("access-control-allow-origin"),
        None
    );

    let from = |origin: &str| {
        call(&world.gateway, &world.all, "/agents/echo/query", &echo())
            .line("origin", origin)
            .send()
    };
    assert_eq!(from(PAGE).header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        from("https://evil.example.com").header("access-control-allow-origin"),
        None
    );
    // An error is to be read by the page as well.
    let refused = Message::post(&world.gateway, "/query", &json!({ "text": "a" }))
        .line("origin", PAGE)
        .send();
    refused.problem(401, "api-key-missing");
    assert_eq!(refused.header("access-control-allow-origin"), Some(PAGE));
    // What is not for customers is for no page.
    let signed = Message::new(&world.gateway, "OPTIONS", "/agents/echo/steps")
        .line("origin", PAGE)
        .send();
    assert_eq!(signed.header("access-control-allow-origin"), None);
}
