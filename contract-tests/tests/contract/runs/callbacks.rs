//! Callbacks, and the operator's dead letters.

use std::sync::OnceLock;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, now_s, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use crate::signatures::replays::check_replayed;

/// A gateway, and a receiver of its callbacks at an allowed origin.
struct Stage {
    gateway: Gateway,
    receiver: Receiver,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let receiver = Receiver::start();
        let orchestrator = |id: &str| Configured::new(id, "http://127.0.0.1:1").calling_back([receiver.origin()]);
        let gateway = Gateway::start(Options {
            keys: Keys::new([
                Key::new("first", "acme", "invoke"),
                Key::new("uncalled", "silent", "invoke"),
                Key::new("callback-1", "acme", "callback"),
                Key::new("callback-2", "acme", "callback"),
                // Two that sign nothing for `acme`.
                Key::new("callback-expired", "acme", "callback").with("not_after", now_s() - 60),
                Key::new("callback-theirs", "theirs", "callback"),
                Key::new("keyless", "keyless", "invoke"),
                Key::new("operator", "acme", "operate"),
            ]),
            orchestrators: ["acme", "keyless"].map(orchestrator).to_vec(),
            variables: Vec::new(),
            history: true,
            ..Options::default()
        });
        Stage { gateway, receiver }
    })
}

impl Stage {
    /// A step of a fresh run that calls back at a target of its own.
    fn step(&self, actions: Value) -> (Value, String) {
        let target = format!("/callbacks/{}", fresh());
        let body = json!({
            "run": fresh(), "step": "s1", "input": { "actions": actions },
            "callback": { "url": self.receiver.url(&target) },
        });
        (body, target)
    }

    fn invoke(&self, body: &Value, prefer: Option<&str>) -> Answer {
        let message = Message::step(&self.gateway, "script", body);
        let message = match prefer {
            Some(prefer) => message.header("prefer", prefer),
            None => message,
        };
        message.signed(self.gateway.key("first")).send()
    }

    fn accept(&self, body: &Value) {
        assert_eq!(self.invoke(body, Some("respond-async")).status(), 202);
    }

    fn call(&self, method: &str, path: &str, key: &str) -> Message {
        Message::new(&self.gateway, method, path).signed(self.gateway.key(key))
    }

    fn status(&self, body: &Value) -> Value {
        let path = format!("/runs/{}/steps/s1", body["run"].as_str().expect("text"));
        self.call("GET", &path, "first").send().json()
    }

    /// The callback of this delivery, verified.
    #[track_caller]
    fn callback(&self, received: &contract_tests::receiver::Received) -> Value {
        received.callback(&[self.gateway.key("callback-1"), self.gateway.key("callback-2")])
    }
}

#[test]
fn the_end_of_a_step_is_told_once_and_signed_with_every_valid_key() {
    let stage = stage();
    let (body, target) = stage.step(json!([]));
    stage.accept(&body);
    let received = stage.receiver.wait_for(&target, 1);
    let callback = stage.callback(&received[0]);
    assert_eq!(callback["type"], "step.completed");
    assert_eq!(callback["data"]["run"], body["run"]);
    let status = wait_for("the acknowledgement", || {
        let status = stage.status(&body);
        (status["callback"]["status"] == "delivered").then_some(status)
    });
    assert_eq!(callback["data"]["answer"], status["answer"]);
    assert_eq!(status["callback"]["id"], received[0].id());
    assert_eq!(status["callback"]["tries"], 1);
}

#[test]
fn a_step_that_somebody_waits_for_calls_back_as_well() {
    let stage = stage();
    let (body, target) = stage.step(json!([{ "fail": { "code": "no" } }]));
    let outcome = stage.invoke(&body, None).outcome();
    let received = stage.receiver.wait_for(&target, 1);
    let callback = stage.callback(&received[0]);
    assert_eq!(callback["type"], "step.failed");
    assert_eq!(callback["data"]["answer"]["body"], outcome);
}

#[test]
fn a_passed_deadline_is_a_failed_step() {
    let stage = stage();
    let (mut body, target) = stage.step(json!([{ "sleep_ms": 5_000 }]));
    body["deadline_ms"] = 100.into();
    stage.accept(&body);
    let callback = stage.callback(&stage.receiver.wait_for(&target, 1)[0]);
    assert_eq!(callback["type"], "step.failed");
    assert_eq!(callback["data"]["answer"]["status"], 504);
}

