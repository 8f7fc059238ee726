//! Who coordinates a call: the first orchestrator that takes it, or the gateway.

use std::cell::Cell;

use serde_json::Value;

use super::hand_on::{Handed, Handing, Reason, hand_on};
use super::hedge::Hedge;
use super::{Answer, Local, NOBODY, Route, STEP, Steps, Tried, budget_ms};
use crate::config::{Config, Orchestrator};
use crate::conversation::ConversationName;
use crate::invocation::{Caller, Identity, Mode, Occasion};
use crate::manifest::{AgentManifest, Team};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::RunName;
use crate::run::conversing::Join;
use crate::run::coordination::{AskStanding, PassOn, Passed, Standing, TellRouted};
use crate::run::listening::Listen;
use crate::run::settlement::Takeover;

/// A call to coordinate. Its input fits its agent.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The agent that it is for.
    pub agent: &'a AgentManifest,
    /// Its input.
    pub input: &'a Value,
    /// What the customer wrote, where it wrote text.
    pub text: Option<&'a str>,
    /// How long its answer may take, in milliseconds from when it came.
    pub deadline_ms: u64,
    /// When the answer must be there, in Unix milliseconds.
    pub deadline_at_ms: u64,
    /// Whether the customer may send it again: it has an idempotency key.
    pub repeatable: bool,
    /// The customer's conversation that it belongs to, if it belongs to one.
    pub conversation: Option<&'a ConversationName>,
}

/// Hears how a call is coordinated while it is, for a customer who wants to see it happen.
pub trait Listener {
    /// From now on the call goes this way. The run is where its first step can be followed; there is nothing to follow for
    /// a stored answer.
    fn routed(&self, route: &Route, run: &RunName);
    /// The gateway goes on with this step of the run: it is the one to follow.
    fn goes_on(&self, step: &str);
}

/// Coordinates a call.
pub struct Coordinator<'a, P> {
    /// The agents.
    pub team: &'a Team,
    /// The configuration.
    pub config: &'a Config,
    /// The customer's request.
    pub occasion: &'a Occasion,
    /// The platform.
    pub platform: &'a P,
    /// What is called.
    pub call: Call<'a>,
    /// Who listens, if anybody does. Then the run's object executes steps, which keeps what their agents tell and goes on
    /// when the customer leaves.
    pub listener: Option<&'a dyn Listener>,
}

impl<'a, P: Platform> Coordinator<'a, P> {
    /// Has an orchestrator answer within the budget, or else answers by itself.
    ///
    /// # Errors
    /// When an orchestrator declines the call, when it does not answer and the gateway may not answer in its place, and what
    /// [`Local::answer`] says.
    pub async fn answer(&self) -> Result<(Answer, Route), Problem> {
        let budget_ends_at_ms =
            self.platform.now_ms() + budget_ms(self.call.agent.direct.budget_ms, self.call.deadline_ms);
        let orchestrators = self.orchestrators()?;
        let mut tried = Vec::new();
        let (mut place, mut standing) = self.place(&orchestrators).await?;
        loop {
            let orchestrator = orchestrators.get(place).copied();
            let caller = self.caller(orchestrator);
            if standing.is_completed {
                let degraded = standing.taken_over.is_some_and(|takeover| takeover.degraded);
                return self.locally(&caller, None, Route::Stored { degraded }).await;
            }
            let Some(orchestrator) = orchestrator else {
                return self.locally(&caller, None, Route::Local).await;
            };
            let id = &orchestrator.id;
            if let Some(takeover) = standing.taken_over {
                // The gateway coordinates it already, and goes on where that stopped.
                let degraded = takeover.degraded;
                return self.locally(&caller, Some(takeover), Route::Stored { degraded }).await;
            }
            let orchestrated = Route::Orchestrated {
                orchestrator: id.clone(),
                tried: tried.clone(),
            };
            // On the heap: a call behind breaker, hedge and signature is a large future.
            let handed_on = Box::pin(self.handed_on(orchestrator, &caller, budget_ends_at_ms, &orchestrated, place));
            let (reason, detail) = match handed_on.await? {
                Handed::Answered(outcome) => return Ok((Answer::Outcome(outcome), orchestrated)),
                Handed::Declined(problem) => return Err(problem),
                Handed::Hedged(outcome) => {
                    let route = Route::Fallback {
                        orchestrator: id.clone(),
                        reason: Reason::Hedged,
                        detail: "the gateway began the step beside it, and ended first".to_owned(),
                        degraded: self.takeover(orchestrator, Reason::Hedged).await.degraded,
                        tried,
                    };
                    self.tell(&route, &caller);
                    return Ok((Answer::Outcome(outcome), route));
                }
                Handed::Without(reason, detail) => (reason, detail),
            };
            if reason.passes_on()
                && self.platform.now_ms() < budget_ends_at_ms
                && let Some(next) = orchestrators.get(place + 1)
                && self.pass_on(&caller, next).await?
            {
                tried.push(Tried {
                    orchestrator: id.clone(),
                    reason: reason.code(),
                });
                place += 1;
                standing = self.standing(&self.caller(Some(next))).await?;
                continue;
            }
            let is_allowed = reason != Reason::Refused || orchestrator.fallback_when_refused;
            if !is_allowed || !self.call.agent.direct.fallback {
                return Err(Problem::OrchestratorUnavailable { reason: reason.code() });
            }
            let takeover = self.takeover(orchestrator, reason).await;
            let route = Route::Fallback {
                orchestrator: id.clone(),
                reason,
                detail,
                degraded: takeover.degraded,
                tried,
            };
            return self.locally(&caller, Some(takeover), route).await;
        }
    }

