//! What manifests say about direct calls: fallbacks, texts, hints for the router, the classifier, the hedge.

use super::*;

#[test]
fn fallbacks_exist_and_end() {
    let to = |id: &str, agents: Value| agent(id, json!({"fallback": {"agents": agents}}));
    let eight: Vec<_> = (0..8).map(|n| format!("x{n}")).collect();
    let nine: Vec<_> = (0..9).map(|n| format!("x{n}")).collect();
    let call = json!([{"id": "one", "call": "x0", "input": {"$value": "/input"}}]);
    let flow = json!({"kind": "workflow", "rules": null, "workflow": {"steps": call, "output": "x"}});
    check(
        &[
            to("a", json!(["a"])),
            to("b", json!(["x0", "c"])),
            to("c", json!(["d", "b"])),
            to("d", json!(["b"])),
            to("e", json!(["b"])),
            to("f", json!(["x0", "none"])),
            to("g", json!(["flow"])),
            to("x0", json!([])),
            agent("flow", flow),
        ],
        &[
            "a.json#/fallback/agents/0: an agent does not fall back to itself",
            "b.json#/fallback/agents/1: the fallbacks form a cycle: b -> c -> b",
            "c.json#/fallback/agents/0: the fallbacks form a cycle: c -> d -> b -> c",
            "c.json#/fallback/agents/1: the fallbacks form a cycle: c -> b -> c",
            "d.json#/fallback/agents/0: the fallbacks form a cycle: d -> b -> c -> d",
            "f.json#/fallback/agents/1: there is no agent `none`",
            "g.json#/fallback/agents/0: `flow` is a workflow: a workflow is a step of its own, and stands in for no agent within that agent's step: name the agents that it calls, or let customers call a workflow that chooses",
        ],
    );
    let others = eight.iter().map(|id| agent(id, json!({})));
    let all: Vec<_> = others.chain([to("a", json!(eight))]).collect();
    check(&all, &[]);
    check(
        &[
            to("a", json!(nine)),
            to("b", json!(["x0", "x0"])),
            agent("c", json!({"fallback": "a"})),
            agent("d", json!({"fallback": {}})),
            agent("e", json!({"fallback": {"answer": null}})),
        ],
        &[
            "a.json#/fallback/agents: ",
            "b.json#/fallback/agents: ",
            "c.json#/fallback: ",
            "d.json#/fallback: ",
            "e.json#/fallback/answer: ",
        ],
    );
}

#[test]
fn the_answer_that_stands_ready_is_an_output() {
    check(&[agent("a", json!({"fallback": {"answer": "none"}}))], &[]);
    check(
        &[agent("a", json!({"fallback": {"answer": {"n": 1}}}))],
        &["a.json#/fallback/answer: The value must be a string."],
    );
}