#[test]
fn a_cancelled_step_is_told_as_cancelled_whatever_its_agent_still_says() {
    let stage = stage();
    let (body, target) = stage.step(json!(["await_cancellation"]));
    stage.accept(&body);
    let path = format!("/runs/{}/steps/s1/cancel", body["run"].as_str().expect("text"));
    wait_for("the step to be executed", || {
        (stage.status(&body)["status"] == "running").then_some(())
    });
    let cancelled = stage.call("POST", &path, "first").send();
    assert_eq!(cancelled.json()["answer"]["body"]["status"], "cancelled");
    let late = wait_for("the agent's late answer", || {
        stage.status(&body).get("late_answer").cloned()
    });
    assert_eq!(late["body"]["output"]["cancelled"], true);
    let received = stage.receiver.wait_for(&target, 1);
    assert_eq!(stage.callback(&received[0])["type"], "step.cancelled");
    assert_eq!(stage.status(&body)["answer"]["body"]["status"], "cancelled");
}

#[test]
fn a_callback_is_tried_again_with_the_same_id_until_it_is_acknowledged() {
    let stage = stage();
    let (body, target) = stage.step(json!([]));
    let elsewhere = format!("/elsewhere/{}", fresh());
    stage.receiver.plan(
        &target,
        [
            Reaction::Status(500),
            Reaction::Drop,
            Reaction::Redirect(stage.receiver.url(&elsewhere)),
            Reaction::RetryAfter(503, 1),
            Reaction::Status(202),
        ],
    );
    stage.accept(&body);
    let received = stage.receiver.wait_for(&target, 5);
    for one in &received {
        assert_eq!(one.id(), received[0].id());
        assert_eq!(one.body, received[0].body, "the same bytes every time");
        let _ = stage.callback(one);
    }
    assert_eq!(
        stage.receiver.received(&elsewhere).len(),
        0,
        "a redirect is not followed"
    );
    wait_for("the acknowledgement", || {
        (stage.status(&body)["callback"]["status"] == "delivered").then_some(())
    });
}

/// A receiver that is busy says when it wants the callback again; another server is not asked in its place.
#[test]
fn a_callback_comes_again_when_its_receiver_wants_it_and_nowhere_else() {
    const WAIT_S: u64 = 4;
    let stage = stage();
    let other = Receiver::start();
    let (body, target) = stage.step(json!([]));
    stage.receiver.plan(
        &target,
        [
            Reaction::Redirect(other.url("/")),
            Reaction::RetryAfter(429, WAIT_S),
            Reaction::Status(204),
        ],
    );
    stage.accept(&body);
    let received = stage.receiver.wait_for(&target, 3);
    let waited_ms = received[2].at_ms - received[1].at_ms;
    assert!(waited_ms >= WAIT_S * 1_000, "{waited_ms}");
    assert_eq!(other.received_anywhere().len(), 0, "a redirect is not followed");
}

#[test]
fn a_receiver_that_does_not_answer_is_asked_again() {
    let stage = stage();
    let (body, target) = stage.step(json!([]));
    stage.receiver.plan(&target, [Reaction::Hang, Reaction::Status(204)]);
    stage.accept(&body);
    let received = stage.receiver.wait_for(&target, 2);
    assert_eq!(received[0].id(), received[1].id());
    let status = wait_for("the acknowledgement", || {
        let status = stage.status(&body);
        (status["callback"]["status"] == "delivered").then_some(status)
    });
    assert_eq!(status["callback"]["tries"], 2);
}

#[test]
fn an_agent_that_hands_off_is_told_as_such() {
    let stage = stage();
    let next = json!({ "agent": "script-again", "reason": "too much" });
    let (body, target) = stage.step(json!([{ "hand_off": next }]));
    stage.accept(&body);
    let callback = stage.callback(&stage.receiver.wait_for(&target, 1)[0]);
    assert_eq!(callback["type"], "step.handed_off");
    assert_eq!(callback["data"]["answer"]["body"]["handoff"], next);
}

