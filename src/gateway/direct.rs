//! Customers' calls: handed on to the orchestrator while it answers, coordinated here when it does not.

use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::Value;

use super::reply::Reply;
use super::{Acted, Admitted, Gateway, Record};
use crate::access::Customer;
use crate::config::Orchestrator;
use crate::direct::hand_on::{Handing, hand_on};
use crate::direct::{self, Answer, Handed, Local, NOBODY, Reason, Route};
use crate::invocation::{Caller, Identity, Occasion, check, read_message, satisfies};
use crate::manifest::{AgentManifest, Visibility, input_of};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::routes::Action;
use crate::routing::{self, Choice};
use crate::run::settlement::Takeover;
use crate::run::status::AskStep;
use crate::signature::Rejection;
use crate::signature::digest::hex_digest;
use crate::signature::profile::{IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_MAX_BYTES};
use crate::signature::structured::parse_string;

/// Says how a call was routed.
const BATON_ROUTE: HeaderName = HeaderName::from_static("baton-route");

/// The body of a direct call, its shape checked by `query.schema.json`.
#[derive(Debug, Deserialize)]
struct Body {
    text: Option<String>,
    input: Option<Value>,
    deadline_ms: Option<u64>,
}

/// A call that was read: the agent that it is for, and its input, which fits.
struct Query<'a> {
    run: String,
    agent: &'a AgentManifest,
    input: Value,
    text: Option<String>,
    deadline_ms: u64,
    choice: Option<Choice>,
    /// Whether the customer may send it again: it has an idempotency key.
    repeatable: bool,
}

