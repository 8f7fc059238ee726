//! An agent of another Baton gateway: a step there does ours.
//!
//! The step is asked for in the background, and waited for: where we are lost it goes on, and whoever executes our step once
//! more finds it. Which attempt of it is asked for follows from what the other gateway says: an attempt that had failed before
//! it was asked for is one that an earlier execution of ours was answered, so the next one is asked for.

use serde_json::Value;

use super::super::call::{AGAIN_MS, Call, Missed, host_of, not_allowed};
use super::super::outside::Destination;
use super::super::underway::Underway;
use super::super::{Context, Failure, Incoming, Retry, misconfigured};
use super::answer::Said;
use super::remote_step::RemoteStep;
use crate::breaker::OPEN_MS;
use crate::connections::OtherGateway;
use crate::gateway::WAIT_MAX_S;
use crate::invocation::{CANCEL_GRACE_MS, before};
use crate::manifest::RemoteAgent;
use crate::run::outcome::OUTCOME_MAX_BYTES;
use crate::signature::{Stamp, sign_request};
use crate::telemetry::operation::{Doing, Upshot};

/// So often a step is asked for again where the other gateway gave no answer that can be believed.
pub const SILENCES_MAX: u32 = 2;
/// How much longer than it was asked to wait the other gateway may take to answer, in milliseconds.
const GRACE_MS: u64 = 10_000;
/// The other gateway has so much less time than our step has left, in milliseconds: its answer comes back in time.
const WAY_BACK_MS: u64 = 100;
/// How long a cancellation may take, in milliseconds: it is part of an agent's own grace.
const CANCEL_MS: u64 = CANCEL_GRACE_MS * 8 / 10;
/// An answer may have so many bytes: an outcome, and what a status has around it.
const ANSWER_MAX_BYTES: usize = OUTCOME_MAX_BYTES + 64 * 1024;

/// A call of one agent of another gateway.
struct Remote<'a> {
    gateway: &'a OtherGateway,
    step: RemoteStep<'a>,
    context: &'a Context<'a>,
}

