//! Who coordinates a run: the orchestrator that it belongs to, another one that it was passed on to, or the gateway.
//!
//! A run has one coordinator. Each change is one transaction in the run's object, against the claims of its steps, so that
//! whoever loses the run is refused there, whatever it has heard and however late it comes.

use serde::{Deserialize, Serialize};

use super::attempt;
use super::outbox;
use super::question::{Moment, Question};
use super::record::{self, Use};
use super::settlement::{self, Takeover};
use super::storage::Storage;
use crate::telemetry::event::What;

/// Passes the run on to another orchestrator, as long as nothing of it was begun. From then on its own orchestrator's
/// steps are refused: where the call to it broke off, nobody knows whether it has heard of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassOn {
    /// The run, as its present orchestrator's.
    pub using: Use,
    /// The next orchestrator's id.
    pub to: String,
}

/// What passing on came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// It is this orchestrator's, now or since an earlier call.
    To(String),
    /// It stays: a step of it was begun, or the gateway coordinates it.
    Stays,
}

impl Question for PassOn {
    const NAME: &'static str = "pass-on";
    const USES_NONCE: bool = false;
    type Answer = Passed;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Passed, S::Error> {
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        if let Some(to) = run.passed_to {
            return Ok(Passed::To(to));
        }
        if run.attempts > 0 || settlement::find(storage)?.is_some() {
            return Ok(Passed::Stays);
        }
        run.passed_to = Some(self.to.clone());
        record::save(storage, &run)?;
        Ok(Passed::To(self.to.clone()))
    }
}

pub(super) fn is_passed_on<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    Ok(record::find(storage)?.is_some_and(|run| run.passed_to.is_some()))
}

/// Asks how the run of a call stands that may have been made before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskStanding {
    /// The call's first step.
    pub step: String,
}

/// How the run of a call stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether its first step has completed.
    pub is_completed: bool,
    /// Why the gateway coordinates it, where it does that in its orchestrator's place.
    pub taken_over: Option<Takeover>,
    /// To which orchestrator it was passed on, if to any.
    pub passed_to: Option<String>,
}

impl Question for AskStanding {
    const NAME: &'static str = "standing";
    const USES_NONCE: bool = false;
    type Answer = Standing;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<Standing, S::Error> {
        let answer = match attempt::latest(storage, &self.step)? {
            Some(latest) => attempt::answer(storage, latest.ordinal)?,
            None => None,
        };
        Ok(Standing {
            is_completed: answer.is_some_and(|answer| answer.ending() == "completed"),
            taken_over: settlement::find(storage)?.map(|settlement| settlement.takeover),
            passed_to: record::find(storage)?.and_then(|run| run.passed_to),
        })
    }
}

/// The gateway takes the run over without a claim: its own execution of a step, which it had begun beside the
/// orchestrator, is what the customer is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOver {
    /// Why.
    pub takeover: Takeover,
    /// The span of the step that it had begun.
    pub traceparent: String,
    /// The caller's span, in 16 hexadecimal digits, where it named one.
    pub parent_span: Option<String>,
}

impl Question for TakeOver {
    const NAME: &'static str = "take-over";
    const USES_NONCE: bool = false;
    type Answer = ();

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<(), S::Error> {
        if record::find(storage)?.is_none() {
            // It was forgotten meanwhile: nothing is left to settle.
            return Ok(());
        }
        let place = (self.traceparent.as_str(), self.parent_span.as_deref());
        settlement::take_over(storage, &self.takeover, place, moment)
    }
}

/// Takes down that the run's orchestrator coordinated a direct call to its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellRouted {
    /// The run, which its orchestrator may have answered for without a step.
    pub using: Use,
    /// The agent that the call was for.
    pub agent: String,
    /// Those that were to coordinate it before, in their order.
    pub tried: Vec<String>,
    /// When it came, in Unix milliseconds.
    pub accepted_at_ms: u64,
    /// What it came to: a step's outcome.
    pub outcome: String,
    /// The call's span.
    pub traceparent: String,
    /// The customer's span, in 16 hexadecimal digits, where it named one.
    pub parent_span: Option<String>,
}

