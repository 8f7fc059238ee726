//! What a body may be: strict JSON, the message's schema, the agent's schemas.

use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use crate::support::{assert_no_effect, body, invoke, key};
use crate::surface::discovery;

/// At most so many violations are told.
const VIOLATIONS_MAX: usize = 32;

fn send(agent: &str, text: &str) -> contract_tests::answer::Answer {
    Message::new(&shared(), "POST", &format!("/agents/{agent}/steps"))
        .with_json(text.as_bytes())
        .idempotency_key(&fresh())
        .signed(key("first"))
        .send()
}

/// The violations of a refused body: where in the body, where in the schema.
#[track_caller]
fn violations(agent: &str, body: &Value) -> Vec<(String, String)> {
    let answer = invoke(agent, body);
    let problem = answer.problem(422, "schema-violated");
    assert_eq!(problem["retryable"], false);
    assert!(answer.is_signed());
    let errors = problem["errors"].as_array().expect("violations");
    let mut places: Vec<_> = errors
        .iter()
        .map(|error| {
            let text = |name: &str| error[name].as_str().expect("text").to_owned();
            assert!(!text("message").is_empty());
            (text("instance"), text("schema"))
        })
        .collect();
    places.sort();
    places
}

fn places(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(instance, schema)| ((*instance).to_owned(), (*schema).to_owned()))
        .collect()
}

#[test]
fn every_violation_of_an_input_is_told_with_its_places() {
    let input = json!({ "subject": "", "category": "gossip", "affected_users": -1, "contact": "Ada", "more": 1 });
    let body = body(input);
    let found = violations("prioritize", &body);
    assert_eq!(
        found,
        places(&[
            ("/input", "/additionalProperties"),
            ("/input", "/required"),
            ("/input/affected_users", "/properties/affected_users/minimum"),
            ("/input/category", "/$defs/Category/enum"),
            ("/input/contact", "/properties/contact/type"),
            ("/input/subject", "/properties/subject/minLength"),
        ])
    );
    assert_no_effect(body.to_string().as_bytes());
    // The pointers lead somewhere in the schema as it is published.
    let manifest = discovery();
    let agents = manifest["agents"].as_array().expect("agents");
    let agent = agents
        .iter()
        .find(|agent| agent["id"] == "prioritize")
        .expect("the agent");
    for (_, schema) in found {
        assert!(agent["input"].pointer(&schema).is_some(), "nothing is at {schema}");
    }
}

/// A violation must not carry what it is about: bodies hold customers' data.
#[test]
fn a_violation_does_not_repeat_the_value() {
    let secret = "4111 1111 1111 1111";
    let answer = invoke("redact", &body(json!({ "text": 1, "kinds": [secret] })));
    answer.problem(422, "schema-violated");
    assert!(!answer.text().contains(secret), "{}", answer.text());
}

#[test]
fn violations_are_bounded() {
    let kinds: Vec<_> = (0..2 * VIOLATIONS_MAX).map(Value::from).collect();
    let found = violations("redact", &body(json!({ "text": "hi", "kinds": kinds })));
    assert_eq!(found.len(), VIOLATIONS_MAX);
}

#[test]
fn violations_of_the_message_are_told_likewise() {
    assert_eq!(
        violations(
            "echo",
            &json!({ "run": "", "step": 1, "attempt": 0, "input": 1, "extra": 1 })
        ),
        places(&[
            ("", "/additionalProperties"),
            ("/attempt", "/properties/attempt/minimum"),
            ("/run", "/properties/run/pattern"),
            ("/step", "/properties/step/type"),
        ])
    );
    let missing = violations("echo", &json!({}));
    assert!(
        missing
            .iter()
            .all(|place| *place == (String::new(), "/required".to_owned())),
        "{missing:?}"
    );
    assert!(!missing.is_empty());
    for (member, value) in [
        ("run", json!("a".repeat(129))),
        ("run", json!("ä".repeat(65))),
        ("run", json!("a\nb")),
        ("step", json!("..")),
        ("deadline_ms", json!(300_001)),
        ("attempt", json!(1_001)),
    ] {
        let mut body = body(json!({}));
        body[member] = value;
        let problem = send("echo", &body.to_string()).problem(422, "schema-violated");
        assert_eq!(problem["errors"][0]["instance"], format!("/{member}"));
    }
}