#[test]
fn the_first_step_of_a_handoff_calls_back() {
    let stage = stage();
    let (mut step, target) = stage.step(json!([]));
    let run = step.as_object_mut().and_then(|step| step.remove("run"));
    let body = json!({ "run": run, "from": "tests", "reason": "to be told", "step": step });
    let hand_off = |body: &Value| {
        let message = Message::post(&stage.gateway, "/agents/script/handoffs", body).idempotency_key("h1");
        message.signed(stage.gateway.key("first")).send()
    };
    let receipt = hand_off(&body).message(201, "handoff-receipt");
    let callback = stage.callback(&stage.receiver.wait_for(&target, 1)[0]);
    assert_eq!(callback["type"], "step.completed");
    for member in ["run", "step", "attempt", "idempotency_key", "agent"] {
        assert_eq!(callback["data"][member], receipt["step"][member], "{member}");
    }
    assert_eq!(callback["data"]["idempotency_key"], "h1");

    // Where it may not go, nothing is handed over.
    let mut elsewhere = body;
    elsewhere["run"] = fresh().into();
    elsewhere["step"]["callback"]["url"] = "http://127.0.0.1:1/".into();
    hand_off(&elsewhere).problem(422, "callback-not-allowed");
    let path = format!("/runs/{}", elsewhere["run"].as_str().expect("text"));
    stage.call("GET", &path, "first").send().problem(404, "run-unknown");
}

fn dead_letters(stage: &Stage, query: &str) -> Value {
    let message = Message::new(&stage.gateway, "GET", "/operator/dead-letters").query(query);
    let answer = message.signed(stage.gateway.key("operator")).send();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let letters = answer.json();
    assert_fits("dead-letters", &letters);
    letters
}

/// A step whose receiver wants nothing of it.
fn die(stage: &Stage) -> (Value, String, String) {
    let (body, target) = stage.step(json!([]));
    stage
        .receiver
        .plan(&target, [Reaction::Status(410), Reaction::Status(204)]);
    stage.accept(&body);
    let received = stage.receiver.wait_for(&target, 1);
    let id = received[0].id().to_owned();
    wait_for("the dead letter", || {
        let letters = dead_letters(stage, "limit=100");
        let letters = letters["dead_letters"].as_array().expect("letters").clone();
        letters.into_iter().find(|letter| letter["delivery"] == id.as_str())
    });
    (body, target, id)
}

#[test]
fn a_dead_letter_is_seen_and_sent_again_by_the_operator() {
    let stage = stage();
    let (body, target, id) = die(stage);
    assert_eq!(stage.status(&body)["callback"]["status"], "dead");
    let path = format!("/operator/dead-letters/{id}/resend");
    stage
        .call("POST", &path, "first")
        .send()
        .problem(403, "key-not-allowed");
    let resent = stage.call("POST", &path, "operator").send();
    assert_eq!(resent.status(), 200, "{}", resent.text());
    assert_fits("resent", &resent.json());
    let received = stage.receiver.wait_for(&target, 2);
    assert_eq!(received[1].id(), id);
    wait_for("the acknowledgement", || {
        (stage.status(&body)["callback"]["status"] == "delivered").then_some(())
    });
    stage
        .call("POST", &path, "operator")
        .send()
        .problem(404, "delivery-unknown");
    let letters = dead_letters(stage, "limit=100");
    let letters = letters["dead_letters"].as_array().expect("letters");
    assert!(letters.iter().all(|letter| letter["delivery"] != id.as_str()));
}

/// The letter of this delivery, as the operator sees it.
fn letter(stage: &Stage, id: &str) -> Option<Value> {
    let page = dead_letters(stage, "");
    let letters = page["dead_letters"].as_array().expect("letters");
    letters.iter().find(|letter| letter["delivery"] == id).cloned()
}

#[test]
fn a_dead_letter_says_what_was_to_be_told_to_whom() {
    let stage = stage();
    let (body, _, id) = die(stage);
    let letter = letter(stage, &id).expect("the letter");
    assert_eq!((&letter["run"], &letter["step"]), (&body["run"], &body["step"]));
    assert_eq!((&letter["orchestrator"], &letter["tries"]), (&json!("acme"), &json!(1)));
    assert_eq!(letter["url"], body["callback"]["url"]);
    let error = letter["last_error"].as_str().expect("text");
    assert!(error.starts_with("410"), "{error}");
}

