//! A gateway with a real orchestrator, which is told to hang, to lie, to refuse, and is killed; and a customer.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use contract_tests::answer::Answer;
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::{answered, call};
use crate::support::{alone_in, orchestrated};

/// Short, so that a lost registration is soon made anew, in milliseconds.
pub(super) const LEASE_MS: u64 = 3_000;
/// What a customer gives, in milliseconds; half of it is the orchestrator's.
const DEADLINE_MS: u64 = 3_000;

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) orchestrator: Orchestrator,
    pub(super) key: String,
}

/// The one world of most tests.
pub(super) fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    alone_in(&WORLD, || World::of(orchestrated(LEASE_MS)), World::mend)
}

impl World {
    pub(super) fn of((gateway, orchestrator, key): (Gateway, Orchestrator, String)) -> Self {
        let _ = orchestrator.wait_for_live();
        Self {
            gateway,
            orchestrator,
            key,
        }
    }

    /// A customer's call of the fixture `echo`.
    pub(super) fn call(&self) -> Message {
        let body = json!({ "input": { "text": "hi" }, "deadline_ms": DEADLINE_MS });
        call(&self.gateway, &self.key, "/agents/echo/query", &body)
    }

    /// The same, sent. Whatever becomes of it, it does not take longer than the customer has given.
    #[track_caller]
    pub(super) fn ask(&self) -> Answer {
        self.send(&self.call())
    }

    /// Sends a call of [`World::call`]. It is held to its deadline.
    #[track_caller]
    pub(super) fn send(&self, call: &Message) -> Answer {
        let begun = Instant::now();
        let answer = call.send();
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        assert!(took_ms <= DEADLINE_MS, "{took_ms} ms: {}", answer.text());
        answer
    }

    /// The orchestrator is well, the gateway registered, and the breaker closed, with more good calls behind it than a test
    /// makes bad ones.
    pub(super) fn mend(&self) {
        self.orchestrator.behave(&json!({}));
        // At once, also where the link was refused.
        self.order("register", None);
        self.order("breaker", Some(&json!({ "state": "auto" })));
        for _ in 0..3 {
            wait_for("the orchestrator to coordinate", || {
                (answered(&self.ask())["route"]["by"] == "orchestrated").then_some(())
            });
        }
    }

    /// An operator's order to the link; answers how it stands then.
    #[track_caller]
    pub(super) fn order(&self, order: &str, body: Option<&Value>) -> Value {
        let path = format!("/operator/links/reference/{order}");
        let message = match body {
            Some(body) => Message::post(&self.gateway, &path, body),
            None => Message::new(&self.gateway, "POST", &path),
        };
        message.signed(self.gateway.key("operator")).send().message(200, "link")
    }

    /// A call that the gateway answers by itself, for this reason.
    #[track_caller]
    pub(super) fn falls_back(&self, reason: &str) -> Value {
        let body = answered(&self.ask());
        assert_eq!(body["route"]["reason"], reason, "{body}");
        assert_eq!(
            (&body["status"], &body["agent"]),
            (&json!("completed"), &json!("echo")),
            "{body}"
        );
        body
    }

    /// A run of this customer's as the operator sees it.
    #[track_caller]
    pub(super) fn run(&self, answer: &Value) -> Value {
        let run = answer["run"].as_str().expect("a run");
        let look = Message::new(&self.gateway, "GET", &format!("/operator/runs/reference/{run}"));
        look.signed(self.gateway.key("operator")).send().message(200, "run")
    }

    /// The run as the operator sees it once its settlement stands so.
    #[track_caller]
    pub(super) fn wait_for_settlement(&self, answer: &Value, status: &str) -> Value {
        wait_for(&format!("a settlement that is {status}"), || {
            let run = self.run(answer);
            (run["settlement"]["status"] == status).then_some(run)
        })
    }

    /// The one settlement of a run, and that the orchestrator has acknowledged it. It is counted once the gateway has nothing
    /// left to tell. What the gateway repeats, for it never heard the acknowledgement, is the same settlement under the same
    /// idempotency key, which the orchestrator keeps once.
    #[track_caller]
    pub(super) fn settlement(&self, answer: &Value) -> Value {
        let run = self.wait_for_settlement(answer, "acknowledged");
        let id = answer["run"].as_str().expect("a run");
        let settlements = self.orchestrator.settlements(id);
        assert_eq!(settlements.len(), 1, "{settlements:?}");
        let settlement = settlements[0].clone();
        assert_eq!(settlement["settled"], true, "{settlement}");
        for reason in [&settlement["reason"], &run["settlement"]["reason"]] {
            assert_eq!(*reason, answer["route"]["reason"], "{settlement} {run}");
        }
        settlement
    }

    /// A call of one step is settled exactly once, with the answer that the customer got: so the gateway tells it, and so the
    /// orchestrator has it.
    #[track_caller]
    pub(super) fn is_settled(&self, answer: &Value) {
        let settlement = self.settlement(answer);
        let steps = settlement["steps"].as_array().expect("steps");
        assert_eq!(steps.len(), 1, "{settlement}");
        assert_eq!(steps[0]["answer"]["body"]["output"], answer["output"], "{settlement}");
        let run = answer["run"].as_str().expect("a run");
        let theirs = self.orchestrator.run(run).expect("the orchestrator's run");
        let effects = theirs["steps"].as_array().expect("steps");
        assert_eq!(effects.len(), 1, "{theirs}");
        assert_eq!(effects[0]["outcome"]["output"], answer["output"], "{theirs}");
    }

    /// Waits until the gateway's log has an alarm that says this.
    #[track_caller]
    pub(super) fn wait_for_alarm(&self, subject: &str, message: &str) {
        wait_for("the operator's alarm", || {
            let events = self.gateway.events();
            let mut alarms = events.iter().filter(|event| event["event"] == "alarm");
            let says = |alarm: &Value| alarm["message"].as_str().is_some_and(|text| text.contains(message));
            alarms
                .find(|alarm| alarm["subject"] == subject && says(alarm))
                .map(|_| ())
        });
    }
}
