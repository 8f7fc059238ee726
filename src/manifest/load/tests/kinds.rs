//! Workflows, calls of others and models: what is wrong with each.

use super::*;
use crate::manifest::{CACHE_TTL_MAX_S, CACHE_TTL_MIN_S};

#[test]
fn a_workflow_is_checked() {
    let flow = |steps: Value, changes: Value| {
        let mut manifest = json!({"kind": "workflow", "rules": null, "workflow": {"steps": steps, "output": "x"}});
        manifest
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        [agent("flow", manifest), agent("a", json!({}))]
    };
    let call = |id: &str| json!({"id": id, "call": "a", "input": {}});
    check(&flow(json!([call("one")]), json!({})), &[]);
    for (node, finding) in [
        (
            json!({"id": "x"}),
            "flow.json#/workflow/steps/0: The value must match exactly one",
        ),
        (
            json!({"id": "x", "call": "a", "input": {}, "sequence": [call("y")]}),
            "flow.json#/workflow/steps/0: The value matches several alternatives",
        ),
        (
            json!({"id": "x", "call": "a", "input": {}, "until": "true"}),
            "flow.json#/workflow/steps/0: The property \"loop\" is required.",
        ),
        (
            json!({"id": "x", "map": [call("y")], "over": []}),
            "flow.json#/workflow/steps/0: The property \"items_max\" is required.",
        ),
        (
            json!({"id": "x", "call": "a", "input": {}, "retries": 3}),
            "flow.json#/workflow/steps/0/retries: a manifest has no such field",
        ),
        (
            json!({"id": "x-y", "call": "a", "input": {}}),
            "flow.json#/workflow/steps/0/id: The string must match",
        ),
        (
            json!({"id": "x", "call": "b", "input": {"$value": "/steps/y/output"}}),
            "flow.json#/workflow/steps/0/input: there is no step `y`",
        ),
    ] {
        let folder = flow(json!([node]), json!({}));
        let files: Vec<_> = folder
            .iter()
            .map(|(name, text)| (name.as_str(), text.clone()))
            .collect();
        let found = findings(&files);
        assert!(
            found.iter().any(|found| found.starts_with(finding)),
            "{found:#?}\nhas not: {finding}"
        );
    }
    for field in ["state", "retry", "handoffs", "rules"] {
        let value = match field {
            "handoffs" => json!(["a"]),
            "rules" => json!({"rules": [{"name": "x", "when": true, "then": 1}]}),
            _ => json!({}),
        };
        let finding = format!("flow.json#/{field}: No value is allowed here.");
        check(&flow(json!([call("one")]), json!({ field: value })), &[&finding]);
    }
}

fn calling(id: &str, http: Value) -> (String, String) {
    let mut all = json!({"origin": "crm", "method": "GET", "path": "/a"});
    for (field, value) in http.as_object().unwrap() {
        all[field] = value.clone();
    }
    agent(id, json!({"kind": "http", "rules": null, "http": all}))
}

#[test]
fn calls_of_others_are_checked() {
    check(
        &[
            calling("a", json!({"path": "/", "origin": "http://127.0.0.1:8080"})),
            calling(
                "b",
                json!({"path": "/a//{{ input.n }}", "origin": "https://10.0.0.1", "body": 1}),
            ),
            calling("c", json!({"path": "/a?b={{ input.n }}"})),
            calling(
                "d",
                json!({"path": "/{{ input. }}", "headers": {"host": "x", "a b": "x"}}),
            ),
            calling(
                "e",
                json!({"headers": {"host": "x", "x": {"$secret": "A", "prefix": "Bearer "}}}),
            ),
            calling(
                "f",
                json!({"method": "POST", "retries": 1, "body": {"a": [{"$secret": "A"}]}}),
            ),
            calling(
                "g",
                json!({"output": {"$value": "/other"}, "statuses": {"404": {"output": "{{ b"}}}),
            ),
            calling(
                "h",
                json!({"retries": RETRIES_MAX, "query": {"a": {"$value": "/input/n"}}}),
            ),
            calling(
                "i",
                json!({"retries": RETRIES_MAX + 1, "statuses": {"4xx": {"output": 1}}}),
            ),
            agent("j", json!({"http": {"origin": "crm", "method": "GET", "path": "/"}})),
        ],
        &[
            "b.json#/http/origin: the address 10.0.0.1 is private",
            "b.json#/http/path: a segment is empty",
            "b.json#/http/body: a GET has no body",
            "c.json#/http/path: has a `?`",
            "d.json#/http/headers: ",
            "e.json#/http/headers/host: the gateway sets this field",
            "f.json#/http/retries: a POST must not be sent again",
            "f.json#/http/body: a secret may stand in a header field alone",
            "g.json#/http/output: `$value` must be a JSON Pointer that begins with /body or /status or /input or /state",
            "i.json#/http/retries: ",
            "i.json#/http/statuses: ",
            "j.json#/http: No value is allowed here.",
        ],
    );
}

