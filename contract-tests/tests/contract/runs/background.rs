//! Steps that nobody waits for, and their cancellation.

use std::thread;

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use super::calls::{
    assert_no_state, cancel, cancel_of, described, ended, forget, fresh_script, in_background, path, preferring,
    scripted, status, status_of, wait_until_running, while_waiting,
};
use crate::support::{invoke, invoke_as, key};

/// So many attempts of a run may be under way at once.
const BACKGROUND_MAX: usize = 32;

/// Starts a step, and gives its status.
#[track_caller]
fn start(agent: &str, body: &Value) -> Value {
    in_background(agent, body).send().message(202, "step-status")
}

#[test]
fn a_step_is_accepted_with_the_place_where_its_answer_will_be() {
    let run = format!("{} a/b?\u{e4}", fresh());
    let body = scripted(&run, "s %/1", json!([{ "sleep_ms": 700 }]));
    let accepted = preferring("respond-async", "script", &body)
        .idempotency_key("k1")
        .signed(key("first"))
        .send();
    let status = accepted.message(202, "step-status");
    assert_ne!(status["status"], "ended");
    assert_eq!(
        (&status["run"], &status["step"], &status["attempt"]),
        (&json!(run), &json!("s %/1"), &json!(1))
    );
    assert_eq!(
        (&status["idempotency_key"], &status["agent"]),
        (&json!("k1"), &json!("script"))
    );
    assert_eq!(status["background"], true);
    assert_eq!(accepted.header("retry-after"), Some("1"));
    assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
    let location = accepted.header("location").expect("a place").to_owned();
    assert_eq!(location, path(&run, "/steps/s%20%25%2F1"));

    let at = Message::new(&shared(), "GET", &location);
    let ended = wait_for("the step's end", || {
        let answer = at.clone().signed(key("first")).send();
        let status = answer.message(200, "step-status");
        let over = status["status"] == "ended";
        assert_eq!(answer.header("retry-after"), if over { None } else { Some("1") });
        over.then_some(status)
    });
    assert_eq!(
        (&ended["executions"], &ended["answer"]["status"]),
        (&json!(1), &json!(200))
    );
    let outcome = &ended["answer"]["body"];
    assert_fits("step-outcome", outcome);
    assert_eq!(outcome["status"], "completed");
    let times = ["accepted_at_ms", "started_at_ms", "ended_at_ms"].map(|name| ended[name].as_u64().expect(name));
    assert!(times.is_sorted(), "{ended}");
}

#[test]
fn who_asks_may_wait_for_the_end() {
    let body = fresh_script(json!([{ "sleep_ms": 1_500 }]));
    let _ = start("script", &body);
    for (wanted, applied) in [("wait=99", "wait=30"), ("wait=5", "wait=5")] {
        let answer = status_of(&body).header("prefer", wanted).signed(key("first")).send();
        assert_eq!(answer.message(200, "step-status")["status"], "ended");
        assert_eq!(answer.header("preference-applied"), Some(applied));
        assert_eq!(answer.header("retry-after"), None);
    }

    let long = fresh_script(json!(["await_cancellation"]));
    let _ = start("script", &long);
    let answer = status_of(&long).header("prefer", "wait=1").signed(key("first")).send();
    assert_ne!(answer.message(200, "step-status")["status"], "ended");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let _ = cancel(&long);
}

#[test]
fn a_step_that_ends_in_time_is_answered_at_once() {
    let short = fresh_script(json!([{ "sleep_ms": 200 }]));
    let answer = preferring("respond-async, wait=20", "script", &short).send();
    let outcome = answer.completed();
    assert!(!answer.is_replayed());
    assert_eq!(ended(&short)["answer"]["body"], outcome);

    let long = fresh_script(json!(["await_cancellation"]));
    let answer = preferring("respond-async, wait=1", "script", &long).send();
    let _ = answer.message(202, "step-status");
    assert_eq!(answer.header("location"), Some(status_of(&long).path.as_str()));
    let _ = cancel(&long);
}

#[test]
fn the_same_call_again_is_the_same_step() {
    let body = fresh_script(json!([{ "sleep_ms": 1_500 }]));
    let first = start("script", &body);
    let again = start("script", &body);
    assert_eq!(
        (&again["accepted_at_ms"], &again["attempt"]),
        (&first["accepted_at_ms"], &first["attempt"])
    );
    // Who wants the answer now has to come back.
    let plain = invoke("script", &body);
    plain.problem(409, "step-in-flight");
    assert!(plain.header("retry-after").is_some());
    let mut other = body.clone();
    other["input"]["padding"] = "x".into();
    in_background("script", &other)
        .send()
        .problem(422, "idempotency-key-reused");

    let ended = ended(&body);
    assert_eq!(ended["executions"], 1);
    for answer in [in_background("script", &body).send(), invoke("script", &body)] {
        assert!(answer.is_replayed());
        assert_eq!(answer.completed(), ended["answer"]["body"]);
    }
}

