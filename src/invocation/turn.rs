//! A turn of a conversation, taken for an agent that remembers: its place in the order, what was said before, and what it
//! adds.
//!
//! The turn is committed before the step is: so an answer that a caller has seen is one that the conversation has. Whoever
//! executes the step again, because the first one died in between, finds the turn ended, and its output is the step's.

use serde_json::{Value, json};

use super::relay::require;
use super::{Either, before, either};
use crate::agent::{self, Context, Failure, Host, LocalBoxFuture, Stop};
use crate::conversation::{Answer, Ask, Bounds, ConversationName, History, Said, Seat, TURN_LEASE_MS, Turn, text_of};
use crate::manifest::{AgentManifest, Memory, input_of};
use crate::run::work::Execution;
use crate::signature::digest::hex_digest;

/// How often the holder of a turn says that it is still at work, in milliseconds.
const RENEW_MS: u64 = TURN_LEASE_MS / 3;
/// When a turn that the conversation could not take is to be tried again, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// Takes one turn.
pub(super) struct TurnTaker<'a> {
    host: &'a dyn Host,
    name: ConversationName,
    seat: Seat,
    bounds: Bounds,
    summarise_with: Option<String>,
}

/// How a turn begins.
enum Begun {
    /// With what was said before, and what of it is to be summarised.
    Granted(History, Vec<Turn>),
    /// It ended before, with this output.
    Ended(Value),
    /// The conversation was erased meanwhile: the agent is told nothing, and nothing is kept.
    Erased,
}

impl<'a> TurnTaker<'a> {
    pub(super) fn new(
        host: &'a dyn Host,
        name: ConversationName,
        (execution, deadline_at_ms): (&Execution, u64),
        (agent, memory): (&AgentManifest, &Memory),
    ) -> Self {
        let call = &execution.call;
        Self {
            host,
            name,
            seat: Seat {
                key: key((&call.run, &call.step), &agent.id, &call.input),
                holder: format!("{}.{}.{}", call.request_id, execution.ordinal, execution.generation),
                epoch: None,
                accepted_at_ms: execution.accepted_at_ms,
                deadline_at_ms,
            },
            bounds: Bounds::from(memory),
            summarise_with: memory.summarise_with.clone(),
        }
    }

    /// Waits for the turn, runs the agent, and adds what came of it to the conversation.
    ///
    /// # Errors
    /// What the agent says; and `conversation-full`, `conversation-turn-lost` and `conversation-unavailable`, all of which
    /// may be over later.
    pub(super) async fn take(
        &mut self,
        agent: &AgentManifest,
        input: &Value,
        context: &Context<'_>,
    ) -> Result<Value, Stop> {
        let (mut history, overflow) = match self.begin().await? {
            Begun::Ended(output) => return Ok(output),
            Begun::Erased => return agent::execute(agent, input, context).await,
            Begun::Granted(history, overflow) => (history, overflow),
        };
        let work = async {
            if !overflow.is_empty() {
                self.summarise(&mut history, &overflow, context).await;
            }
            let context = Context {
                history: &history,
                ..*context
            };
            let said = agent::said(agent, input, &context)?;
            Ok::<_, Stop>((said, agent::execute(agent, input, &context).await?))
        };
        let work: LocalBoxFuture<'_, _> = Box::pin(work);
        let (said, output) = match either(work, self.lost()).await {
            Either::Left(ended) => ended?,
            Either::Right(()) => return Err(lost().into()),
        };
        require(
            Some(&agent.output),
            &output,
            "output-schema-violated",
            "the agent's output",
        )?;
        let said = Said {
            agent: agent.id.clone(),
            said,
            output: output.clone(),
        };
        match self.ask(&Ask::Commit(self.seat.clone(), said, self.bounds)).await? {
            // The answer is the caller's all the same; the conversation stays erased.
            Answer::Done | Answer::Erased => Ok(output),
            _ => Err(lost().into()),
        }
    }

    /// Gives the place back, so that the next turn begins at once and not when this one's lease ends.
    pub(super) async fn release(self) {
        // What cannot be told ends by its lease.
        let _ = self.ask(&Ask::Release(self.seat.clone())).await;
    }

