//! The variables of a model's prompt and messages.

use super::*;
use crate::manifest::check_variables::{NAMED_MAX, TRIALS_MAX};

/// What is wrong with a model agent of this message, over an input of this schema, with these changes.
fn found(message: &str, input: Value, changes: Value) -> Vec<String> {
    let model = json!({"provider": "openai", "model": "m", "instructions": "Do.",
        "messages": [{"role": "user", "content": message}]});
    let mut all = json!({"kind": "model", "rules": null, "model": model, "input": input});
    all.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    let (name, text) = agent("a", all);
    findings(&[(&name, text)])
}

#[track_caller]
fn check(message: &str, input: Value, expected: &str) {
    let found = found(message, input, json!({}));
    if expected.is_empty() {
        assert_eq!(found, [""; 0], "{message}");
    } else {
        let expected = format!("a.json#/model/messages/0/content: {expected}");
        check_found(&found, &[expected.as_str()]);
    }
}

/// An input with a member of each kind.
fn input() -> Value {
    json!({
        "type": "object", "required": ["name", "contact", "tags", "items", "plan", "either"],
        "properties": {
            "name": {"type": "string"},
            "nick": {"type": "string"},
            "contact": {"$ref": "#/$defs/Contact"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
            "plan": {"allOf": [{"type": "object", "properties": {"id": {"type": "integer"}}}, {"required": ["id"]}]},
            "either": {"oneOf": [
                {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}, "additionalProperties": false},
                {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}, "additionalProperties": false},
            ]},
            "free": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {},
        },
        "$defs": {
            "Contact": {
                "type": "object", "required": ["mail"],
                "properties": {"mail": {"type": "string"}, "phone": {"type": "string"}, "home": {"$ref": "#/$defs/Address"}},
            },
            "Address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
            "Item": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}},
        },
    })
}

#[test]
fn what_the_schema_declares_and_requires_passes() {
    for message in [
        "{{ input.name }} {{ input.contact.mail }} {{ input.plan.id }}",
        "{{ input.nick | default(input.name) }}",
        "{% if input.contact.phone is defined %}{{ input.contact.phone }}{% endif %}",
        "{% if input.contact.home is defined %}{{ input.contact.home.city }}{% endif %}",
        "{{ input.either.a | default(input.either.b) }}",
        "{% for item in input['items'] %}{{ item.id }}{{ item.note | default('-') }}{% endfor %}",
        "{{ input.tags | join(', ') }} {{ input.contact | tojson }} {{ input | tojson }}",
        "{% if input.free is defined %}{{ input.free.whatever | default('') }}{% endif %}",
        "{% if input.any is defined %}{{ input.any | tojson }}{% endif %}",
        "{{ dict(a=1).a }}{% for n in range(3) %}{{ n }}{% endfor %}",
        "No variable, {name} and { \"$value\": 1 } included.",
    ] {
        check(message, input(), "");
    }
    check("{{ input }}", json!({"type": "string"}), "");
}

#[test]
fn what_the_schema_does_not_declare_is_refused_however_deep() {
    for (message, expected) in [
        (
            "{{ input.contact.male }}",
            "uses `input.contact.male`, which the schema of the input does not declare at `/contact/male`: there is `home`, \
             `mail`, `phone`",
        ),
        (
            "{{ input.contact.home.street | default('') }}",
            "uses `input.contact.home.street`, which the schema of the input does not declare at `/contact/home/street`: \
             there is `city`",
        ),
        ("{{ input.plan.name }}", "uses `input.plan.name`, which"),
        ("{{ input.either.c | default('') }}", "uses `input.either.c`, which"),
        (
            "{{ input.name.length }}",
            "uses `input.name.length`, which the schema of the input does not declare at `/name/length`: nothing has members \
             there",
        ),
        ("{{ input.tags.first }}", "uses `input.tags.first`, which"),
        ("{{ other }}", "uses `other`, which is not there"),
        (
            "{{ state.visits | default(0) }}",
            "uses `state`, and the manifest declares none",
        ),
    ] {
        check(message, input(), expected);
    }
    // A schema whose root refers to another part of it.
    let by_reference =
        json!({"$ref": "#/$defs/In", "$defs": {"In": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    check("{{ input.b | default('') }}", by_reference, "uses `input.b`, which");
}

#[test]
fn what_may_be_missing_is_named() {
    for (message, variable) in [
        ("{{ input.nick }}", "input.nick"),
        ("{{ input.contact.phone }}", "input.contact.phone"),
        ("{{ input.contact.home.city }}", "input.contact.home"),
        ("{{ input.either.a }}", "input.either.a"),
        ("{{ input.tags[0] }}", "input.tags[0]"),
        (
            "{% if input.free is defined %}{{ input.free.x }}{% endif %}",
            "input.free.x",
        ),
        (
            "{% if input.nick is defined %}{{ input.contact.phone }}{% endif %}",
            "input.contact.phone",
        ),
        (
            "{% if input.nick is not defined %}{{ input.contact.phone }}{% endif %}",
            "input.contact.phone",
        ),
    ] {
        let expected =
            format!("line 1: uses `{variable}`, which may be missing, since the schema does not require it: use the");
        check(message, input(), &expected);
    }
    let nullable = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": ["object", "null"], "required": ["b"], "properties": {"b": {"type": "string"}}}
    }});
    check(
        "Hi.\n{{ input.a.b }}",
        nullable,
        "line 2: uses `input.a.b`, which may be missing",
    );
}