#[test]
fn the_state_is_checked_by_the_agents_state_schema() {
    let mut with_state = body(json!({}));
    with_state["state"] = json!({ "step": 3 });
    let outcome = invoke("echo", &with_state).completed();
    assert_eq!(outcome["output"]["state"], json!({ "step": 3 }));

    let mut with_state = body(json!({}));
    with_state["state"] = json!("none");
    assert_eq!(violations("echo", &with_state), places(&[("/state", "/type")]));
}

#[test]
fn json_nests_as_deep_as_the_manifest_says_and_no_deeper() {
    let nested = |depth: usize| {
        // The body itself is the first container.
        let input = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"run":"{}","step":"s1","input":{input}}}"#, fresh())
    };
    let max = discovery()["limits"]["json_depth_max"].as_u64().expect("a limit");
    let max = usize::try_from(max).expect("a depth");
    assert_eq!(max, 64);
    let _ = send("echo", &nested(max)).completed();
    let problem = send("echo", &nested(max + 1)).problem(400, "json-malformed");
    let detail = problem["detail"].as_str().expect("text");
    assert!(
        detail.contains("line 1, column") && detail.contains("nested too deeply"),
        "{detail}"
    );
}

#[test]
fn a_key_that_occurs_twice_is_refused_with_its_place() {
    let run = fresh();
    let text = format!("{{\"run\":\"{run}\",\n \"step\":\"s1\",\n \"input\":{{\"a\":{{\"b\":1,\"b\":2}}}}}}");
    let problem = send("echo", &text).problem(400, "json-malformed");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("line 3") && detail.contains("/input/a/b"), "{detail}");
    let text = format!(r#"{{"run":"{run}","run":"{run}","step":"s1","input":{{}}}}"#);
    send("echo", &text).problem(400, "json-malformed");
    assert_no_effect(format!(r#"{{"run":"{run}","step":"s1"}}"#).as_bytes());
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let check = |text: &[u8], expected: &str| {
        let answer = Message::new(&shared(), "POST", "/agents/echo/steps")
            .with_json(text)
            .idempotency_key(&fresh())
            .signed(key("first"))
            .send();
        let problem = answer.problem(400, "json-malformed");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(expected), "{detail}");
        assert!(answer.is_signed());
    };
    check(b"{", "line 1, column 1");
    check(b"{} x", "line 1, column 4");
    check(b"{\"run\": nil}", "line 1");
    check(b"{\"run\": \"\xff\"}", "line 1");
    check(b"{\"input\": 99999999999999999999}", "line 1");
    check(b"\xef\xbb\xbf{}", "line 1, column 1");
}

/// Members that name parts of every object in JavaScript are members like any other.
#[test]
fn members_with_odd_names_come_back_as_they_were() {
    let input = json!({ "__proto__": { "a": 1 }, "constructor": null, "": "", "a/b~c": 1, "\u{0000}": "\u{0000}" });
    let outcome = invoke("echo", &body(input.clone())).completed();
    assert_eq!(outcome["output"]["input"], input);
}

#[test]
fn numbers_come_back_as_they_were() {
    let input = json!([
        0,
        -1,
        i64::MIN,
        i64::MAX,
        u64::MAX,
        0.1,
        1e300,
        9_007_199_254_740_993_u64
    ]);
    let outcome = invoke("echo", &body(input.clone())).completed();
    assert_eq!(outcome["output"]["input"], input);
}

#[test]
fn an_unknown_agent_is_a_404_for_a_caller_who_may_invoke_all() {
    let answer = invoke("no-such-agent", &body(json!({})));
    answer.problem(404, "agent-unknown");
    assert!(answer.is_signed());
}