    async fn begin(&mut self) -> Result<Begun, Failure> {
        loop {
            match self.ask(&Ask::Open(self.seat.clone(), self.bounds)).await? {
                Answer::Granted {
                    epoch,
                    history,
                    overflow,
                } => {
                    self.seat.epoch = Some(epoch);
                    return Ok(Begun::Granted(history, overflow));
                }
                Answer::Ended(output) => return Ok(Begun::Ended(output)),
                Answer::Erased => return Ok(Begun::Erased),
                Answer::Lost => return Err(lost()),
                // The object has let it wait already.
                Answer::Waiting { epoch } => self.seat.epoch = Some(epoch),
                Answer::Full => {
                    let message = "as many messages as may be wait in this conversation: send it again a little later";
                    return Err(Failure::retryable("conversation-full", message, AGAIN_MS));
                }
                _ => return Err(unavailable()),
            }
        }
    }

    /// Ready when the turn is another's by now. A conversation that does not answer says nothing.
    async fn lost(&self) {
        loop {
            self.host.sleep_ms(RENEW_MS).await;
            if let Ok(Answer::Lost) = self.ask(&Ask::Renew(self.seat.clone())).await {
                return;
            }
        }
    }

    /// Has what does not fit summarised, with the summary that there is. Where that fails the turns are kept for the next
    /// try, up to twice the bounds, and this agent is not told of them.
    async fn summarise(&self, history: &mut History, overflow: &[Turn], context: &Context<'_>) {
        let Some(last) = overflow.last() else { return };
        let Some(summary) = self.summary(history.summary.as_deref(), overflow, context).await else {
            context.journal.progress("Older messages could not be summarised", None);
            return;
        };
        let summary = self.bounds.cut(summary);
        let ask = Ask::Summarise(self.seat.clone(), last.number, summary.clone());
        if let Ok(Answer::Done) = self.ask(&ask).await {
            history.summary = Some(summary);
        }
    }

    async fn summary(&self, before_them: Option<&str>, turns: &[Turn], context: &Context<'_>) -> Option<String> {
        let agent = context.team.agent(self.summarise_with.as_deref()?)?;
        let mut text = before_them.map(|summary| format!("{summary}\n\n")).unwrap_or_default();
        for turn in turns {
            text.push_str(&format!("User: {}\nAssistant: {}\n", turn.said, turn.answer()));
        }
        let input = input_of(agent, &text)?.ok()?;
        if !agent.input.get().is_ok_and(|schema| schema.accepts(&input)) {
            return None;
        }
        let journal = context.journal.inner();
        let own = Context {
            agent: &agent.id,
            state: None,
            history: History::none(),
            journal: &journal,
            ..*context
        };
        let work: LocalBoxFuture<'_, _> = Box::pin(agent::execute(agent, &input, &own));
        let ended = before(work, self.host.sleep_ms(agent.deadline_ms)).await;
        let output = ended?.ok()?;
        require(Some(&agent.output), &output, "", "the summary").ok()?;
        Some(summary_text(&output))
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let answer = self.host.conversations().ask(&self.name, ask).await;
        answer.map_err(|_| unavailable())
    }
}

/// Names the turn of a step: the same for whoever executes it again. The step's input is part of it, since a caller may have
/// a run forgotten, and use the ids again for something else.
fn key((run, step): (&str, &str), agent: &str, input: &Value) -> String {
    let named = json!([run, step, agent, input]);
    // There is no JSON without a canonical form; if there were, this would tell it from others as well.
    let canonical = serde_json_canonicalizer::to_vec(&named).unwrap_or_else(|_| named.to_string().into_bytes());
    hex_digest(&canonical)
}

/// The text of a summary: the output, or its member `summary` where it has one.
fn summary_text(output: &Value) -> String {
    output.get("summary").map_or_else(|| text_of(output), text_of)
}

fn lost() -> Failure {
    let message = "the turn was given up for another one: its owner had not been heard of";
    Failure::retryable("conversation-turn-lost", message, AGAIN_MS)
}

fn unavailable() -> Failure {
    let message = "what was said before cannot be read: nothing was said to the agent";
    Failure::retryable("conversation-unavailable", message, AGAIN_MS)
}