impl Question for TellRouted {
    const NAME: &'static str = "tell-routed";
    const USES_NONCE: bool = false;
    type Answer = ();

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<(), S::Error> {
        let run = record::touch(storage, &self.using, moment.now_ms)?;
        record::save(storage, &run)?;
        let what = What::Routed {
            agent: self.agent.clone(),
            tried: self.tried.clone(),
            accepted_at_ms: self.accepted_at_ms,
            outcome: self.outcome.clone(),
        };
        let place = (self.traceparent.as_str(), self.parent_span.as_deref());
        outbox::tell(storage, place, what, moment.now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Claim;
    use super::super::testing::{Bench, granted, request, using};
    use super::super::work::Work;
    use super::*;

    fn pass_on(bench: &Bench, to: &str) -> Passed {
        let to = to.to_owned();
        bench.ask("g", PassOn { using: using(), to })
    }

    fn standing(bench: &Bench) -> Standing {
        let step = request("k", 1).call.step;
        bench.ask("g", AskStanding { step })
    }

    fn take_over(bench: &Bench) {
        let takeover = Takeover {
            gateway: "g".into(),
            reason: "hedged".into(),
            degraded: false,
            generation: None,
        };
        let question = TakeOver {
            takeover,
            traceparent: request("k", 1).call.traceparent,
            parent_span: None,
        };
        bench.ask("g", question);
    }

    #[test]
    fn a_run_that_was_passed_on_takes_no_step() {
        let bench = Bench::default();
        assert_eq!(standing(&bench).passed_to, None);
        assert_eq!(pass_on(&bench, "b"), Passed::To("b".into()));
        assert_eq!(bench.ask("o", request("k", 1)), Claim::TakenOver);
        // The first one that it was passed on to keeps it.
        assert_eq!(pass_on(&bench, "c"), Passed::To("b".into()));
        assert_eq!(standing(&bench).passed_to, Some("b".into()));
    }

    #[test]
    fn a_run_that_was_begun_stays() {
        let bench = Bench::default();
        granted(&bench.ask("o", request("k", 1)));
        assert_eq!(pass_on(&bench, "b"), Passed::Stays);
        assert_eq!(standing(&bench).passed_to, None);
    }

    #[test]
    fn a_run_that_the_gateway_took_over_is_settled_and_stays() {
        let mut bench = Bench::default();
        take_over(&bench);
        assert!(!bench.has_rows(settlement::PREFIX), "there is no such run");
        let generation = granted(&bench.ask("g", request("k", 1)));
        assert_eq!(generation, 1);
        take_over(&bench);
        take_over(&bench);
        assert_eq!(pass_on(&bench, "b"), Passed::Stays);
        let another = super::super::testing::of_step("another", request("k2", 1));
        assert_eq!(bench.ask("o", another), Claim::TakenOver);
        bench.now_ms += super::super::testing::HOLD_MS + settlement::SETTLE_AFTER_MS;
        match bench.work() {
            Some(Work::Settle(notice)) => assert_eq!(notice.body["reason"], "hedged"),
            other => panic!("nothing is settled, but {other:?}"),
        }
    }

    #[test]
    fn that_a_call_was_coordinated_is_told_also_where_no_step_was_invoked() {
        let bench = Bench::default();
        let question = TellRouted {
            using: using(),
            agent: "echo".into(),
            tried: vec!["first".into()],
            accepted_at_ms: 1,
            outcome: "completed".into(),
            traceparent: request("k", 1).call.traceparent,
            parent_span: None,
        };
        bench.ask("g", question);
        let batches = bench.export(&[crate::run::outbox::RECEIVER]);
        let told = &batches[0].events[0].1;
        assert_eq!(told.run, using().name.run);
        let expected = What::Routed {
            agent: "echo".into(),
            tried: vec!["first".into()],
            accepted_at_ms: 1,
            outcome: "completed".into(),
        };
        assert_eq!(told.what, expected);
    }
}
