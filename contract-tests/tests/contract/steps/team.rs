//! The sample team does real work.

use contract_tests::schemas::assert_valid;
use serde_json::{Map, Value, json};

use crate::support::{body, invoke};
use crate::surface::discovery;

/// The largest text that `summarize` takes, in bytes.
const TEXT_MAX_BYTES: usize = 64 * 1024;

fn agent(id: &str) -> Value {
    let manifest = discovery();
    let agents = manifest["agents"].as_array().expect("agents");
    let found = agents.iter().find(|agent| agent["id"] == id);
    found
        .unwrap_or_else(|| panic!("the manifest has no agent {id}"))
        .clone()
}

/// The examples that the discovery manifest gives are what callers try first.
#[track_caller]
fn check_examples(id: &str) {
    let agent = agent(id);
    let examples = agent["examples"].as_array().expect("examples");
    assert!(!examples.is_empty(), "{id} has no examples");
    for example in examples {
        let output = output(&agent, &example["input"]);
        assert_eq!(
            numbers_as_floats(&output),
            numbers_as_floats(&example["output"]),
            "{id}"
        );
    }
}

/// To JSON, 3 and 3.0 are one number.
fn numbers_as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_as_floats).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), numbers_as_floats(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// The output for an input, by the agent's own schema.
#[track_caller]
fn output(agent: &Value, input: &Value) -> Value {
    let id = agent["id"].as_str().expect("an id");
    let outcome = invoke(id, &body(input.clone())).completed();
    assert_eq!(outcome["agent_version"], agent["version"]);
    assert_valid(&agent["output"], &outcome["output"], id);
    outcome["output"].clone()
}

#[test]
fn triage_classifies_its_examples() {
    check_examples("triage");
}

#[test]
fn redact_removes_what_its_examples_say() {
    check_examples("redact");
}

#[test]
fn summarize_picks_what_its_examples_say() {
    check_examples("summarize");
}

#[test]
fn prioritize_decides_as_its_examples_say() {
    check_examples("prioritize");
}

#[test]
fn summarize_takes_a_text_of_64_kib() {
    let summarize = agent("summarize");
    let sentence = |index: usize| format!("Sentence number {index} speaks of gateways, agents and signatures. ");
    let mut text: String = (0..).map(sentence).take(TEXT_MAX_BYTES / 40).collect();
    text.truncate(TEXT_MAX_BYTES);
    assert_eq!(text.len(), TEXT_MAX_BYTES);
    let output = output(&summarize, &json!({ "text": text, "sentences": 5 }));
    let picked = output["sentences"].as_array().expect("sentences");
    assert_eq!(picked.len(), 5);
    for sentence in picked {
        assert!(text.contains(sentence["text"].as_str().expect("text")), "{sentence}");
    }
}

#[test]
fn redact_finds_personal_data_in_a_long_message() {
    let secrets = [
        "ada@example.org",
        "+49 30 1234567",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
    ];
    let filler = "Nothing to see here. ".repeat(500);
    let text = secrets.map(|secret| format!("{filler} This is it: {secret}.")).concat();
    let output = output(&agent("redact"), &json!({ "text": text }));
    let redacted = output["text"].as_str().expect("text");
    for secret in secrets {
        assert!(!redacted.contains(secret), "{secret} is still there");
    }
    assert_eq!(
        output["counts"],
        json!({ "email": 1, "phone": 1, "card": 1, "iban": 1 })
    );
    assert_eq!(output["findings"].as_array().map(Vec::len), Some(4));
}
