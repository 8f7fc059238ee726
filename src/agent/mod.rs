//! What an agent can be, and how one is run.
//!
//! A manifest declares an agent's kind: `rules` ([`rules`], conditions and templates in the manifest itself), `rust`
//! ([`registry`], a type that implements [`Agent`]), `http` ([`http`], a call of somebody else's HTTP API), `service`
//! ([`service`], another Worker or another gateway) or `model` ([`model`], a language model). [`execute`] runs any of them. Agents are part of the core: the time and everything that is
//! outside of them comes through [`Host`], and what is outside of the gateway through [`Outside`]. The last kind, `workflow`,
//! calls agents: see [`crate::workflow`].

use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conversation::{self, Conversations, History};
use crate::manifest::{AgentManifest, Implementation, Team};
use crate::run::call::Behalf;

mod cache;
mod call;
#[cfg(not(target_arch = "wasm32"))]
mod check;
mod child;
mod embedded;
#[cfg(feature = "fixtures")]
mod escalate;
mod fetch;
#[cfg(feature = "fixtures")]
mod fixtures;
#[cfg(feature = "fixtures")]
mod greet;
mod http;
mod journal;
mod log;
mod model;
mod outside;
mod redact;
mod registry;
mod rules;
mod service;
mod summarize;
#[cfg(test)]
mod testing;
mod triage;
mod underway;

pub use cache::Cache;
#[cfg(not(target_arch = "wasm32"))]
pub use check::check;
pub use child::CHILD_DEPTH_MAX;
pub use fetch::{FETCH_MAX_BYTES, FETCH_MAX_MS};
pub use journal::{Journal, Spent, StateChange};
pub use log::{LOG_FIELDS_MAX_BYTES, LOG_MESSAGE_MAX_CHARS};
pub use outside::{Chunks, Destination, Incoming, Outside};
pub use underway::INTERRUPTED;

/// A future on the one thread that a Worker has.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What an agent may ask of the platform; `src/edge` implements it, and tests have a fake.
pub trait Host {
    /// The time now, in milliseconds since 1970. On the platform it stands still while an agent computes.
    fn now_ms(&self) -> u64;
    /// Writes a line to the operator's log.
    fn log(&self, line: &Value);
    /// Waits.
    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()>;
    /// The way to the outside of the gateway. A host that has none leaves this as it is: then nothing is configured, and
    /// every call fails.
    fn outside(&self) -> &dyn Outside {
        &outside::Nowhere
    }
    /// The way to what is kept for a while. Without one nothing is.
    fn cache(&self) -> &dyn Cache {
        &cache::Nowhere
    }
    /// The way to what is remembered of conversations. Without one every agent with a `memory` fails that is to remember.
    fn conversations(&self) -> &dyn Conversations {
        &conversation::Nowhere
    }
}

/// Whether a step was cancelled while it is executed.
pub trait Cancellation {
    /// Ready when the step was cancelled; never if it is not.
    fn cancelled(&self) -> LocalBoxFuture<'_, ()>;
}

/// The step that an agent works on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The agent, by the id of its manifest.
    pub agent: &'a str,
    /// The run.
    pub run: &'a str,
    /// The step in it.
    pub step: &'a str,
    /// Which attempt of the step this is, from 1.
    pub attempt: u32,
    /// When the step must have ended, in milliseconds since 1970.
    pub deadline_at_ms: u64,
    /// The state that came with the step, valid for the agent's state schema.
    pub state: Option<&'a Value>,
    /// What was said before in the step's conversation, where the agent's manifest has a `memory`.
    pub history: &'a History,
    /// The trace that the step belongs to.
    pub traceparent: Option<&'a str>,
    /// On whose behalf it is executed.
    pub behalf: &'a Behalf,
    /// How many agents of this step wait for this one: it is called by them, or it is their tool.
    pub depth: usize,
    /// The agents of the gateway: what a model may use as its tools.
    pub team: &'a Team,
    /// The platform.
    pub host: &'a dyn Host,
    /// Says when the step was cancelled. An agent that waits for something waits for this as well, and returns: it has
    /// `invocation::CANCEL_GRACE_MS` to leave things in order, then it is dropped.
    pub cancellation: &'a dyn Cancellation,
    /// Takes down progress, parts of the output, and the new state.
    pub journal: &'a Journal,
}

