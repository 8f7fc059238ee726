//! Which agent answers a customer who named none: the router, and the classifier where the router is unsure.

use serde_json::Value;

use super::Gateway;
use crate::access::Customer;
use crate::direct::step::Ended;
use crate::direct::{NOBODY, Steps};
use crate::invocation::{Caller, Identity, Mode, Occasion};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::routing::Choice;
use crate::routing::classifier::{self, Routed, Unclear, consider};

/// A text for which an agent is to be found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The call's run.
    pub(super) run: &'a str,
    /// What is asked.
    pub(super) text: &'a str,
    /// How long the call's answer may take, as the customer wants it, in milliseconds.
    pub(super) wanted_ms: Option<u64>,
    /// When the call came, in Unix milliseconds.
    pub(super) begun_at_ms: u64,
}

impl Gateway<'_> {
    /// Chooses among the agents that the customer may call.
    pub(super) async fn choose<P: Platform>(
        &self,
        asked: Asked<'_>,
        customer: &Customer,
        (occasion, platform): (&Occasion, &P),
    ) -> Result<Choice, Problem> {
        let choice = match consider(self.team, asked.text, |agent| customer.authorise(&agent.id).is_ok()) {
            Routed::Chosen(choice) => Some(choice),
            Routed::Nobody => None,
            Routed::Unclear(unclear) => {
                let said = self.ask_classifier(asked, &unclear, (occasion, platform)).await?;
                unclear.decide(said)
            }
        };
        choice.ok_or(Problem::NoAgentFits)
    }

    /// What the classifier says, or why it says nothing. It is a step of the gateway's own run of this id, whoever
    /// coordinates the call then: so a repeated call gets the same verdict.
    async fn ask_classifier<P: Platform>(
        &self,
        asked: Asked<'_>,
        unclear: &Unclear<'_>,
        (occasion, platform): (&Occasion, &P),
    ) -> Result<Result<Value, String>, Problem> {
        let caller = Caller {
            identity: Identity::Direct { orchestrator: NOBODY },
            occasion,
            retention_ms: self.config.run_retention_ms,
            sampler: self.config.telemetry.sampler,
            platform,
        };
        let time_ms = unclear.time_ms(asked.wanted_ms);
        let steps = Steps {
            team: self.team,
            config: self.config,
            caller: &caller,
            run: asked.run,
            text: None,
            takeover: None,
            // What a customer said is chosen by itself.
            conversation: None,
            mode: Mode::Waiting,
            deadline_at_ms: asked.begun_at_ms + time_ms,
        };
        let input = unclear.input(asked.text);
        Ok(
            match steps.execute(unclear.classifier, classifier::STEP, &input).await {
                Ok(Ended::Outcome(mut outcome)) if outcome["status"] == "completed" => Ok(outcome["output"].take()),
                Ok(Ended::Outcome(outcome)) => {
                    let code = outcome["error"]["code"].as_str().or(outcome["status"].as_str());
                    Err(format!("it gave no verdict ({})", code.unwrap_or("no reason")))
                }
                Ok(Ended::DeadlineExceeded) => Err(format!("it did not answer within {time_ms} ms")),
                // The customer's own mistake: the same key with another text.
                Err(problem @ (Problem::IdempotencyMismatch | Problem::StepMismatch)) => return Err(problem),
                Err(problem) => Err(format!("it could not be asked ({})", problem.code())),
            },
        )
    }
}
