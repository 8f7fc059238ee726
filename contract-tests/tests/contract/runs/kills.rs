//! A gateway that is killed with SIGKILL while it has work of its own: nothing that was accepted is lost, and nothing ends
//! twice.

use std::collections::BTreeSet;
use std::thread;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

struct Stage {
    gateway: Gateway,
    receiver: Receiver,
}

fn stage() -> Stage {
    let receiver = Receiver::start();
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("callback", "acme", "callback"),
        ]),
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1").calling_back([receiver.origin()])],
        variables: Vec::new(),
        history: false,
        ..Options::default()
    });
    Stage { gateway, receiver }
}

impl Stage {
    fn kill_and_restart(&mut self) {
        self.gateway.kill_hard();
        self.gateway.restart();
    }

    fn accept(&self, agent: &str, run: &str, step: &str, actions: Value) {
        let body = json!({
            "run": run, "step": step, "input": { "actions": actions },
            "callback": { "url": self.receiver.url(&target(run, step)) },
        });
        let message = Message::step(&self.gateway, agent, &body).header("prefer", "respond-async");
        assert_eq!(message.signed(self.gateway.key("first")).send().status(), 202);
    }

    fn get(&self, path: &str) -> Answer {
        Message::new(&self.gateway, "GET", path)
            .signed(self.gateway.key("first"))
            .send()
    }

    fn status(&self, run: &str, step: &str) -> Value {
        self.get(&format!("/runs/{run}/steps/{step}")).json()
    }

    fn wait_until_running(&self, run: &str, step: &str) {
        wait_for("the step to be executed", || {
            (self.status(run, step)["status"] == "running").then_some(())
        });
    }

    /// The step's end, once it has one and its callback was acknowledged. The callbacks were of one id, and told just that.
    #[track_caller]
    fn end(&self, run: &str, step: &str) -> Value {
        let status = wait_for("the end to be told", || {
            let status = self.status(run, step);
            (status["callback"]["status"] == "delivered").then_some(status)
        });
        assert_eq!(status["status"], "ended");
        let received = self.receiver.received(&target(run, step));
        let ids: BTreeSet<_> = received.iter().map(|one| one.id().to_owned()).collect();
        assert_eq!(ids.len(), 1, "one end, one callback: {ids:?}");
        for one in &received {
            let callback = one.callback(&[self.gateway.key("callback")]);
            assert_eq!(callback["data"]["answer"], status["answer"]);
        }
        status
    }
}

fn target(run: &str, step: &str) -> String {
    format!("/{run}/{step}")
}

#[test]
fn what_was_executed_is_lost_and_told_or_executed_again_as_its_agent_allows() {
    let mut stage = stage();
    let run = fresh();
    stage.accept("script", &run, "once", json!([{ "sleep_ms": 15_000 }]));
    stage.accept("script-again", &run, "again", json!([{ "sleep_ms": 1_500 }]));
    stage.wait_until_running(&run, "once");
    stage.wait_until_running(&run, "again");
    stage.kill_and_restart();

    // Nobody asks for it: the alarm of the run's object brings it back.
    let _ = stage.receiver.wait_for(&target(&run, "once"), 1);
    let once = stage.end(&run, "once");
    assert_eq!(once["answer"]["body"]["status"], "failed");
    assert_eq!(once["answer"]["body"]["error"]["code"], "attempt-lost");
    assert_eq!(once["answer"]["body"]["error"]["retryable"], true);
    assert_eq!(once["executions"], 1);

    let again = stage.end(&run, "again");
    assert_eq!(again["answer"]["body"]["status"], "completed");
    assert_eq!(again["executions"], 2);
}

#[test]
fn what_was_accepted_ends_once_whenever_the_gateway_dies() {
    let mut stage = stage();
    let run = fresh();
    let steps: Vec<_> = (0..12).map(|index| format!("s{index}")).collect();
    for (index, step) in steps.iter().enumerate() {
        stage.accept("script-again", &run, step, json!([{ "sleep_ms": index * 40 }]));
        if index % 4 == 3 {
            stage.kill_and_restart();
        }
    }
    for step in &steps {
        let end = stage.end(&run, step);
        let body = &end["answer"]["body"];
        let lost = body["error"]["code"] == "attempt-lost";
        assert!(body["status"] == "completed" || lost, "{end}");
    }
    let described = stage.get(&format!("/runs/{run}")).json();
    assert_eq!(described["steps"].as_array().expect("steps").len(), steps.len());
}

#[test]
fn an_end_that_could_not_be_told_before_is_told_after() {
    let mut stage = stage();
    let run = fresh();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Status(500)]);
    stage.accept("script", &run, "s", json!([]));
    let refused = wait_for("a try that is refused", || {
        let received = stage.receiver.received(&target(&run, "s"));
        received.into_iter().next()
    });
    stage.gateway.kill_hard();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Status(204)]);
    stage.gateway.restart();
    let end = stage.end(&run, "s");
    assert_eq!(end["callback"]["id"], refused.id());
    assert_eq!(end["answer"]["body"]["status"], "completed");
}

#[test]
fn a_try_that_was_under_way_is_made_again() {
    let mut stage = stage();
    let run = fresh();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Hang]);
    stage.accept("script", &run, "s", json!([]));
    let hanging = stage.receiver.wait_for(&target(&run, "s"), 1);
    stage.gateway.kill_hard();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Status(204)]);
    stage.gateway.restart();
    let end = stage.end(&run, "s");
    assert_eq!(end["callback"]["id"], hanging[0].id());
    assert_eq!(end["callback"]["tries"], 2);
}

