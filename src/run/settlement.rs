//! Settlement: what the gateway coordinated in the place of an orchestrator is told to it when it is back. At least once,
//! in the order of the run, until it acknowledges; where it went on by itself, that is taken down and nothing overwritten.
//!
//! It begins with the claim of the first step that the gateway itself asks for, in the same transaction: from then on
//! the run is the gateway's, and the orchestrator's further steps are refused.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attempt::{self, Phase};
use super::delivery::shortened;
use super::fence;
use super::outbox;
use super::question::{Moment, RunName};
use super::record;
use super::state;
use super::status::Shown;
use super::storage::{Storage, Table};
use super::telling;
use super::timers::{self, Timer};
use crate::backoff::backoff_ms;
use crate::telemetry::event::What;

/// How long after the last step the run is settled, in milliseconds: what follows at once goes with it.
pub const SETTLE_AFTER_MS: u64 = 500;
/// A try that has not ended by then is given up, in milliseconds.
pub const SETTLE_TIMEOUT_MS: u64 = 15_000;
/// The first wait between two tries, in milliseconds. It doubles with each further one.
pub const SETTLE_BACKOFF_MS: u64 = 1_000;
/// The longest wait between two tries, in milliseconds.
pub const SETTLE_BACKOFF_MAX_MS: u64 = 5 * 60 * 1_000;
/// For so long it is tried, in milliseconds: a week. Then it is the operator's.
pub const SETTLE_GIVE_UP_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

const SETTLEMENTS: Table<Settlement> = Table::new("settlement/");
const ONLY: &str = "only";
/// What is removed with the run.
pub(super) const PREFIX: &str = "settlement/";

/// Why the gateway coordinates a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The gateway's id.
    pub gateway: String,
    /// Why the orchestrator does not, for programs.
    pub reason: String,
    /// Whether the orchestrator refused the gateway's credentials then: the run's answers are marked.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub degraded: bool,
    /// The least generation of a lease under which the orchestrator's calls may still come, where the gateway ever had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u64>,
}

/// Where a settlement stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Why there is one.
    #[serde(flatten)]
    pub takeover: Takeover,
    /// What became of it.
    pub status: SettlementStatus,
    /// Since when the gateway coordinates, in Unix milliseconds.
    pub routed_at_ms: u64,
    /// How often more was to be settled: part of the idempotency key.
    pub edition: u32,
    /// How often this edition was tried.
    pub tries: u32,
    /// Why the last try failed, or what the orchestrator says against it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlementStatus {
    /// It is tried, or will be.
    Pending,
    /// The orchestrator has acknowledged it.
    Settled,
    /// The orchestrator went on by itself and came to something else.
    Conflict,
    /// It was given up.
    Dead,
}

impl SettlementStatus {
    /// As it is told to whoever asks for the run.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Settled => "acknowledged",
            Self::Conflict => "conflict",
            Self::Dead => "given_up",
        }
    }
}

/// A settlement to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The run.
    pub name: RunName,
    /// Which edition this is.
    pub edition: u32,
    /// Which try of it, from 1.
    pub tries: u32,
    /// The message `settlement`.
    pub body: Value,
    /// The span of what the run did last, which its `settlement` is a part of.
    pub traceparent: Option<String>,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A verified 200.
    Acknowledged,
    /// A verified 409: the orchestrator has another outcome.
    Conflict(String),
    /// Another verified 4xx: it will never take it.
    Refused(String),
    /// Anything else.
    Failed(String),
}

pub(super) fn find<S: Storage>(storage: &S) -> Result<Option<Settlement>, S::Error> {
    SETTLEMENTS.get(storage, ONLY)
}