#[test]
fn a_text_becomes_an_input_of_the_agent() {
    let direct = |direct: Value| {
        let input = json!({"type": "object", "required": ["t"], "properties": {
            "t": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"}, "n": {"type": "integer"}}});
        [agent("a", json!({"input": input, "direct": direct}))]
    };
    // Whether the text itself fits is known only when there is one.
    check(&direct(json!({"text": {"t": {"$value": "/input/text"}}})), &[]);
    check(&direct(json!({"fallback": false, "budget_ms": 1})), &[]);
    check(&direct(json!({"budget_ms": 300_000})), &[]);
    for (wrong, finding) in [
        (json!({"text": {"t": "{{"}}), "a.json#/direct/text/t: line 1: "),
        (
            json!({"text": {"t": "{{ input.body }}"}}),
            "a.json#/direct/text/t: refers to something that is not there",
        ),
        (
            json!({"text": {"t": "{{ state.n }}"}}),
            "a.json#/direct/text/t: refers to something that is not there",
        ),
        (
            json!({"text": {}}),
            "a.json#/direct/text: what it makes of a text is no input of the agent: ",
        ),
        (
            json!({"text": {"t": "abc", "n": {"$value": "/input/text"}}}),
            "a.json#/direct/text/n: what it makes of a text is no input of the agent: ",
        ),
        (json!({"text": null}), "a.json#/direct/text: "),
        (json!({"budget_ms": 0}), "a.json#/direct/budget_ms: "),
        (json!({"budget_ms": 300_001}), "a.json#/direct/budget_ms: "),
        (
            json!({"words": 1}),
            "a.json#/direct/words: a manifest has no such field",
        ),
    ] {
        check(&direct(wrong), &[finding]);
    }
}

#[test]
fn hints_for_the_router_are_phrases() {
    let routing = |phrase: &str| {
        let hints = json!({"keywords": [{"phrase": "ok"}, {"phrase": phrase}], "negative": [{"phrase": phrase}]});
        [agent("a", json!({"routing": hints}))]
    };
    check(&routing(&"x ".repeat(8)), &[]);
    for wrong in ["?!", &"x ".repeat(9)] {
        check(
            &routing(wrong),
            &[
                "a.json#/routing/keywords/1/phrase: ",
                "a.json#/routing/negative/0/phrase: ",
            ],
        );
    }
}

#[test]
fn the_default_agent_can_be_called_with_a_text() {
    let agents = [
        agent("a", json!({"direct": {"text": {}}})),
        agent("b", json!({"direct": {"text": {}}, "visibility": "orchestrator"})),
        agent("c", json!({})),
    ];
    let files: Vec<_> = agents
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    for (routing, expected) in [
        (json!({"default": "a", "confidence_min": 1}), ""),
        (json!({"confidence_min": 0}), ""),
        (
            json!({"default": "b"}),
            "gateway.json#/routing/default: customers may not call `b`",
        ),
        (
            json!({"default": "c"}),
            "gateway.json#/routing/default: `c` takes no text",
        ),
        (
            json!({"default": "d"}),
            "gateway.json#/routing/default: there is no agent `d`",
        ),
        (
            json!({"confidence_min": 1.01}),
            "gateway.json#/routing/confidence_min: ",
        ),
        (
            json!({"confidence_min": -0.01}),
            "gateway.json#/routing/confidence_min: ",
        ),
    ] {
        let found = findings_with(routing, &files).join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
        assert!(found.starts_with(expected), "{found}\nis not: {expected}");
    }
}

#[test]
fn the_classifier_takes_the_question_and_gives_a_verdict() {
    let question = json!({"type": "object", "required": ["text", "agents"], "properties": {
        "text": {"type": "string"},
        "agents": {"type": "array", "items": {"type": "object", "required": ["id", "description"]}}}});
    let verdict = json!({"type": "object", "required": ["agent", "confidence", "reason"],
        "properties": {"agent": {"enum": ["a"]}}});
    let answering = |output: &Value| {
        agent(
            "c",
            json!({"input": question, "output": output, "visibility": "internal"}),
        )
    };
    let taking = agent("a", json!({"direct": {"text": {}}}));
    let narrow = json!({"type": "object", "properties": {"agent": {"enum": ["nobody"]}}});
    let closed = json!({"type": "object", "properties": {"text": {}}, "additionalProperties": false});
    for (files, expected) in [
        (vec![taking.clone(), answering(&verdict)], ""),
        (
            vec![taking.clone()],
            "gateway.json#/routing/classifier: there is no agent `c`",
        ),
        (
            vec![answering(&verdict)],
            "gateway.json#/routing/classifier: there is nothing to choose from",
        ),
        (
            vec![taking.clone(), answering(&narrow)],
            "gateway.json#/routing/classifier: `c` is to answer {agent, confidence, reason}, which its output schema does not take: at /agent",
        ),
        (
            vec![taking.clone(), agent("c", json!({"input": closed, "output": verdict}))],
            "gateway.json#/routing/classifier: `c` is asked with {text, agents: [{id, description}]}, which its input schema does not take",
        ),
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        let found = findings_with(json!({"classifier": "c"}), &files).join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
        assert!(found.starts_with(expected), "{found}\nis not: {expected}");
    }
}

#[test]
fn a_hedge_begins_within_the_budget() {
    let direct = |direct: Value| [agent("a", json!({"deadline_ms": 4_000, "direct": direct}))];
    check(&direct(json!({"hedge_after_ms": 1_999})), &[]);
    check(&direct(json!({"hedge_after_ms": 99, "budget_ms": 100})), &[]);
    for wrong in [
        json!({"hedge_after_ms": 2_000}),
        json!({"hedge_after_ms": 100, "budget_ms": 100}),
        json!({"hedge_after_ms": 100, "fallback": false}),
        json!({"hedge_after_ms": 0}),
    ] {
        check(&direct(wrong), &["a.json#/direct/hedge_after_ms: "]);
    }
}