#[test]
fn services_are_checked() {
    let served = |id: &str, service: Value, changes: Value| {
        let mut all = json!({"kind": "service", "rules": null, "service": service});
        for (field, value) in changes.as_object().unwrap() {
            all[field] = value.clone();
        }
        agent(id, all)
    };
    let gateway = json!({"gateway": "east", "agent": "triage"});
    let worker = json!({"binding": "CRM", "method": "GET", "path": "/a"});
    let with = |service: &Value, field: &str, value: Value| {
        let mut service = service.clone();
        service[field] = value;
        service
    };
    check(
        &[
            served("a", gateway.clone(), json!({})),
            served("b", worker.clone(), json!({"state": {"type": "object"}})),
            served("c", gateway.clone(), json!({"state": {"type": "object"}})),
            served("d", with(&gateway, "path", json!("/a")), json!({})),
            served("e", json!({"gateway": "east"}), json!({})),
            served("f", with(&gateway, "binding", json!("CRM")), json!({})),
            served("g", with(&worker, "agent", json!("triage")), json!({})),
            served("h", json!({"binding": "CRM"}), json!({})),
            served("i", with(&worker, "body", json!(1)), json!({})),
            served("j", with(&worker, "origin", json!("crm")), json!({})),
            served("k", with(&worker, "retries", json!(RETRIES_MAX + 1)), json!({})),
            served("l", with(&worker, "binding", json!("A B")), json!({})),
            served(
                "m",
                with(&gateway, "gateway", json!("https://east.example.com")),
                json!({}),
            ),
            agent("n", json!({ "service": gateway })),
        ],
        &[
            "c.json#/state: an agent of another gateway keeps its state there",
            "d.json#/service",
            "e.json#/service: The property \"agent\" is required.",
            "f.json#/service",
            "g.json#/service/agent: No value is allowed here.",
            "h.json#/service: The property \"method\" is required.",
            "h.json#/service: The property \"path\" is required.",
            "i.json#/service/body: a GET has no body",
            "j.json#/service/origin: a manifest has no such field",
            "k.json#/service/retries: ",
            "l.json#/service/binding: ",
            "m.json#/service/gateway: ",
            "n.json#/service: No value is allowed here.",
        ],
    );
}

fn modelled(id: &str, model: Value, changes: Value) -> (String, String) {
    let mut all = json!({"provider": "openai", "model": "m", "instructions": "Do.",
        "messages": [{"role": "user", "content": "{{ input.n | default(0) }}"}]});
    for (field, value) in model.as_object().unwrap() {
        all[field] = value.clone();
    }
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut all = json!({"kind": "model", "rules": null, "model": all});
    for (field, value) in changes.as_object().unwrap() {
        all[field] = value.clone();
    }
    agent(id, all)
}

#[test]
fn models_are_checked() {
    let said = |content: &str| json!([{"role": "user", "content": content}]);
    check(
        &[
            modelled("a", json!({"tools": ["tool"]}), json!({})),
            modelled(
                "b",
                json!({"messages": said("{% for x in range(3) %}{{ x }}{{ input.n | default(x) }}{% endfor %}")}),
                json!({}),
            ),
            modelled(
                "c",
                json!({"messages": said("{{ input.m }} {{ state.a }} {{ secrets }}")}),
                json!({}),
            ),
            modelled("d", json!({"instructions": null}), json!({})),
            modelled("e", json!({"instructions": "{{ input.", "stream": "text"}), json!({})),
            modelled(
                "f",
                json!({"messages": [{"role": "assistant", "content": "x"}]}),
                json!({}),
            ),
            modelled("g", json!({}), json!({"prompt": "g.md"})),
            modelled("h", json!({"tools": ["h", "none", "i"]}), json!({})),
            modelled("i", json!({"tools": ["j"]}), json!({})),
            modelled("j", json!({"tools": ["h", "keeps", "text"]}), json!({})),
            agent("keeps", json!({"state": {"type": "object"}})),
            agent(
                "text",
                json!({"input": {"type": "string"}, "rules": {"rules": [{"name": "a", "when": true, "then": "x"}]}}),
            ),
            agent("tool", json!({})),
            ("g.md".to_owned(), "Say {{ input.none }}.".to_owned()),
        ],
        &[
            "c.json#/model/messages/0/content: uses `input.m`, which the schema of the input does not declare",
            "c.json#/model/messages/0/content: uses `secrets`, which is not there",
            "c.json#/model/messages/0/content: uses `state`, and the manifest declares none",
            "d.json#/model: there are no instructions",
            "e.json#/model/stream: the output has no member `text`",
            "e.json#/model/instructions: line 1",
            "f.json#/model/messages: the last message must be one of `user`",
            "g.json#/model/instructions: the manifest has a `prompt` already",
            "g.json#/prompt: uses `input.none`",
            "h.json#/model/tools/0: an agent is not its own tool",
            "h.json#/model/tools/1: there is no agent `none`",
            "h.json#/model/tools/2: `i` comes back to `h`",
            "i.json#/model/tools/0: `j` comes back to `i`",
            "j.json#/model/tools/0: `h` comes back to `j`",
            "j.json#/model/tools/1: `keeps` keeps a state",
            "j.json#/model/tools/2: the input of `text` is not of the type `object`",
        ],
    );
}