/// How an agent says that it could not do its work. The caller sees all of it: no secrets, no input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, for programs: lower-case words with hyphens.
    pub code: String,
    /// What went wrong, for people, as a sentence.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retry: Retry,
}

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same input will fail again.
    Never,
    /// Not before this time has passed, in milliseconds.
    After {
        /// The time to wait in milliseconds.
        ms: u64,
    },
}

impl Failure {
    /// A failure that the same input will meet again.
    pub fn terminal(code: &str, message: impl Into<String>) -> Failure {
        Failure {
            code: code.to_owned(),
            message: message.into(),
            retry: Retry::Never,
        }
    }

    /// A failure that may be over after `ms` milliseconds.
    pub fn retryable(code: &str, message: impl Into<String>, ms: u64) -> Failure {
        Failure {
            retry: Retry::After { ms },
            ..Failure::terminal(code, message)
        }
    }
}

/// Who is to go on with the run in the place of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOff {
    /// One of the agents that the manifest's `handoffs` name.
    pub agent: String,
    /// Why, for people and for the next agent.
    pub reason: String,
    /// The next agent's input; this agent's own where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// Why an agent comes to no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It could not do its work.
    Failed(Failure),
    /// Another agent is to do it.
    HandOff(HandOff),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<HandOff> for Stop {
    fn from(handoff: HandOff) -> Self {
        Self::HandOff(handoff)
    }
}

/// An agent written in Rust. It is made once per isolate from the configuration in its manifest, and must not keep
/// anything from one step to the next.
pub trait Agent: Sized + Send + Sync + 'static {
    /// The name under which manifests refer to it.
    const NAME: &'static str;
    /// Its configuration, from the manifest's `rust.config`.
    type Config: DeserializeOwned;
    /// What it takes. Deserialising must accept everything that the manifest's input schema accepts: the check of the
    /// manifests tries it.
    type Input: DeserializeOwned;
    /// What it answers.
    type Output: Serialize;

    /// Makes the agent.
    ///
    /// # Errors
    /// What is wrong with the configuration, as a sentence; the check of the manifests shows it.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Does one step. Must not panic, whatever the input.
    fn run(&self, input: Self::Input, context: &Context<'_>) -> impl Future<Output = Result<Self::Output, Stop>>;
}

/// Runs an agent of any kind on an input that is valid for its input schema. The output is not checked yet.
///
/// # Errors
/// What the agent says, or that it cannot run as its manifest configures it (`agent-misconfigured`).
pub async fn execute(manifest: &AgentManifest, input: &Value, context: &Context<'_>) -> Result<Value, Stop> {
    match &manifest.implementation {
        Implementation::Rules { rules } => rules::run(rules, input, context),
        Implementation::Rust { rust } => registry::run(rust, input, context).await,
        Implementation::Http { http } => http::run(&manifest.id, http, input, context).await,
        Implementation::Service { service } => service::run(&manifest.id, service, input, context).await,
        Implementation::Model { model } => model::run(manifest, model, input, context).await,
        // `invocation::execution` takes it out before: it needs the run's ledger, and no agent has that.
        Implementation::Workflow { .. } => Err(misconfigured("a workflow is executed where its run is kept").into()),
    }
}

/// What is said to an agent, as a conversation keeps it: a model's last message, any other agent's input as text.
///
/// # Errors
/// When the message's template fails on this input.
pub fn said(manifest: &AgentManifest, input: &Value, context: &Context<'_>) -> Result<String, Failure> {
    match &manifest.implementation {
        Implementation::Model { model } => model::said(manifest, model, input, context),
        _ => Ok(conversation::text_of(input)),
    }
}

