//! Kind `model`: a language model that answers by the agent's output schema.
//!
//! [`wire`] is what is said, whoever the provider is; one module for each API writes and reads it. [`ask`] makes one request,
//! again while the provider is busy; [`kept`] has the answers to those that were made before. Here is the conversation: tools
//! are used, an answer that does not fit is repaired once, and where a model gives none the next one goes on with what was
//! said so far.
//!
//! What the input says is text for the model, and nothing else: it is never a template, names no secret and no address. A
//! model that is talked into something can use the tools that the manifest gives it, and nothing beyond them.

mod anthropic;
mod ask;
mod form;
mod kept;
mod openai_chat;
mod openai_responses;
mod shown;
mod strict_schema;
#[cfg(test)]
mod tests;
mod tools;
mod wire;
mod workers_ai;

use serde_json::Value;

use self::form::Form;
use self::kept::Kept;
use self::shown::Shown;
use self::wire::{Ask, End, Reply, Tool, Turn};
use super::call::{AGAIN_MAX_MS, host_of};
use super::underway::Underway;
use super::{Context, Failure, Retry, Spent, Stop, misconfigured};
use crate::connections::Provider;
use crate::conversation::History;
use crate::manifest::{AgentManifest, ModelConfig, ModelTemplates, RenderError, Role, Template};
use crate::telemetry::event::Usage;
use crate::telemetry::operation::{Doing, Upshot};

/// A model uses at most this many tools in one answer.
pub const CALLS_MAX: usize = 16;

pub(super) async fn run(
    agent: &AgentManifest,
    config: &ModelConfig,
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, Stop> {
    let templates = templates(agent, config, context)?;
    let render = |template: &Template| render(template, input, context);
    let mut turns = Vec::new();
    for (place, (role, template)) in templates.messages.iter().enumerate() {
        if place + 1 == templates.messages.len() {
            turns.extend(remembered(context.history));
        }
        let text = render(template)?;
        turns.push(match role {
            Role::User => Turn::User(text),
            Role::Assistant => Turn::Assistant {
                text,
                calls: Vec::new(),
            },
        });
    }
    let mut conversation = Conversation {
        agent,
        config,
        context,
        instructions: render(&templates.instructions)?,
        turns,
        kept: Kept::new(agent, config, context),
        rounds: 0,
        is_last: false,
    };
    let mut failure = None;
    let last = config.fallback_models.len();
    for (place, model) in config.models().enumerate() {
        conversation.is_last = place == last;
        if place > 0 {
            context.journal.progress("Another model begins", None);
        }
        let provider = context.host.outside().connections().provider(&model.provider);
        let failed = match provider {
            None => not_configured(&model.provider),
            Some(provider) => match conversation.with(provider, &model.model).await {
                Ok(output) => return Ok(output),
                Err(failed) => failed,
            },
        };
        failure = Some(more_telling(failure, failed));
    }
    Err(failure.unwrap_or_else(|| not_configured(&config.provider)).into())
}

/// What is said to the model last: the message that the conversation keeps.
pub(super) fn said(
    agent: &AgentManifest,
    config: &ModelConfig,
    input: &Value,
    context: &Context<'_>,
) -> Result<String, Failure> {
    let last = templates(agent, config, context)?.messages.last();
    last.map_or(Ok(String::new()), |(_, template)| render(template, input, context))
}

fn templates<'a>(
    agent: &AgentManifest,
    config: &'a ModelConfig,
    context: &Context<'_>,
) -> Result<&'a ModelTemplates, Failure> {
    let templates = config.templates(context.team.prompt(&agent.id));
    templates.map_err(|error| misconfigured(&error.reason))
}

fn render(template: &Template, input: &Value, context: &Context<'_>) -> Result<String, Failure> {
    let rendered = template.render(input, context.state).map_err(|error| unfit(&error))?;
    Ok(rendered.as_str().unwrap_or_default().to_owned())
}