#[test]
fn a_retryable_failure_is_executed_again_as_often_as_the_agent_says() {
    let busy = json!([{ "fail": { "code": "busy", "retry_after_ms": 10 } }]);
    let body = fresh_script(busy.clone());
    let _ = start("script-again", &body);
    let failed = ended(&body);
    assert_eq!(failed["executions"], 3);
    assert_eq!(failed["answer"]["body"]["error"]["code"], "busy");
    assert_eq!(failed["answer"]["body"]["error"]["retryable"], true);
    assert_eq!(failed["attempt"], 1);
    // A further attempt is its caller's.
    let mut further = body.clone();
    further["attempt"] = 2.into();
    let answer = invoke_as(&fresh(), "script-again", &further);
    assert_eq!(answer.outcome()["attempt"], 2);
    // Its caller waits, and would wait for longer.
    assert_eq!(status(&body)["executions"], 1);

    for (agent, actions) in [
        ("script-again", json!([{ "fail": { "code": "no" } }])),
        ("script", busy),
    ] {
        let body = fresh_script(actions);
        let _ = start(agent, &body);
        assert_eq!(ended(&body)["executions"], 1, "{agent}");
    }
}

#[test]
fn a_deadline_that_passes_is_the_stored_answer() {
    let mut body = fresh_script(json!([{ "sleep_ms": 5_000 }]));
    body["deadline_ms"] = 100.into();
    let _ = start("script", &body);
    let ended = ended(&body);
    assert_eq!(ended["answer"]["status"], 504);
    assert_fits("problem", &ended["answer"]["body"]);
    assert_eq!(ended["answer"]["body"]["code"], "deadline-exceeded");
    let answer = invoke("script", &body);
    answer.problem_of_stored(504, "deadline-exceeded");
    assert_eq!(answer.json(), ended["answer"]["body"]);
    assert!(answer.is_signed());
}

#[track_caller]
fn check_cancelled(status: &Value) {
    assert_eq!(status["status"], "ended", "{status}");
    assert_eq!(status["answer"]["status"], 200);
    let outcome = &status["answer"]["body"];
    assert_fits("step-outcome", outcome);
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
}

/// What the cancelled agent still answers is kept beside the answer.
#[track_caller]
fn check_late_answer(body: &Value) {
    let late = wait_for("the late answer", || status(body).get("late_answer").cloned());
    assert_eq!(late["status"], 200);
    assert_fits("step-outcome", &late["body"]);
    assert_eq!(late["body"]["output"]["cancelled"], true, "{late}");
    check_cancelled(&status(body));
}

#[test]
fn a_step_in_the_background_is_cancelled_at_once() {
    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, "await_cancellation"]));
    let _ = start("script", &body);
    wait_until_running(&body);
    let cancelled = cancel(&body);
    check_cancelled(&cancelled);
    let again = cancel(&body);
    assert_eq!(
        (&again["answer"], &again["ended_at_ms"]),
        (&cancelled["answer"], &cancelled["ended_at_ms"])
    );
    check_late_answer(&body);
    // It has one end, and that wrote nothing.
    let answer = invoke("script", &body);
    assert!(answer.is_replayed());
    assert_eq!(answer.outcome(), cancelled["answer"]["body"]);
    assert_no_state(body["run"].as_str().expect("text"));
}

#[test]
fn who_waits_for_a_step_that_is_cancelled_is_told() {
    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, "await_cancellation"]));
    let answer: Answer = while_waiting("script", &body, || {
        assert_eq!(status(&body)["background"], false);
        check_cancelled(&cancel(&body));
    });
    assert_eq!(answer.outcome()["status"], "cancelled");
    check_late_answer(&body);
    assert_no_state(body["run"].as_str().expect("text"));
}

#[test]
fn a_step_that_waits_to_be_executed_again_can_be_cancelled() {
    let body = fresh_script(json!([{ "fail": { "code": "busy", "retry_after_ms": 600_000 } }]));
    let _ = start("script-again", &body);
    wait_for("the first execution's end", || {
        let status = status(&body);
        (status["status"] == "accepted" && status["executions"] == 1).then_some(())
    });
    check_cancelled(&cancel(&body));
}

