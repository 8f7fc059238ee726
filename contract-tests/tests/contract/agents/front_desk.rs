//! The sample team as customers meet it: `POST /query`, the workflow `front-desk`, with and without an orchestrator, with and
//! without a model.

use contract_tests::gateway::{Gateway, Options};
use contract_tests::model_server::{Act, ModelServer};
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use super::{MODEL_KEY, provider};
use crate::direct::{answered, call};
use crate::support::orchestrated_with;

const LEASE_MS: u64 = 3_000;
/// By category: what a customer writes, and the agent that answers it.
const MESSAGES: [(&str, &str); 3] = [
    ("support", "I was charged twice and want a refund!"),
    ("analytics", "Compare the conversion rate by region on a dashboard."),
    ("writing", "Draft a blog post about our new office."),
];

fn ask(gateway: &Gateway, api_key: &str, text: &str) -> Value {
    answered(&call(gateway, api_key, "/query", &json!({"text": text})).send())
}

/// Asks for each category, and answers what came of it.
fn ask_all(gateway: &Gateway, api_key: &str, by: &str, word: &str) -> Vec<Value> {
    let asked = MESSAGES.iter().map(|(category, text)| {
        let body = ask(gateway, api_key, &format!("{text} ({word})"));
        assert_eq!(
            (&body["status"], &body["route"]["by"]),
            (&json!("completed"), &json!(by)),
            "{body}"
        );
        assert_eq!(body["choice"]["agent"], "front-desk", "{body}");
        assert_eq!(body["output"]["category"], *category, "{body}");
        body
    });
    asked.collect()
}

/// With the orchestrator, and then without it.
fn each_way(options: Options, mut check: impl FnMut(&dyn Fn(&str) -> Vec<Value>)) {
    let (gateway, mut orchestrator, api_key) = orchestrated_with(LEASE_MS, options);
    let _ = orchestrator.wait_for_live();
    wait_for("the orchestrator to coordinate", || {
        let body = ask(&gateway, &api_key, "Hello there");
        (body["route"]["by"] == "orchestrated").then_some(())
    });
    check(&|word| ask_all(&gateway, &api_key, "orchestrated", word));
    orchestrator.kill_hard();
    check(&|word| ask_all(&gateway, &api_key, "fallback", word));
}

#[test]
fn without_a_model_the_declared_answers_stand_in_whoever_coordinates() {
    each_way(Options::default(), |ask_all| {
        let bodies = ask_all(&fresh());
        let whos = [
            ("support", "A person"),
            ("analytics", "An analyst"),
            ("writer", "An editor"),
        ];
        for (body, (agent, who)) in bodies.iter().zip(whos) {
            let output = &body["output"];
            // The answer says so, whoever asks for it.
            let stood_in = &body["stand_ins"][0];
            assert_eq!(body["stand_ins"].as_array().map(Vec::len), Some(1), "{body}");
            assert_eq!(
                (&stood_in["agent"], &stood_in["code"]),
                (&json!(agent), &json!("model-not-configured"))
            );
            assert!(output["text"].as_str().expect("text").contains(who), "{output}");
            assert_eq!(output["needs_person"], true, "{output}");
        }
    });
}

#[test]
fn with_a_model_its_answers_come_without_personal_data() {
    let models = ModelServer::start(MODEL_KEY);
    let options = Options {
        variables: vec![(
            "BATON_MODELS",
            json!({"openai": provider("openai-responses", &models)}).to_string(),
        )],
        secrets: vec![("BATON_SECRETS", json!({"MODEL_KEY": MODEL_KEY}).to_string())],
        ..Options::default()
    };
    each_way(options, |ask_all| {
        let word = fresh();
        let says = |text: &str| Act::Says(json!({"text": text, "needs_person": false}).to_string());
        let answers = [
            "Write to help@example.org.",
            "Call +49 30 1234567.",
            "A new home for us.",
        ];
        models.plan(&word, answers.map(says));
        let bodies = ask_all(&word);
        assert!(bodies.iter().all(|body| body.get("stand_ins").is_none()), "{bodies:?}");
        let outputs: Vec<_> = bodies.iter().map(|body| body["output"].clone()).collect();
        let texts: Vec<_> = outputs
            .iter()
            .map(|output| output["text"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, ["Write to [email].", "Call [phone].", "A new home for us."]);
        assert!(
            outputs.iter().all(|output| output["needs_person"] == false),
            "{outputs:?}"
        );
        assert_eq!(outputs[0]["removed"]["email"], 1);
        let asked = models.asked(&word);
        let prompts: Vec<_> = asked
            .iter()
            .map(|asked| asked.body["instructions"].to_string())
            .collect();
        for (prompt, who) in prompts
            .iter()
            .zip(["customers of a shop", "company's figures", "write the text"])
        {
            assert!(prompt.contains(who), "{prompt}");
        }
    });
}
