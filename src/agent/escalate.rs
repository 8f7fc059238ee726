//! `escalate`: says how urgent a customer's message is, by what it is about and by the customer's plan. It shows how an agent
//! in Rust asks another agent, and somebody else's API; it is executed by the tests alone.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Agent, Context, Failure, Stop};

#[derive(Deserialize)]
pub(super) struct Input {
    customer: u64,
    text: String,
}

#[derive(Serialize)]
pub(super) struct Output {
    category: String,
    plan: String,
    urgent: bool,
}

/// What is wanted of the output of `triage`.
#[derive(Deserialize)]
struct Triaged {
    category: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {}

pub(super) struct Escalate;

impl Agent for Escalate {
    const NAME: &'static str = "escalate";
    type Config = Config;
    type Input = Input;
    type Output = Output;

    fn new(_: Config) -> Result<Self, String> {
        Ok(Self)
    }

    async fn run(&self, input: Input, context: &Context<'_>) -> Result<Output, Stop> {
        let Triaged { category } = context.call("triage", &json!({ "text": input.text })).await?;
        let plan = plan(input.customer, context).await?;
        Ok(Output {
            urgent: plan == "gold" && category == "support",
            category,
            plan,
        })
    }
}

/// Asks the CRM for a customer's plan.
async fn plan(customer: u64, context: &Context<'_>) -> Result<String, Failure> {
    let token = context.secret("CRM_TOKEN")?.text();
    let request = http::Request::get(format!("/customers/{customer}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Vec::new())
        .map_err(|_| Failure::terminal("crm-token-unusable", "the CRM's token cannot be sent in a header field"))?;
    let response = context.fetch("crm", request).await?;
    match response.status().as_u16() {
        200 => {
            let customer: Value = serde_json::from_slice(response.body())
                .map_err(|_| Failure::terminal("crm-answer-malformed", "the CRM's answer is not JSON"))?;
            Ok(customer["plan"].as_str().unwrap_or("none").to_owned())
        }
        404 => Ok("none".to_owned()),
        // Whoever coordinates the step tries it again later.
        status => Err(Failure::retryable(
            "crm-unavailable",
            format!("the CRM answered {status}"),
            1_000,
        )),
    }
}