/// An agent that does not look whether it is cancelled is dropped after a while, and has nothing more to say.
#[test]
fn an_agent_that_does_not_listen_is_dropped() {
    let body = fresh_script(json!([{ "sleep_ms": 15_000 }]));
    let answer = in_background("script", &body).send();
    let request_id = answer.header("x-request-id").expect("a request id");
    wait_until_running(&body);
    check_cancelled(&cancel(&body));
    wait_for("the execution's end in the log", || {
        let mut events = shared().events().into_iter();
        let end = events.find(|event| event["event"] == "execution" && event["request_id"] == request_id)?;
        assert_eq!(
            (&end["outcome"], &end["commit"]),
            (&json!("cancelled"), &json!("cancelled"))
        );
        Some(())
    });
    let status = status(&body);
    assert_eq!(status.get("late_answer"), None, "{status}");
}

/// However a step and its cancellation meet, it has one end, and its state is that of this end.
#[test]
fn a_step_that_ends_while_it_is_cancelled_has_one_end() {
    let run = fresh();
    let mut completed = 0;
    for index in 0..16 {
        let actions = json!([{ "merge_state": { "count": index } }, { "sleep_ms": index % 4 * 15 }]);
        let body = scripted(&run, &format!("s{index}"), actions);
        let _ = start("script", &body);
        let told = thread::scope(|scope| {
            let cancels: Vec<_> = (0..2).map(|_| scope.spawn(|| cancel(&body))).collect();
            let told = cancels.into_iter().map(|cancel| cancel.join().expect("a status"));
            told.collect::<Vec<_>>()
        });
        let answer = invoke("script", &body);
        assert!(answer.is_replayed());
        let outcome = answer.outcome();
        for status in told {
            assert_eq!(status["status"], "ended");
            assert_eq!(status["answer"]["body"], outcome);
        }
        match outcome["status"].as_str() {
            Some("completed") => {
                completed += 1;
                assert_eq!(outcome["state_version"], completed, "{outcome}");
            }
            other => assert_eq!(other, Some("cancelled"), "{outcome}"),
        }
    }
    let versions = described(&run)["versions"].as_array().map(Vec::len);
    assert_eq!(versions, Some(completed));
}

#[test]
fn of_the_same_calls_at_once_one_is_executed() {
    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, { "sleep_ms": 400 }]));
    let accepted = thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| in_background("script", &body).send()))
            .collect();
        let answers = calls.into_iter().map(|call| call.join().expect("an answer"));
        answers.collect::<Vec<_>>()
    });
    let ended = ended(&body);
    for answer in accepted {
        match answer.status() {
            200 => assert_eq!(answer.completed(), ended["answer"]["body"]),
            _ => assert_eq!(
                answer.message(202, "step-status")["accepted_at_ms"],
                ended["accepted_at_ms"]
            ),
        }
    }
    assert_eq!(ended["executions"], 1);
    assert_eq!(ended["answer"]["body"]["state_version"], 1);
}

#[test]
fn a_step_that_has_ended_is_not_cancelled() {
    let body = fresh_script(json!([]));
    let outcome = invoke("script", &body).completed();
    let before = status(&body);
    assert_eq!(cancel(&body), before);
    assert_eq!(before["answer"]["body"], outcome);
    assert_eq!(status(&body), before);
}

#[test]
fn a_step_that_there_is_not_is_neither_shown_nor_cancelled() {
    let body = fresh_script(json!([]));
    let problems = |body: &Value, id: &str| {
        status_of(body).signed(key(id)).send().problem(404, "step-unknown");
        cancel_of(body).signed(key(id)).send().problem(404, "step-unknown");
    };
    problems(&body, "first");
    let _ = invoke("script", &body).completed();
    problems(&scripted(body["run"].as_str().expect("text"), "s2", json!([])), "first");
    problems(&body, "other");
    // A key for one agent knows nothing of another's steps.
    for message in [status_of(&body), cancel_of(&body)] {
        message.signed(key("narrow")).send().problem(403, "key-not-allowed");
    }
    cancel_of(&body).send().problem(401, "signature-missing");
}

#[test]
fn a_run_has_so_many_steps_under_way_and_no_more() {
    let run = fresh();
    let step = |index: usize| scripted(&run, &format!("s{index}"), json!(["await_cancellation"]));
    for index in 0..BACKGROUND_MAX {
        let _ = start("script", &step(index));
    }
    let answer = in_background("script", &step(BACKGROUND_MAX)).send();
    let problem = answer.problem(429, "run-busy");
    assert_eq!(problem["retryable"], true);
    assert_eq!(answer.header("retry-after"), Some("1"));
    check_cancelled(&cancel(&step(0)));
    let _ = start("script", &step(BACKGROUND_MAX));
    let _ = forget(&run);
}