/// What was said before. A summary is made of what customers wrote, so it is a message and no instruction.
fn remembered(history: &History) -> impl Iterator<Item = Turn> + '_ {
    let summary = history.summary.as_ref();
    let summary = summary.map(|text| Turn::User(format!("A summary of what was said before:\n{text}")));
    let turns = history.turns.iter().flat_map(|turn| {
        let answer = Turn::Assistant {
            text: turn.answer(),
            calls: Vec::new(),
        };
        [Turn::User(turn.said.clone()), answer]
    });
    summary.into_iter().chain(turns)
}

/// What is said, over all models that take part.
struct Conversation<'a> {
    agent: &'a AgentManifest,
    config: &'a ModelConfig,
    context: &'a Context<'a>,
    instructions: String,
    turns: Vec<Turn>,
    /// The answers that are kept.
    kept: Kept<'a>,
    /// So often tools were used.
    rounds: u32,
    /// Whether no other model stands ready.
    is_last: bool,
}

impl Conversation<'_> {
    /// Goes on with a model until there is an output.
    async fn with(&mut self, provider: &Provider, model: &str) -> Result<Value, Failure> {
        let form = Form::of(&self.agent.output, provider.api);
        let instructions = form.instructions(&self.instructions);
        let (context, config) = (self.context, self.config);
        let tools = config.tools.iter().filter_map(|id| context.team.agent(id));
        let tools: Vec<_> = tools
            .map(|agent| Tool {
                name: &agent.id,
                description: &agent.description,
                input: agent.input.document(),
            })
            .collect();
        let mut repaired = false;
        loop {
            let ask = Ask {
                model,
                instructions: &instructions,
                turns: &self.turns,
                tools: &tools,
                format: form.enforced.as_ref(),
                temperature: self.config.temperature,
                max_output_tokens: self.config.max_output_tokens,
            };
            let mut shown = form.shown(config.stream.as_deref()).map(Shown::new);
            // An answer that was repaired is none that the model would give again by itself.
            let key = if repaired { None } else { self.kept.key(provider, &ask) };
            if let Some(key) = &key {
                let read = |text: &str| form.read(text, &self.agent.output);
                if let Some((text, output)) = self.kept.find(key, read).await {
                    show(&mut shown, Some(&text), context);
                    context.journal.spend(nothing_asked(provider, model));
                    return Ok(output);
                }
            }
            let wait_max_ms = if self.is_last { u64::MAX } else { AGAIN_MAX_MS };
            let asked = ask::ask(provider, config, &ask, context, wait_max_ms, |text| {
                show(&mut shown, text, context);
            });
            let reply = self.chat(provider, model, asked).await?;
            match reply.end {
                Some(End::Cut) => {
                    let max = self.config.max_output_tokens;
                    let message = format!("the answer ended at {max} tokens (model.max_output_tokens)");
                    return Err(Failure::terminal("model-output-cut", message));
                }
                Some(End::Refused) => {
                    return Err(Failure::terminal(
                        "model-refused",
                        "the model does not want to answer this",
                    ));
                }
                Some(End::Whole) | None => {}
            }
            if !reply.calls.is_empty() {
                self.use_tools(reply.text, reply.calls).await?;
                continue;
            }
            match form.read(&reply.text, &self.agent.output) {
                Ok(output) => {
                    if let Some(key) = &key {
                        self.kept.keep(key, &reply.text).await;
                    }
                    return Ok(output);
                }
                Err(wrong) if repaired => {
                    let message = format!("the answer does not fit the output schema, twice: {wrong}");
                    return Err(Failure::terminal("model-output-invalid", message));
                }
                Err(wrong) => {
                    repaired = true;
                    self.said(reply.text, Vec::new());
                    let request = format!("Your answer does not fit, and nobody can use it: {wrong}\nAnswer again.");
                    self.turns.push(Turn::User(request));
                }
            }
        }
    }

    /// Takes down what comes of asking a model.
    async fn chat(
        &self,
        provider: &Provider,
        model: &str,
        asked: impl Future<Output = Result<Reply, Failure>>,
    ) -> Result<Reply, Failure> {
        let underway = Underway::begin(
            self.context,
            Doing::Chat {
                provider: provider.api.family().to_owned(),
                model: model.to_owned(),
                host: provider.binding.clone().unwrap_or_else(|| host_of(&provider.origin)),
            },
        );
        // On the heap: an answer is read in there.
        let asked = Box::pin(asked).await;
        let reply = match asked {
            Ok(reply) => reply,
            Err(failure) => {
                underway.end(Upshot::failed(&failure.code));
                return Err(failure);
            }
        };
        let cost_micros = provider.cost_micros(model, reply.input_tokens, reply.output_tokens);
        self.context.journal.spend(Spent {
            model: model.to_owned(),
            input_tokens: reply.input_tokens,
            output_tokens: reply.output_tokens,
            cost_micros,
            cached: false,
        });
        underway.end(Upshot {
            usage: Usage {
                input_tokens: Some(reply.input_tokens),
                output_tokens: Some(reply.output_tokens),
                cost_micros,
                cached: false,
            },
            ..Upshot::default()
        });
        Ok(reply)
    }

    fn said(&mut self, text: String, calls: Vec<wire::ToolCall>) {
        if !(text.is_empty() && calls.is_empty()) {
            self.turns.push(Turn::Assistant { text, calls });
        }
    }

    async fn use_tools(&mut self, text: String, calls: Vec<wire::ToolCall>) -> Result<(), Failure> {
        let max = self.config.tool_rounds_max;
        if self.rounds >= max || calls.len() > CALLS_MAX {
            let message = format!(
                "the model used tools in {max} rounds (model.tool_rounds_max), or more than {CALLS_MAX} at once, and did not \
                 come to an answer"
            );
            return Err(Failure::terminal("model-tools-exceeded", message));
        }
        self.rounds += 1;
        let mut results = Vec::new();
        for call in &calls {
            results.push(tools::use_tool(self.config, call, self.context).await);
        }
        self.said(text, calls);
        self.turns.push(Turn::Results(results));
        Ok(())
    }
}