pub(super) async fn run(
    agent: &str,
    remote: &RemoteAgent,
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, Failure> {
    let name = &remote.gateway;
    let gateway = context.host.outside().connections().gateway(name);
    let gateway = gateway.ok_or_else(|| not_allowed(&format!("the gateway `{name}` is not in BATON_GATEWAYS")))?;
    let underway = Underway::begin(
        context,
        Doing::Remote {
            agent: remote.agent.clone(),
            host: host_of(&gateway.origin),
        },
    );
    let own = Context {
        traceparent: underway.span(),
        ..*context
    };
    let ended = ended(agent, (remote, gateway), input, &own).await;
    let upshot = ended.as_ref().err().map(|failure| Upshot::failed(&failure.code));
    underway.end(upshot.unwrap_or_default());
    ended
}

async fn ended(
    agent: &str,
    (remote, gateway): (&RemoteAgent, &OtherGateway),
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, Failure> {
    let remote = Remote {
        gateway,
        step: RemoteStep::of(agent, (remote, &gateway.origin), input, context)?,
        context,
    };
    match before(Box::pin(remote.ended()), context.cancellation.cancelled()).await {
        Some(ended) => ended,
        None => {
            remote.cancel().await;
            Err(Failure::terminal(
                "cancelled",
                "the step was cancelled, and on the other gateway as well",
            ))
        }
    }
}

/// What an answer leads to.
enum Next {
    /// Our step has ended.
    Ended(Result<Value, Failure>),
    /// The attempt is over since before: a further one is asked for.
    FurtherAttempt,
    /// The same is asked for again, perhaps after this time in milliseconds.
    Again(Option<u64>),
    /// The same, as often as there may be no answer: why there was none.
    Silence(String, Option<u64>),
}

impl Remote<'_> {
    /// Asks for the step until it has ended, or our time has.
    async fn ended(&self) -> Result<Value, Failure> {
        let (mut attempt, mut silences) = (self.context.attempt, 0);
        let mut is_first = true;
        loop {
            let deadline_ms = self.left_ms().saturating_sub(WAY_BACK_MS);
            if deadline_ms == 0 {
                return Err(self.out_of_time());
            }
            let said = self.say(self.step.invocation(attempt, deadline_ms)).await?;
            let next = self.next(said, is_first);
            is_first = matches!(next, Next::FurtherAttempt);
            match next {
                Next::Ended(ended) => return ended,
                Next::FurtherAttempt => attempt += 1,
                Next::Again(asked_ms) => {
                    if !self.call().wait(1, asked_ms).await {
                        return Err(self.out_of_time());
                    }
                }
                Next::Silence(why, asked_ms) => {
                    silences += 1;
                    if silences > SILENCES_MAX || !self.call().wait(silences, asked_ms).await {
                        let message = format!("the gateway `{}` {why}", self.gateway.name);
                        let after_ms = asked_ms.unwrap_or(AGAIN_MS);
                        return Err(Failure::retryable("gateway-unavailable", message, after_ms));
                    }
                }
            }
        }
    }

    /// What an answer leads to. `is_first` says that nobody here has asked for this attempt before.
    fn next(&self, said: Result<Said, Missed>, is_first: bool) -> Next {
        let name = &self.gateway.name;
        let fails = |code, message: String| Next::Ended(Err(Failure::terminal(code, message)));
        match said {
            Ok(Said::Output(output)) => Next::Ended(Ok(output)),
            Ok(Said::Failed { failure, known }) if known && is_first && failure.retry != Retry::Never => {
                Next::FurtherAttempt
            }
            Ok(Said::Failed { failure, .. }) => Next::Ended(Err(failure)),
            Ok(Said::Overtaken) => Next::FurtherAttempt,
            Ok(Said::NotYet(asked_ms)) => Next::Again(asked_ms),
            Ok(Said::Refused { status, code }) => fails(
                "gateway-refused",
                format!("the gateway `{name}` refused the step: {status}, {code}"),
            ),
            Ok(Said::Unusable(why)) => fails(
                "gateway-answer-unusable",
                format!("the gateway `{name}` gave no answer that can be used: {why}"),
            ),
            Ok(Said::Troubled { status, asked_ms }) => Next::Silence(format!("answered {status}"), asked_ms),
            Ok(Said::Unverified { status, rejection }) => Next::Silence(
                format!("answered {status}, and nobody knows whether it did: {rejection}"),
                None,
            ),
            Err(Missed::TimedOut) => Next::Silence("did not answer in time".to_owned(), None),
            Err(Missed::Failed) => Next::Silence("could not be reached".to_owned(), None),
            Err(Missed::BreakerOpen) => Next::Ended(Err(Failure::retryable(
                "gateway-breaker-open",
                format!("the gateway `{name}` failed several times: it is left alone for a while"),
                OPEN_MS,
            ))),
            Err(Missed::NotAllowed(reason)) => Next::Ended(Err(not_allowed(&reason))),
        }
    }

    fn out_of_time(&self) -> Failure {
        let name = &self.gateway.name;
        let message = format!("the step on the gateway `{name}` did not end within the time that was left for it");
        Failure::retryable("gateway-timed-out", message, 0)
    }

    /// Tells the other gateway that nobody waits for the step any more. Whatever comes of it, nobody is there to hear.
    async fn cancel(&self) {
        let cancelling = async { drop(self.say(self.step.cancellation()).await) };
        before(cancelling, self.context.host.sleep_ms(CANCEL_MS)).await;
    }

    /// Signs a request and sends it, and reads its answer.
    ///
    /// # Errors
    /// When it cannot be signed.
    async fn say(&self, request: http::Result<http::Request<Vec<u8>>>) -> Result<Result<Said, Missed>, Failure> {
        let (host, name) = (self.context.host, &self.gateway.name);
        let created_s = host.now_ms() / 1_000;
        let key = self.gateway.key(created_s).ok_or_else(|| {
            not_allowed(&format!(
                "no key of the purpose `call` that is valid now bears the name `{name}`"
            ))
        })?;
        let mut request = request.map_err(misconfigured)?;
        let stamp = Stamp {
            created_s,
            nonce: host.outside().nonce(),
        };
        let sent = sign_request(&mut request, key, stamp).map_err(misconfigured)?;
        let call = self.call();
        let read = async |mut incoming: Incoming| {
            let Some(body) = call.body(&mut incoming, ANSWER_MAX_BYTES).await? else {
                return Ok(Said::Unverified {
                    status: incoming.status,
                    rejection: "answer-too-large",
                });
            };
            let mut response = http::Response::new(body);
            *response.status_mut() = http::StatusCode::from_u16(incoming.status).unwrap_or_default();
            *response.headers_mut() = incoming.headers;
            let now_ms = host.now_ms();
            let verified = sent.verify(&response, now_ms / 1_000);
            Ok(Said::read(&response, verified, now_ms))
        };
        Ok(call.once(&request, read, Said::is_fault).await)
    }

    fn call(&self) -> Call<'_> {
        let left_ms = self.left_ms();
        Call {
            context: self.context,
            to: Destination::Origin(&self.gateway.origin),
            breaker: format!("gateway {}", self.gateway.name),
            silence_max_ms: left_ms.min(WAIT_MAX_S * 1_000 + GRACE_MS),
            whole_max_ms: left_ms,
            wait_max_ms: left_ms,
        }
    }

    /// How long our step may still take, in milliseconds.
    fn left_ms(&self) -> u64 {
        let now_ms = self.context.host.now_ms();
        self.context.deadline_at_ms.saturating_sub(now_ms)
    }
}