/// Who waited has no answer, and may never ask again: the callback is all that there is.
#[test]
fn the_end_of_a_step_that_somebody_waited_for_is_told_when_its_claim_has_ended() {
    let mut stage = stage();
    let run = fresh();
    let body = json!({
        "run": run, "step": "s", "input": { "actions": [{ "sleep_ms": 15_000 }] },
        "callback": { "url": stage.receiver.url(&target(&run, "s")) },
    });
    let message = Message::step(&stage.gateway, "script", &body).signed(stage.gateway.key("first"));
    let caller = thread::spawn(move || message.try_send().map(|answer| answer.status()));
    wait_for("the step to be executed", || {
        let answer = stage.get(&format!("/runs/{run}/steps/s"));
        (answer.status() == 200 && answer.json()["status"] == "running").then_some(())
    });
    stage.kill_and_restart();
    assert!(caller.join().expect("a caller").is_err(), "its connection is gone");
    let _ = stage.receiver.wait_for(&target(&run, "s"), 1);
    let end = stage.end(&run, "s");
    assert_eq!(end["answer"]["body"]["error"]["code"], "attempt-lost", "{end}");
}

#[test]
fn a_cancelled_step_stays_cancelled() {
    let mut stage = stage();
    let run = fresh();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Drop]);
    let actions = json!([{ "merge_state": { "count": 1 } }, { "sleep_ms": 15_000 }]);
    stage.accept("script-again", &run, "s", actions);
    stage.wait_until_running(&run, "s");
    let cancel = Message::new(&stage.gateway, "POST", &format!("/runs/{run}/steps/s/cancel"));
    let cancel = cancel.signed(stage.gateway.key("first"));
    let cancelled = cancel.send().message(200, "step-status");
    stage.gateway.kill_hard();
    stage.receiver.plan(&target(&run, "s"), [Reaction::Status(204)]);
    stage.gateway.restart();
    let end = stage.end(&run, "s");
    assert_eq!((&end["answer"], &end["executions"]), (&cancelled["answer"], &json!(1)));
    assert_eq!(end["answer"]["body"]["status"], "cancelled");
    stage.get(&format!("/runs/{run}/state")).problem(404, "state-unknown");
}

#[test]
fn a_step_that_waits_to_be_executed_again_is() {
    let mut stage = stage();
    let run = fresh();
    let actions = json!([{ "fail": { "code": "busy", "retry_after_ms": 2_000 } }]);
    stage.accept("script-again", &run, "s", actions);
    wait_for("the first execution's end", || {
        let status = stage.status(&run, "s");
        (status["status"] == "accepted" && status["executions"] == 1).then_some(())
    });
    stage.kill_and_restart();
    let end = stage.end(&run, "s");
    assert_eq!(end["executions"], 3);
    assert_eq!(end["answer"]["body"]["error"]["code"], "busy");
}

#[test]
fn the_state_and_its_history_survive() {
    let mut stage = stage();
    let run = fresh();
    let put = |stage: &Stage, state: &Value, name: &str, expected: &str| {
        let message = Message::new(&stage.gateway, "PUT", &format!("/runs/{run}/state"));
        let message = message.with_json(state.to_string().as_bytes()).header(name, expected);
        let message = message.cover(&format!("\"{name}\"")).signed(stage.gateway.key("first"));
        let answer = message.send();
        answer.header("etag").expect("an entity tag").to_owned()
    };
    let first = put(&stage, &json!({ "count": 1 }), "if-none-match", "*");
    stage.kill_and_restart();
    let second = put(&stage, &json!({ "count": 2 }), "if-match", &first);
    stage.kill_and_restart();
    let state = stage.get(&format!("/runs/{run}/state"));
    assert_eq!(
        (state.json(), state.header("etag")),
        (json!({ "count": 2 }), Some(second.as_str()))
    );
    let message = Message::new(&stage.gateway, "GET", &format!("/runs/{run}/state")).query("version=1");
    let before = message.signed(stage.gateway.key("first")).send();
    assert_eq!(
        (before.json(), before.header("etag")),
        (json!({ "count": 1 }), Some(first.as_str()))
    );
}

#[test]
fn a_stream_that_breaks_is_taken_up_where_it_broke() {
    let mut stage = stage();
    let run = fresh();
    let body = json!({ "run": run, "step": "s", "input": { "actions": [{ "delta": "a" }, { "sleep_ms": 1_200 }, { "delta": "b" }] } });
    let message = Message::step(&stage.gateway, "script-again", &body).header("accept", "text/event-stream");
    let mut stream = message.signed(stage.gateway.key("first")).stream();
    let last = stream.read_to("delta");
    stage.kill_and_restart();
    let attach = Message::new(&stage.gateway, "GET", &format!("/runs/{run}/steps/s"))
        .header("accept", "text/event-stream")
        .header("last-event-id", &last.id);
    let mut stream = attach.signed(stage.gateway.key("first")).stream();
    let events = stream.rest_of_events();
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    // Another execution begins: what the first one told is void.
    assert_eq!(names, ["started", "delta", "delta", "outcome"]);
    assert_eq!(events[0].json(), json!({ "execution": 2 }));
    let _ = stream.answer(&events[3]).completed();
}