/// An operator's key is for dead letters and for nothing else, and no other key is for them.
#[test]
fn an_operator_sees_no_run() {
    let stage = stage();
    let (body, _) = stage.step(json!([]));
    let _ = stage.invoke(&body, None).completed();
    let run = format!("/runs/{}", body["run"].as_str().expect("text"));
    for path in [run.clone(), format!("{run}/state"), format!("{run}/steps/s1")] {
        stage
            .call("GET", &path, "operator")
            .send()
            .problem(403, "key-not-allowed");
    }
    let again = Message::step(&stage.gateway, "script", &body).signed(stage.gateway.key("operator"));
    again.send().problem(403, "key-not-allowed");
    let list = Message::new(&stage.gateway, "GET", "/operator/dead-letters");
    list.send().problem(401, "signature-missing");
    for id in ["first", "callback-1"] {
        let answer = list.clone().signed(stage.gateway.key(id)).send();
        answer.problem(403, "key-not-allowed");
    }
}

#[test]
fn a_captured_resend_sends_nothing() {
    let stage = stage();
    let (_, target, id) = die(stage);
    stage.receiver.plan(&target, [Reaction::Status(410)]);
    let resend = stage.call("POST", &format!("/operator/dead-letters/{id}/resend"), "operator");
    let _ = resend.send().message(200, "resent");
    let _ = stage.receiver.wait_for(&target, 2);
    wait_for("the letter to be dead again", || {
        (letter(stage, &id)?["tries"] == 2).then_some(())
    });
    check_replayed(&resend.send());
    assert_eq!(letter(stage, &id).expect("the letter")["tries"], 2);
    assert_eq!(stage.receiver.received(&target).len(), 2);
}

#[test]
fn the_dead_letter_of_a_forgotten_run_is_sent_no_more() {
    let stage = stage();
    let (body, target, id) = die(stage);
    let path = format!("/runs/{}", body["run"].as_str().expect("text"));
    assert_eq!(stage.call("DELETE", &path, "first").send().status(), 204);
    let path = format!("/operator/dead-letters/{id}/resend");
    let resent = stage.call("POST", &path, "operator").send();
    resent.problem(404, "delivery-unknown");
    assert_eq!(letter(stage, &id), None);
    assert_eq!(stage.receiver.received(&target).len(), 1);
}

#[test]
fn the_operators_list_has_pages() {
    let stage = stage();
    let ids: Vec<_> = (0..2).map(|_| die(stage).2).collect();
    let (mut found, mut times) = (Vec::new(), Vec::new());
    let mut query = "limit=1".to_owned();
    loop {
        let page = dead_letters(stage, &query);
        let letters = page["dead_letters"].as_array().expect("letters");
        assert!(letters.len() <= 1);
        times.extend(
            letters
                .iter()
                .map(|letter| letter["dead_at_ms"].as_u64().expect("a time")),
        );
        found.extend(
            letters
                .iter()
                .map(|letter| letter["delivery"].as_str().expect("text").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => query = format!("limit=1&cursor={next}"),
            None => break,
        }
    }
    assert!(ids.iter().all(|id| found.contains(id)), "{ids:?} in {found:?}");
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "limit=1&limit=2"] {
        let message = Message::new(&stage.gateway, "GET", "/operator/dead-letters").query(query);
        message
            .signed(stage.gateway.key("operator"))
            .send()
            .problem(400, "path-invalid");
    }
}

#[test]
fn a_callback_goes_nowhere_else() {
    let stage = stage();
    let port = stage.receiver.origin().rsplit(':').next().expect("a port").to_owned();
    for url in [
        "https://elsewhere.example.com/".to_owned(),
        "http://127.0.0.1:1/".to_owned(),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://user@127.0.0.1:{port}/"),
        "http://10.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "/relative".to_owned(),
    ] {
        let (mut body, _) = stage.step(json!([]));
        body["callback"]["url"] = url.as_str().into();
        let problem = stage
            .invoke(&body, Some("respond-async"))
            .problem(422, "callback-not-allowed");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.starts_with("callback.url: "), "{url}: {detail}");
        let path = format!("/runs/{}", body["run"].as_str().expect("text"));
        stage.call("GET", &path, "first").send().problem(404, "run-unknown");
    }
}