impl Gateway<'_> {
    /// Answers a call with an API key.
    pub(super) async fn serve<P: Platform>(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        (occasion, platform): (&Occasion, &P),
        record: &mut Record,
    ) -> Result<Acted, Problem> {
        let (customer, rate) = self.authenticate(request.headers(), occasion, platform).await?;
        record.key_id = Some(customer.key.clone());
        let agent = admitted.parameters.get("agent");
        let agent = (admitted.route.action == Action::QueryAgent).then_some(agent);
        let reply = self
            .query(agent, &customer, request, (occasion, platform), record)
            .await?;
        Ok(Acted::Reply(reply.rate(&rate)))
    }

    /// Answers a direct call. `agent` is the one that the path names.
    async fn query<P: Platform>(
        &self,
        agent: Option<&str>,
        customer: &Customer,
        request: &http::Request<Vec<u8>>,
        (occasion, platform): (&Occasion, &P),
        record: &mut Record,
    ) -> Result<Reply, Problem> {
        let begun_at_ms = platform.now_ms();
        let query = self.read_query(agent, customer, request, occasion)?;
        record.agent = Some(query.agent.id.clone());
        let orchestrator = self.config.orchestrators.first();
        let caller = Caller {
            identity: Identity::Direct {
                orchestrator: orchestrator.map_or(NOBODY, |orchestrator| &orchestrator.id),
            },
            occasion,
            retention_ms: self.config.run_retention_ms,
            sampler: self.config.telemetry.sampler,
            platform,
        };
        let deadline_at_ms = begun_at_ms + query.deadline_ms;
        let (answer, route) = self.coordinate(&query, orchestrator, &caller, deadline_at_ms).await?;
        let mut body = answer.to_json(&query.run, &route);
        if let Some(Choice {
            agent,
            confidence,
            reason,
            ..
        }) = &query.choice
        {
            body["choice"] = serde_json::json!({"agent": agent, "confidence": confidence, "reason": reason});
        }
        record.outcome = body["status"].as_str().map(str::to_owned);
        record.direct_route = Some(route.name());
        Ok(Reply::json(&body).with(BATON_ROUTE, &route.field()))
    }

    /// Has the orchestrator answer within its budget, or else answers by itself.
    async fn coordinate<P: Platform>(
        &self,
        query: &Query<'_>,
        orchestrator: Option<&Orchestrator>,
        caller: &Caller<'_, P>,
        deadline_at_ms: u64,
    ) -> Result<(Answer, Route), Problem> {
        let mut route = Route::Local;
        let mut takeover = None;
        if query.repeatable && self.is_answered(query, caller).await? {
            route = Route::Stored;
        } else if let Some(orchestrator) = orchestrator {
            let handing = Handing {
                orchestrator,
                gateway: &self.team.gateway.id,
                run: &query.run,
                agent: &query.agent.id,
                input: &query.input,
                budget_ms: direct::budget_ms(query.agent.direct.budget_ms, query.deadline_ms),
                deadline_ms: query.deadline_ms,
                traceparent: &caller.traceparent(),
            };
            // One per request, and no other signature of this request uses it.
            let nonce = format!("run-{}", caller.occasion.request_id);
            let (reason, detail) = match hand_on(handing, self.config, nonce, caller.platform).await {
                Handed::Answered(outcome) => {
                    let orchestrator = orchestrator.id.clone();
                    return Ok((Answer::of(outcome), Route::Orchestrated { orchestrator }));
                }
                Handed::Declined(problem) => return Err(problem),
                Handed::Without(reason, detail) => (reason, detail),
            };
            let allowed =
                query.agent.direct.fallback && (reason != Reason::Refused || orchestrator.fallback_when_refused);
            if !allowed {
                return Err(Problem::OrchestratorUnavailable { reason: reason.code() });
            }
            takeover = Some(Takeover {
                gateway: self.team.gateway.id.clone(),
                reason: reason.code().to_owned(),
            });
            route = Route::Fallback {
                orchestrator: orchestrator.id.clone(),
                reason,
                detail,
            };
        }
        let local = Local {
            team: self.team,
            config: self.config,
            caller,
            run: &query.run,
            text: query.text.as_deref(),
            takeover,
            deadline_at_ms,
        };
        Ok((local.answer(query.agent, query.input.clone()).await?, route))
    }

    /// Whether the same call was answered before, for good.
    async fn is_answered<P: Platform>(&self, query: &Query<'_>, caller: &Caller<'_, P>) -> Result<bool, Problem> {
        let question = AskStep {
            step: direct::STEP.to_owned(),
        };
        let status = caller.ask(&caller.run(&query.run), question).await?;
        let answer = status.and_then(|status| status.answer);
        Ok(answer.is_some_and(|answer| answer.status == 200 && answer.body["error"]["retryable"] != true))
    }

    fn read_query(
        &self,
        agent: Option<&str>,
        customer: &Customer,
        request: &http::Request<Vec<u8>>,
        occasion: &Occasion,
    ) -> Result<Query<'_>, Problem> {
        let named = agent.map(|id| self.open_agent(id, customer)).transpose()?;
        let message = read_message("query", request.body(), self.team.gateway.limits.json_depth_max)?;
        let body: Body = serde_json::from_value(message).map_err(|_| Problem::Internal)?;
        let may = |agent: &AgentManifest| customer.authorise(&agent.id).is_ok();
        let choice = match (named, &body.text) {
            (None, Some(text)) => Some(routing::route(self.team, text, may).ok_or(Problem::NoAgentFits)?),
            (None, None) => return Err(Problem::TextRequired),
            (Some(_), _) => None,
        };
        let chosen = choice.as_ref().and_then(|choice| self.team.agent(&choice.agent));
        let agent = named.or(chosen).ok_or(Problem::NoAgentFits)?;
        let (input, at) = match (body.input, &body.text) {
            (Some(input), _) => (input, "/input"),
            (None, Some(text)) => {
                let input = input_of(agent, text).ok_or(Problem::TextNotTaken)?;
                (input.map_err(|_| Problem::Misconfigured)?, "/text")
            }
            (None, None) => return Err(Problem::Internal),
        };
        satisfies(check(&agent.input, &input, at)?)?;
        let cap_ms = agent.deadline_ms.min(self.team.gateway.limits.deadline_max_ms);
        Ok(Query {
            run: run_id(customer, request.headers(), occasion)?,
            agent,
            input,
            text: body.text,
            deadline_ms: body.deadline_ms.map_or(cap_ms, |wanted| wanted.min(cap_ms)),
            choice,
            repeatable: request.headers().contains_key(IDEMPOTENCY_KEY),
        })
    }

    /// An agent that customers may call, if this one may.
    fn open_agent(&self, id: &str, customer: &Customer) -> Result<&AgentManifest, Problem> {
        let agent = self
            .team
            .agent(id)
            .filter(|agent| agent.visibility == Visibility::Public);
        let agent = agent.ok_or(Problem::UnknownAgent)?;
        customer.authorise(id)?;
        Ok(agent)
    }
}

/// The run of a call: with an idempotency key always the same one, so that a repeated call gets the answer that is there.
fn run_id(customer: &Customer, headers: &HeaderMap, occasion: &Occasion) -> Result<String, Problem> {
    let Some(field) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(format!("dir_{}", occasion.request_id));
    };
    let key = field.to_str().ok().and_then(|text| parse_string(text).ok());
    let key = key.filter(|key| (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()));
    let key = key.ok_or(Rejection::IdempotencyKey)?;
    let digest = hex_digest(format!("{}\n{key}", customer.key).as_bytes());
    Ok(format!("dir_{}", &digest[..32]))
}