    /// Those that may invoke the agent, in the order configured.
    fn orchestrators(&self) -> Result<Vec<&'a Orchestrator>, Problem> {
        let (agent, now_s) = (self.call.agent, self.platform.now_ms() / 1_000);
        let may = |one: &&Orchestrator| self.config.keyring.may_invoke(&one.id, &agent.id, now_s);
        let orchestrators: Vec<_> = self.config.orchestrators.iter().filter(may).collect();
        if orchestrators.is_empty() && !self.config.orchestrators.is_empty() && !agent.direct.fallback {
            // It is not to be answered without one.
            return Err(Problem::OrchestratorUnavailable { reason: "not-allowed" });
        }
        Ok(orchestrators)
    }

    /// Which orchestrator a repeated call belongs to, which may have been passed on before, and how its run stands there.
    async fn place(&self, orchestrators: &[&'a Orchestrator]) -> Result<(usize, Standing), Problem> {
        let mut place = 0;
        loop {
            let standing = self.standing(&self.caller(orchestrators.get(place).copied())).await?;
            let passed_to = standing.passed_to.as_ref();
            let next = passed_to.and_then(|id| orchestrators.iter().position(|one| one.id == *id));
            // Only ever to a later one.
            match next.filter(|next| *next > place) {
                Some(next) => place = next,
                None => return Ok((place, standing)),
            }
        }
    }

    /// How the call's run stands. One that cannot have been made before stands nowhere, and nobody has to be asked.
    async fn standing(&self, caller: &Caller<'_, P>) -> Result<Standing, Problem> {
        if !self.call.repeatable {
            return Ok(Standing::default());
        }
        let question = AskStanding { step: STEP.to_owned() };
        caller.ask(&caller.run(self.call.run), question).await
    }

    /// Whether the run is the next orchestrator's from now on.
    async fn pass_on(&self, caller: &Caller<'_, P>, next: &Orchestrator) -> Result<bool, Problem> {
        let using = caller.using(self.call.run);
        let to = next.id.clone();
        let passed = caller.ask(&caller.run(self.call.run), PassOn { using, to }).await?;
        Ok(passed == Passed::To(next.id.clone()))
    }

    async fn handed_on(
        &self,
        orchestrator: &Orchestrator,
        caller: &Caller<'_, P>,
        budget_ends_at_ms: u64,
        route: &Route,
        place: usize,
    ) -> Result<Handed, Problem> {
        let Call {
            run,
            agent,
            input,
            deadline_ms,
            ..
        } = self.call;
        if self.listener.is_some() {
            let using = caller.using(run);
            caller.ask(&caller.run(run), Listen { using }).await?;
        }
        if let Some(conversation) = self.call.conversation {
            let join = Join {
                using: caller.using(run),
                conversation: conversation.clone(),
            };
            caller.ask(&caller.run(run), join).await?;
        }
        self.tell(route, caller);
        let traceparent = caller.traceparent();
        let after_ms = agent.direct.hedge_after_ms.filter(|_| agent.direct.fallback);
        let takeover = match after_ms {
            Some(_) => Some(self.takeover(orchestrator, Reason::Hedged).await),
            None => None,
        };
        let cap_ms = agent.deadline_ms.min(self.team.gateway.limits.deadline_max_ms);
        let handing = Handing {
            orchestrator,
            gateway: &self.team.gateway.id,
            run,
            agent: &agent.id,
            input,
            budget_ms: budget_ends_at_ms.saturating_sub(self.platform.now_ms()),
            usual_ms: budget_ms(agent.direct.budget_ms, cap_ms),
            deadline_ms,
            traceparent: &traceparent,
        };
        // One per orchestrator and request, and no other signature of this request uses it.
        let nonce = format!("run{place}-{}", self.occasion.request_id);
        let hedge = Hedge {
            steps: self.steps(caller, None, Mode::Background),
            agent,
            input,
            after_ms,
            takeover,
            begun: Cell::new(false),
        };
        let handed = hand_on(handing, self.config, nonce, self.platform, hedge.completed()).await;
        match &handed {
            Handed::Declined(_) => hedge.withdraw().await,
            // The step that was begun beside it has the call's span, and tells it.
            Handed::Answered(outcome) if !hedge.begun.get() => self.tell_routed(caller, route, outcome).await,
            Handed::Answered(_) | Handed::Hedged(_) | Handed::Without(..) => {}
        }
        Ok(handed)
    }

    /// Has the run tell that the orchestrator coordinated the call. The customer's answer does not depend on it.
    async fn tell_routed(&self, caller: &Caller<'_, P>, route: &Route, outcome: &Value) {
        let Call { run, agent, .. } = self.call;
        let question = TellRouted {
            using: caller.using(run),
            agent: agent.id.clone(),
            tried: route.tried().iter().map(|tried| tried.orchestrator.clone()).collect(),
            accepted_at_ms: self.call.deadline_at_ms.saturating_sub(self.call.deadline_ms),
            outcome: outcome["status"].as_str().unwrap_or_default().to_owned(),
            traceparent: caller.traceparent(),
            parent_span: caller.parent_span(),
        };
        let told = Box::pin(caller.ask(&caller.run(run), question)).await;
        if told.is_err() {
            let message =
                format!("run {run}: that the orchestrator coordinated it could not be taken down, and is not told");
            self.platform.alarm("export", &message);
        }
    }

    async fn locally(
        &self,
        caller: &Caller<'_, P>,
        takeover: Option<Takeover>,
        route: Route,
    ) -> Result<(Answer, Route), Problem> {
        self.tell(&route, caller);
        let mode = match self.listener {
            Some(_) => Mode::Background,
            None => Mode::Waiting,
        };
        let local = Local {
            steps: self.steps(caller, takeover, mode),
            listener: self.listener,
        };
        let answer = Box::pin(local.answer(self.call.agent, self.call.input.clone()));
        Ok((answer.await?, route))
    }

    /// The gateway itself, as the orchestrator whose run it is.
    fn caller(&self, orchestrator: Option<&'a Orchestrator>) -> Caller<'a, P> {
        Caller {
            identity: Identity::Direct {
                orchestrator: orchestrator.map_or(NOBODY, |orchestrator| &orchestrator.id),
            },
            occasion: self.occasion,
            retention_ms: self.config.run_retention_ms,
            sampler: self.config.telemetry.sampler,
            platform: self.platform,
        }
    }

    fn steps<'c>(&self, caller: &'c Caller<'c, P>, takeover: Option<Takeover>, mode: Mode) -> Steps<'c, P>
    where
        'a: 'c,
    {
        Steps {
            team: self.team,
            config: self.config,
            caller,
            run: self.call.run,
            text: self.call.text,
            takeover,
            conversation: self.call.conversation,
            mode,
            deadline_at_ms: self.call.deadline_at_ms,
        }
    }

    async fn takeover(&self, orchestrator: &Orchestrator, reason: Reason) -> Takeover {
        let lease = self.platform.known_lease(&orchestrator.id, None).await;
        Takeover {
            gateway: self.team.gateway.id.clone(),
            reason: reason.code().to_owned(),
            degraded: reason == Reason::Refused || lease.as_ref().is_some_and(|lease| lease.refused),
            generation: lease.map(|lease| lease.least()),
        }
    }

    fn tell(&self, route: &Route, caller: &Caller<'_, P>) {
        if let Some(listener) = self.listener {
            listener.routed(route, &caller.run(self.call.run));
        }
    }
}