/// The gateway coordinates the run from now on, if there is one. Once noted, that stays.
/// `place` is the span of the step that began it, and its caller's.
pub(super) fn take_over<S: Storage>(
    storage: &S,
    takeover: &Takeover,
    place: (&str, Option<&str>),
    moment: Moment<'_>,
) -> Result<(), S::Error> {
    if let Some(generation) = takeover.generation {
        fence::raise(storage, generation)?;
    }
    if find(storage)?.is_some() {
        return Ok(());
    }
    let settlement = Settlement {
        takeover: takeover.clone(),
        status: SettlementStatus::Pending,
        routed_at_ms: moment.now_ms,
        edition: 1,
        tries: 0,
        last_error: None,
    };
    SETTLEMENTS.put(storage, ONLY, &settlement)?;
    let reason = takeover.reason.clone();
    outbox::tell(storage, place, What::TakenOver { reason }, moment.now_ms)?;
    timers::set(storage, Timer::Settle, moment.now_ms + SETTLE_AFTER_MS)
}

/// A step of the run has ended, or its state was written: what was settled before is settled anew with it.
pub(super) fn changed<S: Storage>(storage: &S, now_ms: u64) -> Result<(), S::Error> {
    let Some(mut settlement) = find(storage)? else {
        return Ok(());
    };
    settlement.edition += 1;
    settlement.tries = 0;
    settlement.status = SettlementStatus::Pending;
    SETTLEMENTS.put(storage, ONLY, &settlement)?;
    timers::set(storage, Timer::Settle, now_ms + SETTLE_AFTER_MS)
}

/// Whether the run must be kept for its settlement.
pub(super) fn is_pending<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    let settlement = find(storage)?;
    Ok(settlement.is_some_and(|settlement| settlement.status == SettlementStatus::Pending))
}

/// Takes the next try. Should whoever makes it die, it is due again after a while.
pub(super) fn begin<S: Storage>(storage: &S, now_ms: u64) -> Result<Option<Notice>, S::Error> {
    let (Some(mut settlement), Some(run)) = (find(storage)?, record::find(storage)?) else {
        return Ok(None);
    };
    if settlement.status != SettlementStatus::Pending {
        return Ok(None);
    }
    let attempts = attempt::all(storage)?;
    let under_way = attempts
        .iter()
        .filter(|attempt| attempt.phase != Phase::Ended && attempt.claimed_until_ms > now_ms)
        .map(|attempt| attempt.claimed_until_ms)
        .max();
    if let Some(until_ms) = under_way {
        // Its end comes, or its claim's does.
        timers::set(storage, Timer::Settle, until_ms)?;
        return Ok(None);
    }
    settlement.tries += 1;
    SETTLEMENTS.put(storage, ONLY, &settlement)?;
    timers::set(storage, Timer::Settle, now_ms + 2 * SETTLE_TIMEOUT_MS)?;
    let traceparent = attempts.last().map(|attempt| attempt.traceparent.clone());
    let mut steps = Vec::new();
    // The calls of a workflow are the gateway's own business: its step has the answer.
    for attempt in attempts.into_iter().filter(|attempt| attempt.parent.is_none()) {
        // One whose owner died has none: it came to nothing, or a later attempt took its place.
        if let Some(answer) = attempt::answer(storage, attempt.ordinal)? {
            steps.push(json!({
                "step": attempt.step,
                "attempt": attempt.attempt,
                "agent": attempt.agent,
                "call_digest": attempt.fingerprint,
                "answer": Shown::from(answer),
            }));
        }
    }
    let versions = state::versions(storage)?;
    let state = versions
        .iter()
        .map(|version| json!({"version": version.version, "digest": version.digest}));
    let body = json!({
        "run": run.name.run,
        "gateway": settlement.takeover.gateway,
        "reason": settlement.takeover.reason,
        "routed_at_ms": settlement.routed_at_ms,
        "steps": steps,
        "state": state.collect::<Vec<_>>(),
    });
    Ok(Some(Notice {
        name: run.name,
        edition: settlement.edition,
        tries: settlement.tries,
        body,
        traceparent,
    }))
}

