//! Handing a direct call on to the orchestrator, and what its answer means.
//!
//! An answer about the call is passed on, also when it is a refusal: the gateway is no way around the orchestrator's
//! rules. Only what says nothing about the call, because the orchestrator is out of reach, sick, or not who it should be,
//! lets the gateway answer by itself.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::breaker::{End, TELL_MAX_MS, guard};
use crate::config::{Config, Orchestrator};
use crate::invocation::{Either, before, either};
use crate::json::parse_strict;
use crate::platform::{Platform, Unanswered};
use crate::problem::Problem;
use crate::run::outcome::OUTCOME_MAX_BYTES;
use crate::signed_call::{CallError, SignedCall, problem_code};

use super::STEP;

/// An orchestrator's answer may have so many bytes: an outcome, and what surrounds it.
pub const ANSWER_MAX_BYTES: usize = OUTCOME_MAX_BYTES + 64 * 1024;
/// How deep it may nest: an agent's output is part of it.
const DEPTH_MAX: usize = 128;
/// An orchestrator's explanation is told up to this length, in characters.
const DETAIL_MAX_CHARS: usize = 300;

/// What is handed on.
#[derive(Debug, Clone, Copy)]
pub struct Handing<'a> {
    /// To whom.
    pub orchestrator: &'a Orchestrator,
    /// The gateway's id.
    pub gateway: &'a str,
    /// The run's id.
    pub run: &'a str,
    /// The agent that the call is for.
    pub agent: &'a str,
    /// Its input.
    pub input: &'a Value,
    /// How long the orchestrator may take, in milliseconds.
    pub budget_ms: u64,
    /// How long it may take where the customer is in no hurry, in milliseconds: what counts as slow, or as no answer, is not
    /// the customer's to say.
    pub usual_ms: u64,
    /// How long the run's step may take, in milliseconds: longer than the budget, for the gateway waits for a step that is
    /// executed already, whoever invoked it.
    pub deadline_ms: u64,
    /// The span that the run is part of.
    pub traceparent: &'a str,
}

/// Why an orchestrator does not coordinate a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The breaker is open: it did not answer others.
    BreakerOpen,
    /// It did not answer within its budget.
    Timeout,
    /// It could not be reached.
    Unreachable,
    /// It answered 5xx or 429.
    Unavailable,
    /// Its answer's signature does not hold: nobody knows who said it.
    Unverified,
    /// Its answer is none that the protocol knows.
    Malformed,
    /// It gave the run up by its own word.
    GaveUp,
    /// It does not know this gateway (any more).
    NotRegistered,
    /// It refuses the gateway's own credentials, or the gateway has none for it.
    Refused,
    /// The gateway began the first step beside it, and ended first.
    Hedged,
}