#[test]
fn what_has_no_text_of_its_own_is_named() {
    for (message, what) in [
        ("{{ input }}", "`input`, which"),
        ("{{ input.contact }}", "`input.contact`, which"),
        ("{{ input.tags }}", "`input.tags`, which"),
        (
            "{% if input.any is defined %}{{ input.any }}{% endif %}",
            "`input.any`, which",
        ),
        ("{{ input.tags | sort }}", "what"),
    ] {
        let expected = format!("line 1: writes {what} may be an object or an array, and has no text of its own");
        check(message, input(), &expected);
    }
}

#[test]
fn examples_are_tried_as_well() {
    // No sample can be made of a pattern.
    let input = json!({"type": "object", "required": ["code"], "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{2}$"}, "more": {"type": "string"}
    }});
    let examples = json!([{"title": "One", "input": {"code": "AB"}}]);
    let with = |message: &str, changes: Value| found(message, input.clone(), changes);
    let message = "{{ input.code / 2 }}";
    assert_eq!(with(message, json!({})), [""; 0]);
    check_found(
        &with(message, json!({"examples": examples})),
        &[
            "a.json#/model/messages/0/content: line 1: an operation does not fit the value it is applied to; the schema allows \
          the input {\"code\":\"AB\"}",
        ],
    );
}

#[test]
fn trials_and_names_are_bounded() {
    // All but the last one are numbers.
    let numbers = |count: usize| {
        let numbers = (1..count).map(Value::from).chain([json!("text")]);
        json!({ "enum": numbers.collect::<Vec<_>>() })
    };
    check(
        "{{ input / 2 }}",
        numbers(TRIALS_MAX),
        "line 1: an operation does not fit",
    );
    check("{{ input / 2 }}", numbers(TRIALS_MAX + 1), "");

    let members = |count: usize| {
        let names = (0..count).map(|number| (format!("m{number:02}"), json!({})));
        json!({"type": "object", "properties": names.collect::<serde_json::Map<_, _>>()})
    };
    let told = |count: usize| found("{{ input.other }}", members(count), json!({})).concat();
    assert_eq!(told(NAMED_MAX).matches("`m").count(), NAMED_MAX);
    assert_eq!(told(NAMED_MAX + 1).matches("`m").count(), NAMED_MAX);
}

#[test]
fn a_state_is_not_there_before_the_first_step() {
    let state = json!({"type": "object", "required": ["visits"], "properties": {"visits": {"type": "integer"}}});
    let with = |message: &str| found(message, input(), json!({"state": state}));
    assert_eq!(with("{{ state.visits | default(0) }}"), [""; 0]);
    check_found(
        &with("{{ state.visits }}"),
        &[
            "a.json#/model/messages/0/content: line 1: uses `state.visits`, which may be missing, since before a run has a state \
          there is none",
        ],
    );
    check_found(
        &with("{{ state.visit | default(0) }}"),
        &["a.json#/model/messages/0/content: uses `state.visit`, which the schema of the state does not declare"],
    );
}

#[test]
fn the_instructions_are_checked_likewise() {
    let model = |instructions: &str| {
        json!({"model": {"provider": "openai", "model": "m", "instructions": instructions,
            "messages": [{"role": "user", "content": "Hi."}]}})
    };
    check_found(
        &found("", input(), model("Do.\nCall {{ input.nick }}.")),
        &["a.json#/model/instructions: line 2: uses `input.nick`, which may be missing"],
    );
}