#[test]
fn answers_are_kept_of_models_that_do_not_vary() {
    let kept = |id: &str, model: Value, changes: Value| {
        let mut all = json!({"temperature": 0, "cache": {"ttl_s": 60}});
        all.as_object_mut().unwrap().extend(model.as_object().unwrap().clone());
        modelled(id, all, changes)
    };
    let for_so_long = |id: &str, ttl_s: u64| kept(id, json!({"cache": {"ttl_s": ttl_s}}), json!({}));
    check(
        &[
            for_so_long("a", CACHE_TTL_MIN_S),
            for_so_long("b", CACHE_TTL_MAX_S),
            for_so_long("c", CACHE_TTL_MIN_S - 1),
            for_so_long("d", CACHE_TTL_MAX_S + 1),
            kept("e", json!({"temperature": null}), json!({})),
            kept("f", json!({"temperature": 0.1}), json!({})),
            kept("g", json!({"tools": ["tool"]}), json!({})),
            kept("h", json!({}), json!({"memory": {}})),
            kept("i", json!({"cache": {}}), json!({})),
            agent("tool", json!({})),
        ],
        &[
            "c.json#/model/cache/ttl_s: ",
            "d.json#/model/cache/ttl_s: ",
            "e.json#/model/temperature: must be 0 where `model.cache` keeps answers",
            "f.json#/model/temperature: must be 0 where `model.cache` keeps answers",
            "g.json#/model/tools: a model whose answers are kept (`model.cache`) uses no tools",
            "h.json#/model/cache: an agent with a `memory` keeps no answers",
            "i.json#/model/cache: ",
        ],
    );
}

#[test]
fn memories_are_checked() {
    let of = |id: &str, memory: Value, changes: Value| {
        let mut all = json!({ "memory": memory });
        all.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        modelled(id, json!({}), all)
    };
    let text = json!({"direct": {"text": {"n": 1}}});
    check(
        &[
            of("a", json!({}), json!({})),
            of("b", json!({"summarise_with": "b"}), json!({})),
            of("c", json!({"summarise_with": "none"}), json!({})),
            of("d", json!({"summarise_with": "a"}), json!({})),
            of("e", json!({"summarise_with": "short"}), json!({})),
            of("f", json!({}), json!({"state": {"type": "object"}})),
            agent("g", json!({"memory": {}})),
            modelled("short", json!({}), text),
        ],
        &[
            "b.json#/memory/summarise_with: an agent does not summarise for itself",
            "c.json#/memory/summarise_with: there is no agent `none`",
            "d.json#/memory/summarise_with: `a` does not take a text",
            "f.json#/memory: an agent has a `state` or a `memory`",
            "g.json#/memory: an agent of kind `rules` remembers nothing",
        ],
    );
}

#[test]
fn the_limits_of_a_memory_are_those_of_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../../manifests/schema/agent.schema.json")).unwrap();
    let of = |member: &str| {
        let declared = &schema["properties"]["memory"]["properties"][member];
        (
            declared["default"].as_u64().unwrap(),
            declared["maximum"].as_u64().unwrap(),
        )
    };
    use crate::manifest::{
        MEMORY_MESSAGES, MEMORY_MESSAGES_MAX, MEMORY_TOKENS, MEMORY_TOKENS_MAX, MEMORY_TTL_MAX_S, MEMORY_TTL_S,
    };
    assert_eq!(of("ttl_s"), (MEMORY_TTL_S, MEMORY_TTL_MAX_S));
    assert_eq!(of("max_messages"), (MEMORY_MESSAGES as u64, MEMORY_MESSAGES_MAX as u64));
    assert_eq!(of("max_tokens"), (MEMORY_TOKENS as u64, MEMORY_TOKENS_MAX as u64));
}

#[test]
fn the_workflow_in_the_documentation_passes() {
    let page = include_str!("../../../../docs/workflows.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (manifest, _) = rest.split_once("```").unwrap();
    check(
        &[
            ("brief.json".to_owned(), manifest.to_owned()),
            agent("redact", json!({})),
            agent("summarize", json!({})),
        ],
        &[],
    );
}