/// What an answer took that was kept.
fn nothing_asked(provider: &Provider, model: &str) -> Spent {
    Spent {
        model: model.to_owned(),
        cost_micros: provider.cost_micros(model, 0, 0),
        cached: true,
        ..Spent::default()
    }
}

/// Tells what is new of an answer. What was told of one that broke off is void, and the next one is told from its beginning.
fn show(shown: &mut Option<Shown<'_>>, text: Option<&str>, context: &Context<'_>) {
    let Some(shown) = shown else { return };
    match text {
        Some(text) => {
            let more = shown.more(text);
            if !more.is_empty() {
                context.journal.delta(&more);
            }
        }
        None => {
            if shown.anything {
                context.journal.progress("The model broke off and begins again", None);
            }
            shown.begin_again();
        }
    }
}

fn unfit(error: &RenderError) -> Failure {
    Failure::terminal("template-failed", error.to_string())
}

fn not_configured(provider: &str) -> Failure {
    Failure::terminal(
        "model-not-configured",
        format!("the provider `{provider}` is not in BATON_MODELS: an operator has to configure it"),
    )
}

/// Of two failures the one that says more: what may be over later, then what a model said, then that there is none.
fn more_telling(before: Option<Failure>, now: Failure) -> Failure {
    let weight = |failure: &Failure| match (failure.retry, failure.code.as_str()) {
        (Retry::After { .. }, _) => 2,
        (Retry::Never, "model-not-configured") => 0,
        (Retry::Never, _) => 1,
    };
    match before {
        Some(before) if weight(&before) >= weight(&now) => before,
        _ => now,
    }
}
