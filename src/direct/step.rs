//! One step that the gateway itself asks for: executed, or waited for where somebody else executes it already.

use serde_json::Value;

use crate::config::Config;
use crate::conversation::ConversationName;
use crate::invocation::{Caller, Invocation, Mode, Progress, StepBody, ended};
use crate::manifest::{AgentManifest, Team};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::StoredAnswer;
use crate::run::settlement::Takeover;

/// The time that is kept for what comes after the last agent, in milliseconds.
const MARGIN_MS: u64 = 50;

/// Executes the steps of one run.
pub struct Steps<'a, P> {
    /// The agents.
    pub team: &'a Team,
    /// The configuration.
    pub config: &'a Config,
    /// Who asks.
    pub caller: &'a Caller<'a, P>,
    /// The run's id.
    pub run: &'a str,
    /// What the customer wrote, where the first step's input was made of a text: whoever stands in may take it in another form.
    pub text: Option<&'a str>,
    /// Why the gateway coordinates the run, where that is an orchestrator's to do.
    pub takeover: Option<Takeover>,
    /// The customer's conversation that the steps belong to, if they belong to one.
    pub conversation: Option<&'a ConversationName>,
    /// Who executes: this Worker, or the run's object, which keeps what the agent tells.
    pub mode: Mode,
    /// When a step must have ended, in Unix milliseconds.
    pub deadline_at_ms: u64,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// With this outcome.
    Outcome(Value),
    /// Not in time.
    DeadlineExceeded,
}

impl<P: Platform> Steps<'_, P> {
    /// Has a step executed to its end.
    ///
    /// # Errors
    /// When the run is another call's, or its ledger does not answer.
    pub async fn execute(&self, agent: &AgentManifest, step: &str, input: &Value) -> Result<Ended, Problem> {
        let mut attempt = 1;
        loop {
            let left_ms = self.left_ms();
            if left_ms == 0 {
                return Ok(Ended::DeadlineExceeded);
            }
            let invocation = self.invocation(agent, step, attempt, input)?;
            let run = invocation.request.using.name.clone();
            let answer = match invocation.claim().await {
                Ok(Progress::Claimed(claimed)) => Some(claimed.execute().await?),
                Ok(Progress::Answered(answer)) => Some(answer),
                Ok(Progress::Accepted(_)) | Err(Problem::InFlight { .. }) => {
                    ended(self.caller, &run, step, None, left_ms).await?
                }
                // It was attempted before, and may be attempted again.
                Err(Problem::AttemptOutdated { latest }) if latest >= attempt => {
                    attempt = latest + 1;
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            return Ok(answer.map_or(Ended::DeadlineExceeded, |answer| read(&answer)));
        }
    }

    /// The invocation of an attempt, with all the time that is left.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub fn invocation(
        &self,
        agent: &AgentManifest,
        step: &str,
        attempt: u32,
        input: &Value,
    ) -> Result<Invocation<'_, P>, Problem> {
        let body =
            StepBody::direct(step, attempt, (input.clone(), self.text), self.left_ms()).within(self.conversation);
        let how = (self.takeover.clone(), self.mode);
        Invocation::direct(agent, (self.team, self.config), self.caller, (self.run, body), how)
    }

    /// How long a step may take that begins now, in milliseconds.
    pub fn left_ms(&self) -> u64 {
        let now_ms = self.caller.platform.now_ms();
        self.deadline_at_ms.saturating_sub(now_ms + MARGIN_MS)
    }
}

/// A stored answer: an outcome, or the one problem that is kept, a deadline that passed.
pub fn read(answer: &StoredAnswer) -> Ended {
    answer.outcome().map_or(Ended::DeadlineExceeded, Ended::Outcome)
}