/// The manifest says something that the code cannot follow. The check of the manifests keeps this from happening.
fn misconfigured(detail: impl std::fmt::Display) -> Failure {
    Failure::terminal(
        "agent-misconfigured",
        format!("the agent cannot run as it is configured: {detail}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, VIOLATIONS_MAX};
    use std::cell::{Cell, RefCell};
    use std::task::{Poll, Waker};

    /// A platform whose time passes only while someone waits.
    pub(super) struct FakeHost {
        now_ms: Cell<u64>,
        logged: RefCell<Vec<Value>>,
    }

    impl FakeHost {
        pub(super) fn at(now_ms: u64) -> Self {
            Self {
                now_ms: Cell::new(now_ms),
                logged: RefCell::default(),
            }
        }

        pub(super) fn logged(&self) -> Vec<Value> {
            self.logged.take()
        }
    }

    impl Cancellation for FakeHost {
        fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    impl Host for FakeHost {
        fn now_ms(&self) -> u64 {
            self.now_ms.get()
        }

        fn log(&self, line: &Value) {
            self.logged.borrow_mut().push(line.clone());
        }

        fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
            self.now_ms.set(self.now_ms.get() + duration_ms);
            Box::pin(async {})
        }
    }

    /// What an agent came to, and what it did on the way.
    #[cfg_attr(
        not(feature = "fixtures"),
        expect(dead_code, reason = "the template's tests look at all of it")
    )]
    pub(super) struct Worked {
        pub(super) result: Result<Value, Stop>,
        pub(super) state: Option<StateChange>,
        pub(super) logged: Vec<Value>,
    }

    /// Runs an agent of the embedded team on a state. Nothing here ever has to wait.
    #[cfg(feature = "fixtures")]
    pub(super) fn work(agent: &str, input: &Value, state: Option<&Value>) -> Worked {
        attempt(agent, input, state, 1)
    }

    fn attempt(agent: &str, input: &Value, state: Option<&Value>, attempt: u32) -> Worked {
        let manifest = Team::embedded().agent(agent).unwrap();
        let host = FakeHost::at(1_000);
        let journal = Journal::default();
        let context = Context {
            agent,
            run: "run_01",
            step: "s1",
            attempt,
            deadline_at_ms: 2_000,
            state,
            history: History::none(),
            traceparent: None,
            behalf: &Behalf::default(),
            depth: 0,
            team: Team::embedded(),
            host: &host,
            cancellation: &host,
            journal: &journal,
        };
        let mut future = Box::pin(execute(manifest, input, &context));
        match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Worked {
                result,
                state: journal.take_state(),
                logged: host.logged(),
            },
            Poll::Pending => panic!("{agent} waits for something else than the host"),
        }
    }

    fn answer(agent: &str, input: &Value, number: u32) -> Result<Value, Failure> {
        attempt(agent, input, None, number).result.map_err(|stop| match stop {
            Stop::Failed(failure) => failure,
            Stop::HandOff(handoff) => panic!("{agent} hands off: {handoff:?}"),
        })
    }

    /// The first block of code in this language.
    #[cfg(feature = "fixtures")]
    fn block<'a>(page: &'a str, language: &str) -> &'a str {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    }

    #[cfg(feature = "fixtures")]
    #[test]
    fn the_page_shows_the_template_as_it_is() {
        let page = include_str!("../../docs/write-an-agent-in-rust.md");
        assert_eq!(block(page, "rust"), include_str!("greet.rs"));
        let manifest = include_str!("../../contract-tests/manifests/greet.json");
        // In a team of its own it stands beside the schema.
        let manifest = manifest.replace("../../manifests/schema", "schema");
        assert_eq!(block(page, "json"), manifest);
        let (_, others) = page.split_once("## 6. ").unwrap();
        assert_eq!(block(others, "rust"), include_str!("escalate.rs"));
    }

    #[test]
    fn examples_give_what_they_declare() {
        // What an API or a model answers is not in the gateway's hands; workflows are executed by the tests of `workflow`.
        let alone = |agent: &&AgentManifest| matches!(agent.kind(), "rules" | "rust");
        for agent in Team::embedded().agents.iter().filter(alone) {
            for example in &agent.examples {
                let output = answer(&agent.id, &example.input, 1).unwrap();
                if let Some(expected) = &example.output {
                    // Equal as JSON, where 3 and 3.0 are the same number.
                    let same = Schema::compile(&serde_json::json!({"const": expected})).unwrap();
                    assert!(same.accepts(&output), "{}: {}: {output:#}", agent.id, example.title);
                }
                let violations = agent.output.get().unwrap().violations(&output, VIOLATIONS_MAX);
                assert_eq!(violations, [], "{}: {}", agent.id, example.title);
            }
        }
    }

    #[test]
    fn the_sample_team_is_complete() {
        for id in ["prioritize", "redact", "summarize", "triage"] {
            let agent = Team::embedded().agent(id).unwrap();
            assert!(!agent.examples.is_empty(), "{id}");
            // Hints of an agent that takes no text would never count.
            assert_eq!(agent.takes_text(), !agent.routing.keywords.is_empty(), "{id}");
        }
    }

    #[test]
    fn the_sample_team_takes_texts() {
        for id in ["redact", "summarize", "triage"] {
            let agent = Team::embedded().agent(id).unwrap();
            let input = crate::manifest::input_of(agent, "One sentence.").unwrap().unwrap();
            assert_eq!(
                agent.input.get().unwrap().violations(&input, VIOLATIONS_MAX),
                [],
                "{id}"
            );
            answer(id, &input, 1).unwrap();
        }
    }

    #[test]
    fn a_text_over_the_limit_in_bytes_is_the_agents_failure() {
        let text = serde_json::json!({"text": "ä".repeat(40_000)});
        assert_eq!(
            answer("summarize", &text, 1).map_err(|failure| failure.code),
            Err("text-too-long".to_owned())
        );
    }

    #[cfg(feature = "fixtures")]
    #[test]
    fn fixtures_do_as_they_are_told() {
        use serde_json::json;
        let echoed = answer("echo", &json!([1]), 2).unwrap();
        assert_eq!(
            echoed,
            json!({"input": [1], "state": null, "run": "run_01", "step": "s1", "attempt": 2, "executed_at_ms": 1000})
        );
        assert_eq!(
            answer("sleep", &json!({"ms": 5}), 1).unwrap(),
            json!({"slept_ms": 5, "executed_at_ms": 1000})
        );
        let wrong = answer("bad-output", &json!({}), 1).unwrap();
        assert!(
            !Team::embedded()
                .agent("bad-output")
                .unwrap()
                .output
                .get()
                .unwrap()
                .accepts(&wrong)
        );
        let fail = json!({"code": "busy", "retry_after_ms": 20, "until_attempt": 2});
        let message = "the input told the agent to fail";
        assert_eq!(answer("fail", &fail, 1), Err(Failure::retryable("busy", message, 20)));
        assert_eq!(answer("fail", &fail, 2), Ok(json!({"attempt": 2})));
        assert_eq!(
            answer("fail", &json!({"code": "no"}), 1),
            Err(Failure::terminal("no", message))
        );
        assert_eq!(
            answer("panic", &json!({"panic": false}), 1).unwrap(),
            json!({"panicked": false})
        );
        for (id, agents, stands_ready) in [
            ("brittle", &["echo"][..], false),
            ("brittle-chain", &["brittle-static", "echo"], true),
            ("brittle-static", &[], true),
        ] {
            let agent = Team::embedded().agent(id).unwrap();
            let input = crate::manifest::input_of(agent, "Hello").unwrap().unwrap();
            assert_eq!(answer(id, &input, 1), Err(Failure::terminal("brittle", message)));
            assert_eq!(agent.fallback.agents, agents);
            assert_eq!(agent.fallback.answer.is_some(), stands_ready, "{id}");
        }
    }
}
