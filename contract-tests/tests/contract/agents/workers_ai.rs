//! Workers AI by its binding, with a Worker in its place: it has the method of the binding, takes what Workers AI documents
//! and nothing else, and answers the same responses.

use std::sync::OnceLock;

use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

/// What the message asks for decides about the answer.
const AI: &str = r#"
import { WorkerEntrypoint } from "cloudflare:workers";
const INPUTS = ["messages", "max_tokens", "temperature", "stream", "tools", "response_format"];
const wrong = (description) => Response.json({ internalCode: 5006, name: "AiError", description }, { status: 400 });
let refusals = 0;
export default class extends WorkerEntrypoint {
  async run(model, inputs, options) {
    if (options?.returnRawResponse !== true) throw new Error("values alone");
    if (model !== "@cf/meta/llama-3.1-8b-instruct") {
      return Response.json({ errors: [{ code: 5007, message: "No such model" }] }, { status: 400 });
    }
    for (const name of Object.keys(inputs)) if (!INPUTS.includes(name)) return wrong(`${name} is unknown`);
    const roles = ["system", "user", "assistant", "tool"];
    if (!Array.isArray(inputs.messages) || !inputs.messages.every(({ role }) => roles.includes(role))) {
      return wrong("messages");
    }
    const said = inputs.messages.at(-1).content;
    const usage = { prompt_tokens: 21, completion_tokens: 8 };
    if (said.includes("busy") && refusals++ < 1) {
      return Response.json({ internalCode: 3040, name: "AiError", description: "Capacity" }, { status: 429 });
    }
    if (inputs.response_format) {
      const { type, json_schema } = inputs.response_format;
      if (inputs.stream || type !== "json_schema" || json_schema.type !== "object") return wrong("response_format");
      return Response.json({ response: { answer: "It comes tomorrow.", urgent: false }, usage });
    }
    if (!inputs.stream) return wrong("stream");
    const events = ["It c", "\u00f6mes ", "tomorrow."].map((response) => ({ response }));
    const lines = [...events, { response: "", usage }].map((event) => `data: ${JSON.stringify(event)}\n\n`);
    const bytes = new TextEncoder().encode(`${lines.join("")}data: [DONE]\n\n`);
    const body = new ReadableStream({
      start(controller) {
        // In pieces that end in the middle of characters.
        for (let at = 0; at < bytes.length; at += 5) controller.enqueue(bytes.slice(at, at + 5));
        controller.close();
      },
      type: "bytes",
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }
}
"#;

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        Gateway::start(Options {
            bound: vec![("AI", AI)],
            variables: vec![("BATON_MODELS", json!({"workers-ai": {}}).to_string())],
            ..Options::with_operator()
        })
    })
}

fn ask(agent: &str, text: &str) -> Value {
    let body = json!({"run": fresh(), "step": "s1", "input": {"text": text}});
    let message = Message::step(gateway(), agent, &body);
    message.signed_by_baton(gateway().key("first")).send().outcome()
}

#[test]
fn an_answer_of_a_form_comes_at_once() {
    let outcome = ask("ask-edge", "Where is my parcel?");
    assert_eq!(
        outcome["output"],
        json!({"answer": "It comes tomorrow.", "urgent": false}),
        "{outcome}"
    );
    let usage = &outcome["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(21), &json!(8))
    );
}

#[test]
fn text_comes_as_a_stream() {
    let outcome = ask("ask-edge-text", "Where is my parcel?");
    assert_eq!(outcome["output"], "It c\u{f6}mes tomorrow.", "{outcome}");
    assert_eq!(outcome["usage"]["output_tokens"], 8);
}

#[test]
fn who_is_busy_is_asked_again() {
    let outcome = ask("ask-edge-text", "Are you busy?");
    assert_eq!(outcome["status"], "completed", "{outcome}");
}

#[test]
fn without_the_binding_the_agent_says_so() {
    let gateway = Gateway::start(Options {
        variables: vec![("BATON_MODELS", json!({"workers-ai": {}}).to_string())],
        ..Options::with_operator()
    });
    let body = json!({"run": fresh(), "step": "s1", "input": {"text": "Where is my parcel?"}});
    let message = Message::step(&gateway, "ask-edge", &body);
    let outcome = message.signed_by_baton(gateway.key("first")).send().outcome();
    assert_eq!(outcome["error"]["code"], "call-not-allowed", "{outcome}");
}
