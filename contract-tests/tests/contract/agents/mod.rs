//! Agents that reach outside of the gateway: calls of an HTTP API, and models, against real servers.

mod conversations;
mod front_desk;
mod gateways;
mod http;
mod injection;
mod kept;
mod models;
mod rust;
mod services;
mod trouble;
mod workers_ai;

use std::sync::OnceLock;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::model_server::ModelServer;
use contract_tests::outside::fresh;
use contract_tests::receiver::Receiver;
use serde_json::{Value, json};

/// The key that the providers of models want.
const MODEL_KEY: &str = "sk-contract-0123456789";
/// The token that the CRM wants.
const CRM_TOKEN: &str = "crm-contract-9876543210";

/// A gateway with a CRM, a provider of models, and others that are not reliable.
struct World {
    gateway: Gateway,
    crm: Receiver,
    models: ModelServer,
    /// By API: another origin each, so that its failures do not open the breaker before the first one.
    shaky: Shaky,
}

/// Providers that are not reliable.
struct Shaky {
    chat: ModelServer,
    responses: ModelServer,
    claude: ModelServer,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(new_world)
}

fn new_world() -> World {
    world_with_key(MODEL_KEY)
}

/// A world whose gateway shows this key to the providers.
fn world_with_key(key: &str) -> World {
    let models = || ModelServer::start(MODEL_KEY);
    let shaky = Shaky {
        chat: models(),
        responses: models(),
        claude: models(),
    };
    let (crm, models) = (Receiver::start(), models());
    let mut providers = json!({
        "chat": provider("openai-chat", &models),
        "responses": provider("openai-responses", &models),
        "claude": provider("anthropic", &models),
        "shaky": provider("openai-chat", &shaky.chat),
        "shaky-responses": provider("openai-responses", &shaky.responses),
        "shaky-claude": provider("anthropic", &shaky.claude),
        // What the sample team's `support` asks.
        "openai": provider("openai-responses", &models),
    });
    providers["chat"]["prices"] = json!({"chat-model": {"input": 0.25, "output": 2}});
    let secrets = json!({"MODEL_KEY": key, "CRM_TOKEN": CRM_TOKEN});
    let gateway = Gateway::start(Options {
        variables: vec![
            ("BATON_HTTP_ORIGINS", json!({"crm": crm.origin()}).to_string()),
            ("BATON_MODELS", providers.to_string()),
        ],
        secrets: vec![("BATON_SECRETS", secrets.to_string())],
        ..Options::with_operator()
    });
    World {
        gateway,
        crm,
        models,
        shaky,
    }
}

/// A provider in `BATON_MODELS`: a server that speaks this API.
fn provider(api: &str, server: &ModelServer) -> Value {
    json!({"api": api, "base_url": server.base_url(), "key": "MODEL_KEY"})
}

fn step(agent: &str, input: &Value) -> Message {
    step_in(world(), agent, input)
}

fn step_in(world: &World, agent: &str, input: &Value) -> Message {
    let body = json!({"run": fresh(), "step": "s1", "input": input});
    Message::step(&world.gateway, agent, &body)
}

/// Invokes a step, and answers what came of it. No secret is in it.
#[track_caller]
fn invoke(agent: &str, input: &Value) -> Value {
    let answer: Answer = step(agent, input).signed_by_baton(world().gateway.key("first")).send();
    for secret in [MODEL_KEY, CRM_TOKEN] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
    answer.outcome()
}

/// The output of a step that completes.
#[track_caller]
fn output(agent: &str, input: &Value) -> Value {
    let outcome = invoke(agent, input);
    assert_eq!(outcome["status"], "completed", "{outcome}");
    outcome["output"].clone()
}

/// The code of a step's failure, and whether it may succeed later.
#[track_caller]
fn failure(agent: &str, input: &Value) -> (String, bool) {
    let outcome = invoke(agent, input);
    assert_eq!(outcome["status"], "failed", "{outcome}");
    let code = outcome["error"]["code"].as_str().expect("a code").to_owned();
    (code, outcome["error"]["retryable"] == true)
}