impl Reason {
    /// For programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker-open",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::Unverified => "unverified",
            Self::Malformed => "malformed",
            Self::GaveUp => "gave-up",
            Self::NotRegistered => "not-registered",
            Self::Refused => "refused",
            Self::Hedged => "hedged",
        }
    }

    /// Whether another orchestrator may be asked: this one was not handed the call, or can do nothing with it once the run is
    /// passed on.
    #[must_use]
    pub const fn passes_on(self) -> bool {
        matches!(self, Self::BreakerOpen | Self::Unreachable | Self::NotRegistered)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Handed {
    /// The outcome of the step.
    Answered(Value),
    /// The orchestrator declines the call: that is the answer to it.
    Declined(Problem),
    /// It says nothing about the call.
    Without(Reason, String),
    /// What went on beside it completed first, with this outcome of the step.
    Hedged(Value),
}

/// Hands a call on, if the breaker lets it pass, and takes down in the breaker how it ended. `hedge` is what goes on beside
/// it: if it is ready first, nobody waits for the orchestrator any more, which was slow then.
pub async fn hand_on<P: Platform>(
    handing: Handing<'_>,
    config: &Config,
    nonce: String,
    platform: &P,
    hedge: impl Future<Output = Value>,
) -> Handed {
    let id = &handing.orchestrator.id;
    // The orchestrator's answer, or what went on beside it, whichever is first. On the heap: both are large.
    let (asked, hedge) = (Box::pin(call(handing, config, nonce, platform)), Box::pin(hedge));
    let call = async {
        match either(asked, hedge).await {
            Either::Left(handed) => handed,
            Either::Right(outcome) => Handed::Hedged(outcome),
        }
    };
    let Some(handed) = guard(
        id,
        handing.usual_ms,
        call,
        |handed, slow| end(handed, slow, handing),
        platform,
    )
    .await
    else {
        let detail = "the orchestrator did not answer before, or an operator holds its breaker open: it is not asked";
        return Handed::Without(Reason::BreakerOpen, detail.to_owned());
    };
    match &handed {
        Handed::Answered(_) | Handed::Declined(_) => {
            platform.is_news(id, None);
        }
        Handed::Without(reason @ Reason::Refused, detail) if platform.is_news(id, Some(reason.code())) => platform
            .alarm(
                "orchestrator",
                &format!("{id} refuses the gateway's credentials: {detail}"),
            ),
        Handed::Without(..) | Handed::Hedged(_) => {}
    }
    handed
}

/// What the breaker is to think of it.
const fn end(handed: &Handed, is_slow: bool, handing: Handing<'_>) -> End {
    match handed {
        Handed::Answered(_) | Handed::Declined(_) | Handed::Hedged(_) if is_slow => End::Slow,
        Handed::Answered(_) | Handed::Declined(_) => End::Answered,
        Handed::Hedged(_) => End::Unknown,
        // The customer's hurry, or what another orchestrator had taken, says nothing of this one.
        Handed::Without(Reason::Timeout, _) if handing.budget_ms < handing.usual_ms => End::Unknown,
        Handed::Without(Reason::Refused | Reason::NotRegistered | Reason::BreakerOpen, _) => End::Unknown,
        Handed::Without(..) => End::Failed,
    }
}

async fn call<P: Platform>(handing: Handing<'_>, config: &Config, nonce: String, platform: &P) -> Handed {
    let orchestrator = handing.orchestrator;
    // A link that does not answer costs the call no more than that: every valid key is one that the orchestrator knows.
    let lease = platform.known_lease(&orchestrator.id, None);
    let lease = before(lease, platform.sleep_ms(TELL_MAX_MS)).await.flatten();
    let call = SignedCall {
        orchestrator,
        asked_keyid: lease.and_then(|lease| lease.signing_keyid),
        request: request(handing),
        nonce,
        timeout_ms: handing.budget_ms,
        answer_max_bytes: ANSWER_MAX_BYTES,
    };
    let error = match call.send(config, platform).await {
        Ok(response) if response.status() == 401 => {
            return Handed::Without(Reason::Refused, format!("401 {}", problem_code(response.body())));
        }
        Ok(response) => return read(&response, handing),
        Err(error) => error,
    };
    let (reason, detail) = match &error {
        CallError::NoKey => (Reason::Refused, error.to_string()),
        // Whoever does not know our key cannot sign for it either.
        CallError::Unverified { status: 401, code, .. } => (Reason::Refused, format!("401 {code}")),
        CallError::Unverified { .. } => (Reason::Unverified, error.to_string()),
        CallError::Unanswered(Unanswered::TimedOut { .. }) => (Reason::Timeout, error.to_string()),
        // What failed in detail is for the operator's eyes.
        CallError::Unaddressable(_) | CallError::Unanswered(Unanswered::Failed(_)) => {
            if platform.is_news(&orchestrator.id, Some(Reason::Unreachable.code())) {
                platform.alarm("orchestrator", &format!("{}: {error}", orchestrator.id));
            }
            (Reason::Unreachable, "it could not be reached".to_owned())
        }
    };
    Handed::Without(reason, detail)
}

fn request(handing: Handing<'_>) -> http::Result<http::Request<Vec<u8>>> {
    let body = json!({
        "run": handing.run,
        "gateway": handing.gateway,
        "agent": handing.agent,
        "step": STEP,
        "input": handing.input,
        "deadline_ms": handing.deadline_ms,
    });
    http::Request::builder()
        .method("POST")
        .uri(format!("{}/runs", handing.orchestrator.url))
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", format!("\"{}\"", handing.run))
        .header("traceparent", handing.traceparent)
        .body(body.to_string().into_bytes())
}

/// What a verified answer means.
fn read(response: &http::Response<Vec<u8>>, handing: Handing<'_>) -> Handed {
    let body = response.body();
    match response.status().as_u16() {
        200 => outcome(body, handing),
        409 if problem_code(body) == "gateway-not-registered" => {
            Handed::Without(Reason::NotRegistered, "it does not know this gateway".to_owned())
        }
        status @ (400 | 403 | 404 | 409 | 422) => {
            let problem: Value = serde_json::from_slice(body).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("without a reason");
            Handed::Declined(Problem::Declined {
                status,
                code: problem_code(body),
                detail: detail.chars().take(DETAIL_MAX_CHARS).collect(),
            })
        }
        504 => Handed::Without(Reason::Timeout, format!("504 {}", problem_code(body))),
        status @ (429 | 500..) => Handed::Without(Reason::Unavailable, format!("{status} {}", problem_code(body))),
        status => Handed::Without(
            Reason::Malformed,
            format!("{status}, which the protocol does not know here"),
        ),
    }
}

fn outcome(body: &[u8], handing: Handing<'_>) -> Handed {
    let malformed = |what: &str| Handed::Without(Reason::Malformed, format!("200 {what}"));
    let Ok(answer) = parse_strict(body, DEPTH_MAX) else {
        return malformed("without JSON");
    };
    let fits = crate::wire::compiled("run-answer")
        .and_then(|schema| schema.get().ok())
        .is_some_and(|schema| schema.accepts(&answer));
    if !fits || answer["run"] != handing.run {
        return malformed("with another message than a run's answer, or of another run");
    }
    if answer["verified"] != true {
        let error = answer["outcome"]["error"]["code"]
            .as_str()
            .unwrap_or("without a reason");
        return Handed::Without(Reason::GaveUp, error.chars().take(DETAIL_MAX_CHARS).collect());
    }
    Handed::Answered(answer["outcome"].clone())
}
