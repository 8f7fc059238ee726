//! Steps: invoked, looked at, cancelled.

use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::preferences::{Preferences, wants_stream};
use super::reply::Reply;
use super::stream::Stream;
use super::{Acted, Gateway, Record, segment};
use crate::invocation::{Caller, Invocation, Mode, Progress, ended};
use crate::manifest::AgentManifest;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::attempt::Phase;
use crate::run::ledger::RETRY_AFTER_MAX_MS;
use crate::run::status::{AskStep, Cancel, StepStatus};
use crate::run::{RunName, StoredAnswer};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Gateway<'_> {
    pub(super) async fn invoke<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Caller<'_, P>,
        request: &http::Request<Vec<u8>>,
        record: &mut Record,
    ) -> Result<Acted, Problem> {
        let is_background = wants_stream(request.headers()) || Preferences::of(request.headers()).respond_async;
        let mode = if is_background { Mode::Background } else { Mode::Waiting };
        let invocation = Invocation::read(agent, (self.team, self.config), caller, request.body(), mode)?;
        let run = invocation.request.using.name.clone();
        let step = invocation.request.call.step.clone();
        // The run's object executes a workflow also for who waits: until its end, which its deadline brings.
        let wait_ms = (mode == Mode::Waiting).then_some(invocation.request.hold_ms);
        let slot = self.take_slot(caller, &invocation.request).await?;
        let progress = invocation.claim().await;
        // What runs in the background gives its slot back by itself, when it ends.
        let slot = slot.filter(|_| !matches!(progress, Ok(Progress::Accepted(_))));
        let acted = match progress {
            Ok(progress) => {
                record.replayed = matches!(progress, Progress::Answered(_));
                self.go_on(
                    agent,
                    caller,
                    (&run, &step),
                    (progress, request.headers(), wait_ms),
                    record,
                )
                .await
            }
            Err(problem) => Err(problem),
        };
        if let Some(slot) = slot {
            slot.free(caller).await;
        }
        acted
    }

    /// From the claim to the answer, in the way that the caller wants it. `wait_ms` is how long it waits where it wants the
    /// answer alone, in milliseconds.
    async fn go_on<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Caller<'_, P>,
        (run, step): (&RunName, &str),
        (progress, headers, wait_ms): (Progress<'_, P>, &HeaderMap, Option<u64>),
        record: &mut Record,
    ) -> Result<Acted, Problem> {
        if wants_stream(headers) {
            // An execution in this Worker is not told of: a step that was claimed is one that was accepted.
            let (verified, request_id) = (caller.verified()?.clone(), &caller.occasion.request_id);
            let stream = Stream::new(run.clone(), step, headers, verified, request_id);
            return Ok(Acted::Stream(Box::new(stream.replayed(record.replayed))));
        }
        let answer = match progress {
            Progress::Claimed(claimed) => claimed.execute().await?,
            Progress::Answered(answer) => answer,
            Progress::Accepted(status) => {
                let preferences = Preferences::of(headers);
                let whole_ms = wait_ms.unwrap_or(preferences.wait_ms());
                let ended = ended(caller, run, step, key_of(caller)?, whole_ms).await?;
                match (ended, wait_ms) {
                    (Some(answer), _) => answer,
                    (None, None) => return accepted(&status, preferences),
                    (None, Some(_)) => {
                        let retry_after_ms = RETRY_AFTER_MAX_MS;
                        return Err(Problem::InFlight { retry_after_ms });
                    }
                }
            }
        };
        Ok(self.answered(agent, answer, record))
    }

    fn answered(&self, agent: &AgentManifest, answer: StoredAnswer, record: &mut Record) -> Acted {
        record.outcome = super::outcome_of(&answer);
        if answer.status != 200 {
            // The one problem that is an attempt's answer, and so is kept.
            let deadline_ms = agent.deadline_ms;
            record.problem = Some(Problem::DeadlineExceeded { deadline_ms }.code());
        }
        Acted::Reply(Reply::stored(answer, record.replayed))
    }

    pub(super) async fn step_status<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        (run, step): (&str, &str),
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        let run = caller.run(run);
        let mut status = self.step_of(caller, &run, step).await?;
        if wants_stream(request.headers()) && request.method() != Method::HEAD {
            let (verified, request_id) = (caller.verified()?.clone(), &caller.occasion.request_id);
            let stream = Stream::new(run, step, request.headers(), verified, request_id);
            return Ok(Acted::Stream(Box::new(stream)));
        }
        let preferences = Preferences::of(request.headers());
        if status.status != Phase::Ended && preferences.wait_ms() > 0 {
            ended(caller, &run, step, key_of(caller)?, preferences.wait_ms()).await?;
            status = self.step_of(caller, &run, step).await?;
        }
        let mut reply = Reply::of(&status)?;
        if status.status != Phase::Ended {
            reply = reply.with(RETRY_AFTER, "1");
        }
        let waited = Preferences {
            respond_async: false,
            ..preferences
        };
        if preferences.wait_s.is_some() {
            reply = reply.with(PREFERENCE_APPLIED, &waited.applied());
        }
        Ok(Acted::Reply(reply))
    }

    /// A step that the caller's key may know of: one on an agent that it may invoke. A step's agent never changes.
    async fn step_of<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        run: &RunName,
        step: &str,
    ) -> Result<Box<StepStatus>, Problem> {
        let question = AskStep { step: step.to_owned() };
        let status = caller.ask(run, question).await?.ok_or(Problem::StepUnknown)?;
        caller.verified()?.authorise(&status.agent)?;
        Ok(status)
    }

    pub(super) async fn cancel<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        (run, step): (&str, &str),
    ) -> Result<Acted, Problem> {
        let run = caller.run(run);
        self.step_of(caller, &run, step).await?;
        let question = Cancel { step: step.to_owned() };
        let status = caller.ask(&run, question).await?.ok_or(Problem::StepUnknown)?;
        // It may never have been executed: then nobody else gives its slot back.
        self.free_slot_of(caller, &run, &status.idempotency_key).await;
        Ok(Acted::Reply(Reply::of(&status)?))
    }
}

/// The key of the attempt that the caller asks for, where it names one.
fn key_of<'a, P: Platform>(caller: &Caller<'a, P>) -> Result<Option<&'a str>, Problem> {
    Ok(caller.verified()?.idempotency_key())
}

/// 202: where to ask, and when. The status is that of the step when it was accepted.
fn accepted(status: &StepStatus, preferences: Preferences) -> Result<Acted, Problem> {
    let location = format!("/runs/{}/steps/{}", segment(&status.run), segment(&status.step));
    let reply = Reply::of(status)?
        .status(StatusCode::ACCEPTED)
        .with(LOCATION, &location)
        .with(RETRY_AFTER, "1")
        .with(PREFERENCE_APPLIED, &preferences.applied());
    Ok(Acted::Reply(reply))
}