/// Takes down how a try ended. Answers what the operator is to be told, if anything.
///
/// # Errors
/// When the storage fails.
pub fn told<S: Storage>(
    storage: &S,
    notice: &Notice,
    told: Told,
    moment: Moment<'_>,
) -> Result<Option<String>, S::Error> {
    let Some(mut settlement) = find(storage)? else {
        return Ok(None);
    };
    let same = (settlement.edition, settlement.tries) == (notice.edition, notice.tries);
    if !same || settlement.status != SettlementStatus::Pending {
        // A late end of an earlier try, or more was to be settled meanwhile.
        return Ok(None);
    }
    let run = &notice.name.run;
    let mut alarm = None;
    match told {
        Told::Acknowledged => {
            settlement.status = SettlementStatus::Settled;
            settlement.last_error = None;
        }
        Told::Conflict(reason) => {
            alarm = Some(format!("run {run}: the orchestrator went on by itself: {reason}"));
            settlement.status = SettlementStatus::Conflict;
            settlement.last_error = Some(shortened(&reason));
        }
        Told::Refused(reason) => {
            alarm = Some(format!(
                "run {run}: the orchestrator does not take its settlement: {reason}"
            ));
            settlement.status = SettlementStatus::Dead;
            settlement.last_error = Some(shortened(&reason));
        }
        Told::Failed(reason) => {
            let wait_ms = backoff_ms(
                SETTLE_BACKOFF_MS,
                SETTLE_BACKOFF_MAX_MS,
                settlement.tries,
                moment.random,
            );
            let next_at_ms = moment.now_ms + wait_ms;
            if next_at_ms > settlement.routed_at_ms + SETTLE_GIVE_UP_MS {
                alarm = Some(format!(
                    "run {run} could not be settled with the orchestrator: {reason}"
                ));
                settlement.status = SettlementStatus::Dead;
            }
            settlement.last_error = Some(shortened(&reason));
            timers::set(storage, Timer::Settle, next_at_ms)?;
        }
    }
    if settlement.status != SettlementStatus::Pending {
        timers::clear(storage, Timer::Settle)?;
        let end = (settlement.tries, settlement.routed_at_ms, settlement.status.name());
        telling::settlement_ended(storage, end, moment.now_ms)?;
    }
    SETTLEMENTS.put(storage, ONLY, &settlement)?;
    Ok(alarm)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Claim, ClaimRequest};
    use super::super::testing::{Bench, RETENTION_MS, background, of_step};
    use super::super::work::Work;
    use super::*;

    fn locally(request: ClaimRequest) -> ClaimRequest {
        ClaimRequest {
            takeover: Some(Takeover {
                gateway: "gw".into(),
                reason: "timeout".into(),
                degraded: false,
                generation: None,
            }),
            ..request
        }
    }

    fn notice(bench: &Bench) -> Notice {
        match bench.work() {
            Some(Work::Settle(notice)) => *notice,
            other => panic!("nothing is to be settled, but {other:?}"),
        }
    }

    fn end(bench: &Bench, notice: &Notice, told_as: Told) -> Option<String> {
        bench.transact(|storage| told(storage, notice, told_as, bench.moment("instance")).unwrap())
    }

    fn status(bench: &Bench) -> SettlementStatus {
        find(&bench.storage).unwrap().expect("a settlement").status
    }

    /// A run whose one step the gateway itself asked for, and which has ended.
    fn routed() -> Bench {
        let mut bench = Bench::default();
        bench.ask("c", locally(background("k", 1)));
        bench.commit(&bench.execution(), "one", false);
        bench.now_ms += SETTLE_AFTER_MS;
        bench
    }

    #[test]
    fn a_claim_that_is_refused_takes_no_run_over() {
        let bench = Bench::default();
        bench.ask("orchestrator", background("k", 1));
        let another = ClaimRequest {
            fingerprint: "another".into(),
            ..background("k2", 1)
        };
        assert_eq!(bench.ask("gateway", locally(another)), Claim::StepMismatch);
        assert_eq!(find(&bench.storage), Ok(None));
        let told = bench.ask("gateway", locally(background("k2", 1)));
        assert!(matches!(told, Claim::InFlight { .. }), "{told:?}");
        assert_eq!(status(&bench), SettlementStatus::Pending);
    }

    #[test]
    fn a_run_is_settled_once_its_step_has_ended() {
        let mut bench = Bench::default();
        bench.ask("c", locally(background("k", 1)));
        let execution = bench.execution();
        bench.now_ms += SETTLE_AFTER_MS;
        assert_eq!(bench.work(), None);
        bench.commit(&execution, "one", false);
        assert_eq!(bench.work(), None);
        bench.now_ms += SETTLE_AFTER_MS;
        let notice = notice(&bench);
        assert_eq!(
            (&notice.body["reason"], &notice.body["steps"][0]["step"]),
            (&json!("timeout"), &json!("s"))
        );
        assert_eq!(end(&bench, &notice, Told::Acknowledged), None);
        assert_eq!(status(&bench), SettlementStatus::Settled);
        bench.now_ms += SETTLE_GIVE_UP_MS / 2;
        assert_eq!(bench.work(), None);
    }

    #[test]
    fn it_is_tried_until_it_is_acknowledged() {
        let mut bench = routed();
        for tries in 1..20 {
            let notice = notice(&bench);
            assert_eq!(notice.tries, tries);
            assert_eq!(end(&bench, &notice, Told::Failed("503".into())), None);
            bench.now_ms += SETTLE_BACKOFF_MAX_MS;
        }
        // One that died with whoever made it is due again.
        let lost = notice(&bench);
        bench.now_ms += 2 * SETTLE_TIMEOUT_MS;
        let next = notice(&bench);
        assert_eq!(end(&bench, &lost, Told::Acknowledged), None);
        assert_eq!(status(&bench), SettlementStatus::Pending);
        end(&bench, &next, Told::Acknowledged);
        assert_eq!(status(&bench), SettlementStatus::Settled);
    }

    #[test]
    fn a_conflict_is_taken_down_and_told() {
        let bench = routed();
        let alarm = end(&bench, &notice(&bench), Told::Conflict("other".into()));
        assert!(alarm.expect("an alarm").contains("went on by itself"));
        assert_eq!(status(&bench), SettlementStatus::Conflict);
        let bench = routed();
        let alarm = end(&bench, &notice(&bench), Told::Refused("422".into()));
        assert!(alarm.expect("an alarm").contains("does not take"));
        assert_eq!(status(&bench), SettlementStatus::Dead);
    }

    #[test]
    fn after_a_week_it_is_the_operators() {
        let mut bench = routed();
        bench.now_ms = SETTLE_GIVE_UP_MS;
        let alarm = end(&bench, &notice(&bench), Told::Failed("503".into()));
        assert!(alarm.expect("an alarm").contains("could not be settled"));
        assert_eq!(status(&bench), SettlementStatus::Dead);
        // Until then the run is kept, and then no longer.
        bench.now_ms += 2 * RETENTION_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
    }

    #[test]
    fn what_is_pending_keeps_its_run() {
        let mut bench = routed();
        bench.now_ms = RETENTION_MS + SETTLE_AFTER_MS;
        let notice = notice(&bench);
        assert_eq!(bench.work(), None);
        end(&bench, &notice, Told::Acknowledged);
        bench.now_ms += RETENTION_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
    }

    #[test]
    fn a_further_step_is_settled_as_well() {
        let mut bench = routed();
        let first = notice(&bench);
        bench.ask("c", of_step("s2", locally(background("k2", 1))));
        bench.commit(&bench.execution(), "two", false);
        // The end of the earlier edition does not settle the later one.
        end(&bench, &first, Told::Acknowledged);
        assert_eq!(status(&bench), SettlementStatus::Pending);
        bench.now_ms += SETTLE_AFTER_MS;
        let second = notice(&bench);
        assert!(second.edition > first.edition);
        assert_eq!(second.body["steps"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn the_orchestrators_further_steps_are_refused() {
        let bench = routed();
        // The same step again gets its answer.
        assert!(matches!(bench.ask("o", background("k", 1)), Claim::Answered(_)));
        assert!(matches!(bench.ask("o", background("k-o", 1)), Claim::Answered(_)));
        // Another one would run beside what was answered.
        assert_eq!(bench.ask("o", of_step("s3", background("k3", 1))), Claim::TakenOver);
        assert!(matches!(
            bench.ask("o", of_step("s3", locally(background("k3", 1)))),
            Claim::Accepted(_)
        ));
    }
}
