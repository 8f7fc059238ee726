//! Customers' calls: handed on to an orchestrator while one answers, coordinated here when none does.

use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::Value;

use super::choice::Asked;
use super::live::LiveCall;
use super::preferences::wants_stream;
use super::reply::Reply;
use super::{Acted, Admitted, Gateway, Record};
use crate::access::{Customer, Session};
use crate::conversation::ConversationName;
use crate::direct::{Answer, Call, Coordinator, Listener, Route};
use crate::invocation::{Occasion, check, check_id, read_message, satisfies};
use crate::manifest::{AgentManifest, Visibility, input_of};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::routes::Action;
use crate::routing::Choice;
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
    conversation: Option<String>,
}

/// A call that was read: the agent that it is for, and its input, which fits.
#[derive(Debug, Clone)]
pub(super) struct Query {
    run: String,
    agent: String,
    input: Value,
    text: Option<String>,
    deadline_ms: u64,
    deadline_at_ms: u64,
    choice: Option<Choice>,
    /// Whether the customer may send it again: it has an idempotency key.
    repeatable: bool,
    conversation: Option<ConversationName>,
}

impl Query {
    pub(super) fn agent(&self) -> &str {
        &self.agent
    }

    /// The message `query-answer`.
    fn answered(&self, answer: &Answer, route: &Route) -> Value {
        let mut body = answer.to_json(&self.run, route);
        if let Some(Choice {
            agent,
            confidence,
            reason,
            ..
        }) = &self.choice
        {
            body["choice"] = serde_json::json!({"agent": agent, "confidence": confidence, "reason": reason});
        }
        body
    }
}

impl Gateway<'_> {
    /// Answers a call with an API key, or of an operator who tries an agent.
    pub(super) async fn serve<P: Platform>(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        session: Option<&Session>,
        (occasion, platform): (&Occasion, &P),
        record: &mut Record,
    ) -> Result<Acted, Problem> {
        let begun_at_ms = platform.now_ms();
        let (customer, rate) = self
            .authenticate(session, request.headers(), occasion, platform)
            .await?;
        record.key_id = Some(customer.key.clone());
        record.span = Some(occasion.span());
        if admitted.route.action == Action::EraseConversation {
            let id = admitted.parameters.get("conversation");
            let reply = self.erase_own_conversation(&customer, id, platform).await?;
            return Ok(Acted::Reply(reply.rate(&rate)));
        }
        let agent = admitted.parameters.get("agent");
        let agent = (admitted.route.action == Action::QueryAgent).then_some(agent);
        let query = self
            .read_query(agent, &customer, request, (occasion, platform), begun_at_ms)
            .await?;
        record.agent = Some(query.agent.clone());
        if wants_stream(request.headers()) {
            let live = LiveCall::new(query, occasion.clone(), request.headers());
            return Ok(Acted::Live(Reply::event_stream().rate(&rate), Box::new(live)));
        }
        let (body, route) = self.coordinate(&query, (occasion, platform), None, record).await?;
        let reply = Reply::json(&body).with(BATON_ROUTE, &route.field());
        Ok(Acted::Reply(reply.rate(&rate)))
    }

    /// Has a call answered: the message `query-answer`, and how it was routed.
    pub(super) async fn coordinate<P: Platform>(
        &self,
        query: &Query,
        (occasion, platform): (&Occasion, &P),
        listener: Option<&dyn Listener>,
        record: &mut Record,
    ) -> Result<(Value, Route), Problem> {
        let coordinator = Coordinator {
            team: self.team,
            config: self.config,
            occasion,
            platform,
            call: Call {
                run: &query.run,
                agent: self.team.agent(&query.agent).ok_or(Problem::UnknownAgent)?,
                input: &query.input,
                text: query.text.as_deref(),
                deadline_ms: query.deadline_ms,
                deadline_at_ms: query.deadline_at_ms,
                repeatable: query.repeatable,
                conversation: query.conversation.as_ref(),
            },
            listener,
        };
        let (answer, route) = coordinator.answer().await?;
        let body = query.answered(&answer, &route);
        record.outcome = body["status"].as_str().map(str::to_owned);
        record.direct_route = Some(route.name());
        Ok((body, route))
    }

    /// Reads a call. `agent` is the one that the path names.
    async fn read_query<P: Platform>(
        &self,
        agent: Option<&str>,
        customer: &Customer,
        request: &http::Request<Vec<u8>>,
        (occasion, platform): (&Occasion, &P),
        begun_at_ms: u64,
    ) -> Result<Query, Problem> {
        let named = agent.map(|id| self.open_agent(id, customer)).transpose()?;
        let message = read_message("query", request.body(), self.team.gateway.limits.json_depth_max)?;
        let body: Body = serde_json::from_value(message).map_err(|_| Problem::Internal)?;
        if let Some(id) = &body.conversation {
            check_id(id, "/conversation")?;
        }
        let conversation = body.conversation.map(|id| ConversationName::of_key(&customer.key, &id));
        let run = run_id(customer, request.headers(), occasion)?;
        let choice = match (named, &body.text) {
            (None, Some(text)) => {
                let asked = Asked {
                    run: &run,
                    text,
                    wanted_ms: body.deadline_ms,
                    begun_at_ms,
                };
                Some(self.choose(asked, customer, (occasion, platform)).await?)
            }
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
        let deadline_ms = body.deadline_ms.map_or(cap_ms, |wanted| wanted.min(cap_ms));
        Ok(Query {
            run,
            agent: agent.id.clone(),
            input,
            text: body.text,
            deadline_ms,
            deadline_at_ms: begun_at_ms + deadline_ms,
            choice,
            conversation,
            repeatable: request.headers().contains_key(IDEMPOTENCY_KEY),
        })
    }

    /// An agent that customers may call, if this one may.
    fn open_agent(&self, id: &str, customer: &Customer) -> Result<&AgentManifest, Problem> {
        let agent = self.visible_agent(id, |visibility| visibility == Visibility::Public)?;
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
