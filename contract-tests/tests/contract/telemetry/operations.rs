//! What an agent has others do, at a real collector: a model that is asked, a tool that it uses, the request that the tool
//! makes.

use contract_tests::collector::{Collector, Span};
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::model_server::{Act, ModelServer};
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::json;

use super::{invoke, nobody, options};

const MODEL_KEY: &str = "sk-contract-0123456789";

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn models_tools_and_requests_are_spans_below_their_agent() {
    let (crm, models) = (Receiver::start(), ModelServer::start(MODEL_KEY));
    let mut collector = Collector::new();
    collector.start();
    let mut options = options(&collector.endpoint(), "http/protobuf", nobody());
    let chat = json!({"api": "openai-chat", "base_url": models.base_url(), "key": "MODEL_KEY"});
    options.variables.extend([
        ("BATON_HTTP_ORIGINS", json!({"crm": crm.origin()}).to_string()),
        ("BATON_MODELS", json!({ "chat": chat }).to_string()),
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
    ]);
    let secrets = json!({"MODEL_KEY": MODEL_KEY, "CRM_TOKEN": "crm-contract-9876543210"});
    options.secrets.push(("BATON_SECRETS", secrets.to_string()));
    let gateway = Gateway::start(options);

    let (run, word) = (fresh(), fresh());
    let id = format!("c-{word}");
    let ada = json!({"name": "Ada", "plan": {"name": "gold"}});
    crm.plan(&format!("/customers/{id}?expand=plan"), [Reaction::Json(200, ada)]);
    let good = json!({"answer": "It comes tomorrow.", "urgent": false, "topic": "other"});
    models.plan(
        &word,
        [
            Act::Wants("crm-customer", json!({ "id": id })),
            Act::Says(good.to_string()),
        ],
    );
    let text = format!("Where is my parcel? ({word})");
    let body = json!({"run": run, "step": "s1", "input": {"text": text}});
    invoke(&gateway, Message::step(&gateway, "ask-chat", &body));

    let spans = collector.wait_for_run(&run, |spans| spans.len() >= 6);
    let agent = named(&spans, "invoke_agent ask-chat")[0];
    let chats = named(&spans, "chat chat-model");
    assert_eq!(chats.len(), 2, "{spans:#?}");
    for chat in chats {
        assert_eq!((&chat.parent, chat.kind.as_str()), (&agent.id, "SPAN_KIND_CLIENT"));
        assert_eq!(chat.trace_id, agent.trace_id);
        for (name, value) in [
            ("gen_ai.operation.name", "Str(chat)"),
            ("gen_ai.provider.name", "Str(openai)"),
            ("gen_ai.request.model", "Str(chat-model)"),
            ("server.address", "Str(127.0.0.1)"),
        ] {
            assert_eq!(chat.attributes[name], value, "{chat:?}");
        }
        assert!(chat.attributes.contains_key("gen_ai.usage.input_tokens"), "{chat:?}");
    }
    let tool = named(&spans, "execute_tool crm-customer")[0];
    assert_eq!((&tool.parent, tool.kind.as_str()), (&agent.id, "SPAN_KIND_INTERNAL"));
    let request = named(&spans, "GET")[0];
    assert_eq!((&request.parent, request.kind.as_str()), (&tool.id, "SPAN_KIND_CLIENT"));
    assert_eq!(request.attributes["http.response.status_code"], "Int(200)");

    wait_for("the tokens by their model", || {
        let points = collector.points();
        let mut of_model = points.iter().filter(|point| {
            point.metric == "gen_ai.client.token.usage"
                && point.attributes.get("gen_ai.request.model").map(String::as_str) == Some("Str(chat-model)")
        });
        of_model.next().map(|_| ())
    });
    for content in [&id, &word, MODEL_KEY, "tomorrow"] {
        assert!(!collector.printed().contains(content), "`{content}` is told to nobody");
    }
}