#[test]
fn an_orchestrator_that_is_not_configured_is_not_called_back() {
    let stage = stage();
    let (body, _) = stage.step(json!([]));
    let message = Message::step(&stage.gateway, "script", &body).signed(stage.gateway.key("uncalled"));
    message.send().problem(422, "callback-not-allowed");
}

/// Nobody could verify it.
#[test]
fn an_orchestrator_without_a_key_for_callbacks_is_not_called_back() {
    let stage = stage();
    let (body, _) = stage.step(json!([]));
    let message = Message::step(&stage.gateway, "script", &body).signed(stage.gateway.key("keyless"));
    message.send().problem(422, "callback-not-allowed");
}

/// Outside of development: https alone, to names that the public DNS resolves, of the origins that are configured.
#[test]
fn a_strict_gateway_calls_back_by_https_to_public_names_alone() {
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("callback", "acme", "callback"),
        ]),
        orchestrators: vec![
            Configured::new("acme", "https://orchestrator.example.com").calling_back([
                "https://hooks.example.com".into(),
                "https://hooks.example.com:8443".into(),
            ]),
        ],
        variables: vec![("BATON_ENVIRONMENT", "staging".into())],
        history: false,
        ..Options::default()
    });
    let ask = |url: &str| {
        // A version that there is not: no step is executed, and nothing is sent anywhere.
        let body = json!({
            "run": fresh(), "step": "s1", "input": { "actions": [] }, "state_version": 7, "callback": { "url": url },
        });
        let message = Message::step(&gateway, "script", &body);
        message.signed(gateway.key("first")).send()
    };
    for url in [
        "https://hooks.example.com/baton?x=1",
        "HTTPS://Hooks.Example.com:443/",
        "https://hooks.example.com:8443",
    ] {
        ask(url).problem(412, "state-conflict");
    }
    for (url, why) in [
        ("http://hooks.example.com/", "https"),
        ("https://hooks.example.com:444/", "not allowed"),
        ("https://hooks.example.com./", "host name"),
        ("https://hooks.example.com.evil.org/", "not allowed"),
        ("https://hooks.example.com@evil.org/", "user"),
        ("https://hooks.example.com/#x", "fragment"),
        ("https://hooks.example.com\\@evil.org/", "character"),
        ("https://h\u{f6}\u{f6}ks.example.com/", "character"),
        ("https://hooks.example.com/a b", "character"),
        ("https://127.0.0.1/", "loopback"),
        ("https://2130706433/", "IP address"),
        ("https://0x7f.0.0.1/", "IP address"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:10.0.0.1]/", "address"),
        ("https://10.1.2.3/", "private"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://192.168.0.1/", "private"),
        ("https://100.64.0.1/", "address"),
        ("https://0.0.0.0/", "address"),
        ("https://224.0.0.1/", "address"),
        ("https://[fd00::1]/", "address"),
        ("https://[fe80::1]/", "link-local"),
        ("https://localhost/", "localhost"),
        ("https://hooks/", "single label"),
        ("https://hooks.local/", ".local"),
        ("https://metadata.google.internal/", ".internal"),
        ("https://a.localhost/", ".localhost"),
        ("ftp://hooks.example.com/", "scheme"),
        ("hooks.example.com/", "absolute"),
        ("//hooks.example.com/", "absolute"),
        ("https:///", "host name"),
    ] {
        let problem = ask(url).problem(422, "callback-not-allowed");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(why), "{url}: {detail}");
    }
    let long = format!("https://hooks.example.com/{}", "x".repeat(2_048));
    ask(&long).problem(422, "schema-violated");
}

#[test]
fn loopback_is_for_development_alone() {
    let receiver = Receiver::start();
    let gateway = Gateway::start_misconfigured(Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("callback", "acme", "callback"),
        ]),
        orchestrators: vec![
            Configured::new("acme", "https://orchestrator.example.com").calling_back([receiver.origin()]),
        ],
        variables: vec![("BATON_ENVIRONMENT", "production".into())],
        history: false,
        ..Options::default()
    });
    let alarm = wait_for("the alarm", || {
        gateway.events().into_iter().find(|event| event["event"] == "alarm")
    });
    let message = alarm["message"].as_str().expect("text");
    assert!(
        message.contains("BATON_ORCHESTRATORS") && message.contains("https"),
        "{message}"
    );
}
