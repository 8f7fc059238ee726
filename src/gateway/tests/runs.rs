//! Runs: their state, handoffs, and steps in the background.

use super::*;
use crate::agent::{Cancellation, Journal, LocalBoxFuture};
use crate::invocation::Executor;
use crate::run::work::{self, Work};
use crate::run::{Moment, Question as _, RunName};

impl Bench {
    /// Does what the object of this run has to do, until nothing is due.
    fn work(&self, run: &str) -> usize {
        let name = RunName::new("o", run);
        let mut done = 0;
        loop {
            let now_ms = self.platform.now_ms();
            let next = self
                .platform
                .with(&name, |storage| work::next(storage, "object", now_ms, 0));
            let Some(Work::Execute(execution)) = next.expect("no fault") else {
                return done;
            };
            let journal = Journal::default();
            let executor = Executor {
                team: &self.team,
                host: &self.platform,
                cancellation: &Never,
                journal: &journal,
                ledger: None,
            };
            let executed = block_on(executor.execute(*execution));
            let request = executed.commit_request();
            let moment = Moment {
                now_ms,
                random: 0,
                claimant: "object",
            };
            self.platform
                .with(&name, |storage| request.answer(storage, moment))
                .expect("no fault");
            done += 1;
        }
    }
}

struct Never;

impl Cancellation for Never {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn put(run: &str, state: &str, name: HeaderName, expected: &str) -> Call {
    let mut call = Call::new("PUT", &format!("/runs/{run}/state")).with(name, expected);
    call.body = state.into();
    call
}

fn header(response: &http::Response<Vec<u8>>, name: HeaderName) -> String {
    let field = response.headers().get(&name).unwrap_or_else(|| panic!("no {name}"));
    field.to_str().expect("text").to_owned()
}

#[test]
fn a_state_is_written_read_and_written_again() {
    let bench = Bench::new();
    let (first, _) = bench.send(&put("r%2F1", r#"{ "n": 1 }"#, IF_NONE_MATCH, "*"));
    assert_eq!(first.status(), 201);
    let (read, _) = bench.send(&Call::new("GET", "/runs/r%2F1/state"));
    assert_eq!(
        (read.status().as_u16(), read.body().as_slice()),
        (200, br#"{ "n": 1 }"#.as_slice())
    );
    assert_eq!(header(&read, ETAG), header(&first, ETAG));
    let (second, _) = bench.send(&put("r%2F1", "2", IF_MATCH, &header(&first, ETAG)));
    assert_eq!(second.status(), 200);
    let stale = put("r%2F1", "3", IF_MATCH, &header(&first, ETAG));
    bench.check(&stale, 412, "state-conflict");
    let (conflict, _) = bench.send(&stale);
    assert_eq!(header(&conflict, ETAG), header(&second, ETAG));
    let (_, problem, _) = bench.call(&stale);
    assert_eq!(problem["current_version"], 2);
    bench.check(&Call::new("GET", "/runs/r%2F1/state?version=3"), 404, "state-unknown");
    bench.check(&Call::new("GET", "/runs/r%2F1/state?version=x"), 400, "path-invalid");
    let (_, run, _) = bench.call(&Call::new("GET", "/runs/r%2F1"));
    assert_eq!((&run["run"], &run["state"]["version"]), (&"r/1".into(), &2.into()));
}

#[test]
fn a_write_must_say_what_it_replaces() {
    let bench = Bench::new();
    let mut call = Call::new("PUT", "/runs/r/state");
    call.body = "1".into();
    bench.check(&call, 428, "precondition-required");
    bench.check(&put("r", "1", IF_NONE_MATCH, "\"1-x\""), 400, "precondition-invalid");
    bench.check(&put("r", "{", IF_NONE_MATCH, "*"), 400, "json-malformed");
    bench.check(&put("%20%0A", "1", IF_NONE_MATCH, "*"), 400, "path-invalid");
}

#[test]
fn a_captured_write_is_refused() {
    let bench = Bench::new();
    let (request, _) = bench.sign(&put("r", "1", IF_NONE_MATCH, "*"));
    assert_eq!(bench.handle(&request).0.status(), 201);
    let (_, record) = bench.handle(&request);
    assert_eq!(record.problem, Some("signature-replayed"));
    let (delete, _) = bench.sign(&Call::new("DELETE", "/runs/r"));
    assert_eq!(bench.handle(&delete).0.status(), 204);
    // The run is forgotten, the nonces are not.
    assert_eq!(bench.handle(&request).1.problem, Some("signature-replayed"));
    assert_eq!(bench.handle(&delete).1.problem, Some("signature-replayed"));
}

#[test]
fn unknown_runs_and_steps() {
    let bench = Bench::new();
    bench.check(&Call::new("GET", "/runs/r"), 404, "run-unknown");
    bench.check(&Call::new("GET", "/runs/r/state"), 404, "state-unknown");
    bench.check(&Call::new("GET", "/runs/r/steps/s"), 404, "step-unknown");
    bench.check(&Call::new("POST", "/runs/r/steps/s/cancel"), 404, "step-unknown");
    bench.call(&Call::step(step()));
    bench.check(&Call::new("GET", "/runs/r/steps/t"), 404, "step-unknown");
    let (_, status, _) = bench.call(&Call::new("GET", "/runs/r/steps/s"));
    let schema = crate::wire::compiled("step-status").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&status, 9), []);
    assert_eq!(status["answer"]["body"]["status"], "completed");
}

#[test]
fn a_step_in_the_background_is_accepted_then_executed_by_its_run() {
    let bench = Bench::new();
    let call = Call::step(step()).with(HeaderName::from_static("prefer"), "respond-async");
    let (accepted, _) = bench.send(&call);
    assert_eq!(accepted.status(), 202);
    assert_eq!(header(&accepted, http::header::LOCATION), "/runs/r/steps/s");
    assert_eq!(bench.send(&call).0.status(), 202);
    bench.check(&Call::step(step()), 409, "step-in-flight");
    assert_eq!(bench.work("r"), 1);
    let (status, outcome, record) = bench.call(&call);
    assert_eq!((status, outcome["status"].as_str()), (200, Some("completed")));
    assert!(record.replayed);
    assert_eq!(bench.work("r"), 0);
}

#[test]
fn an_input_goes_to_the_runs_object_only_where_that_executes_it() {
    let sent = |prefer: &str| {
        let bench = Bench::new();
        bench.send(&Call::step(step()).with(HeaderName::from_static("prefer"), prefer));
        bench
            .platform
            .asked
            .take()
            .iter()
            .any(|asked| asked.contains("I cannot log in"))
    };
    assert!(sent("respond-async"));
    assert!(!sent("return=minimal"));
}

#[test]
fn a_key_reads_and_cancels_steps_of_its_own_agents_alone() {
    let bench = Bench::new();
    bench.call(&Call::step(step()));
    bench.signer.set("narrow");
    bench.check(&Call::new("GET", "/runs/r/steps/s"), 403, "key-not-allowed");
    bench.check(&Call::new("POST", "/runs/r/steps/s/cancel"), 403, "key-not-allowed");
    bench.check(&Call::new("GET", "/runs/r/steps/t"), 404, "step-unknown");
}

#[test]
fn a_callback_goes_where_the_operator_allows_it() {
    let bench = Bench::new();
    let mut body = step();
    body["callback"] = json!({"url": "https://elsewhere.example.com/"});
    bench.check(&Call::step(body), 422, "callback-not-allowed");
}

#[cfg(feature = "fixtures")]
mod scripted {
    use super::*;
    use crate::telemetry::event::agent_span;
    use crate::telemetry::trace_context::TraceContext;

    fn script(agent: &str, step: &str, actions: Value) -> Call {
        let mut call = Call::step(json!({"run": "r", "step": step, "input": {"actions": actions}}));
        call.path = format!("/agents/{agent}/steps");
        call
    }

    fn followed(agent: &str, actions: Value) -> Call {
        let mut body = json!({"run": "r", "step": "s", "input": {"actions": actions}, "follow_handoffs": true});
        body["state"] = json!({"count": 1});
        let mut call = Call::step(body);
        call.path = format!("/agents/{agent}/steps");
        call
    }

    fn hand_off(agent: &str, actions: Value) -> Value {
        json!({"hand_off": {"agent": agent, "reason": "because", "input": {"actions": actions}}})
    }

    #[test]
    fn a_new_state_is_kept_with_the_outcome_or_not_at_all() {
        let bench = Bench::new();
        let (_, outcome, _) = bench.call(&script("script", "s1", json!([{"replace_state": {"count": 1}}])));
        assert_eq!((&outcome["state_version"], outcome.get("state")), (&1.into(), None));
        let (_, outcome, _) = bench.call(&script("script", "s2", json!([{"merge_state": {"x": 2}}])));
        assert_eq!(outcome["output"]["state"], json!({"count": 1}));
        assert_eq!(outcome["state_version"], 2);
        let failing = json!([{"replace_state": {"count": 9}}, {"fail": {"code": "no"}}]);
        let (_, outcome, _) = bench.call(&script("script", "s3", failing));
        assert_eq!(outcome["status"], "failed");
        let breaking = json!([{"replace_state": {"count": "many"}}]);
        let (_, outcome, _) = bench.call(&script("script", "s4", breaking));
        assert_eq!(outcome["error"]["code"], "output-schema-violated");
        let (read, _) = bench.send(&Call::new("GET", "/runs/r/state"));
        assert_eq!(read.body().as_slice(), br#"{"count":1,"x":2}"#);
    }

    #[test]
    fn a_state_by_version_must_be_the_current_one() {
        let bench = Bench::new();
        bench.send(&put("r", r#"{"count":1}"#, IF_NONE_MATCH, "*"));
        let by_version = |version: u64| {
            let mut call = script("script", "s", json!([{"merge_state": {"x": 1}}]));
            let mut body: Value = serde_json::from_str(&call.body).expect("JSON");
            body["state_version"] = version.into();
            call.body = body.to_string();
            call
        };
        bench.check(&by_version(2), 412, "state-conflict");
        let (_, outcome, _) = bench.call(&by_version(1));
        assert_eq!(outcome["state_version"], 2);
        let mut both = by_version(1);
        both.body = both.body.replace("\"state_version\"", "\"state\":{},\"state_version\"");
        bench.check(&both, 422, "schema-violated");
    }

    #[test]
    fn a_state_that_was_brought_along_goes_back() {
        let bench = Bench::new();
        let mut call = script("script", "s", json!([{"merge_state": {"x": 1}}]));
        call.body = call.body.replacen('{', r#"{"state":{"count":7},"#, 1);
        let (_, outcome, _) = bench.call(&call);
        assert_eq!(outcome["state"], json!({"count": 7, "x": 1}));
        assert_eq!(outcome.get("state_version"), None);
        bench.check(&Call::new("GET", "/runs/r/state"), 404, "state-unknown");
    }

    #[test]
    fn handoffs_are_answered_or_followed() {
        let bench = Bench::new();
        let (_, outcome, _) = bench.call(&script("script", "s0", json!([hand_off("script-again", json!([]))])));
        assert_eq!(outcome["status"], "handed_off");
        assert_eq!(outcome["handoff"]["agent"], "script-again");

        let second = hand_off("script-strict", json!([{"merge_state": {"count": 3}}]));
        let first = json!([{"merge_state": {"count": 2}}, hand_off("script-again", json!([second]))]);
        let (_, outcome, _) = bench.call(&followed("script", first));
        assert_eq!(outcome["status"], "completed", "{outcome}");
        assert_eq!(outcome["state"], json!({"count": 3}));
        assert_eq!(outcome["output"]["state"], json!({"count": 2}));
        let hops: Vec<_> = outcome["hops"]
            .as_array()
            .expect("hops")
            .iter()
            .map(|hop| &hop["agent"])
            .collect();
        assert_eq!(hops, ["script", "script-again"]);
        let span = |value: &Value| TraceContext::parse(value.as_str().expect("text")).expect("a traceparent");
        let (step, first) = (
            span(&outcome["trace"]["traceparent"]),
            span(&outcome["hops"][0]["traceparent"]),
        );
        assert_eq!(first, agent_span(&step, 1, 0));
        assert_eq!(outcome["hops"][0]["to"], "script-again");
        assert_eq!(outcome["trace"]["links"][0], outcome["hops"][1]["traceparent"]);
        assert_eq!(outcome["trace"]["links"].as_array().map(Vec::len), Some(2));
        let schema = crate::wire::compiled("step-outcome").expect("the schema");
        assert_eq!(schema.get().expect("compiles").violations(&outcome, 9), []);
    }

    fn check_failure(call: Call, code: &str) {
        let (_, outcome, _) = Bench::new().call(&call);
        assert_eq!(outcome["error"]["code"], code, "{outcome}");
    }

    #[test]
    fn handoffs_that_lead_nowhere() {
        check_failure(
            followed("script", json!([hand_off("echo", json!([]))])),
            "handoff-not-declared",
        );
        let back = hand_off("script", json!([]));
        check_failure(
            followed("script", json!([hand_off("script-again", json!([back]))])),
            "handoff-cycle",
        );
        let wrong_input = json!([{"hand_off": {"agent": "triage", "reason": "r"}}]);
        check_failure(followed("script", wrong_input), "handoff-input-violated");
        let strict = hand_off("script-strict", json!([]));
        let without_count = json!([{"replace_state": {}}, hand_off("script-again", json!([strict]))]);
        check_failure(followed("script", without_count), "handoff-state-violated");
    }

    #[test]
    fn hops_at_and_over_the_limit() {
        use crate::invocation::HOPS_MAX;
        let check = |agents: usize, expected: &str| {
            let mut bench = Bench::new();
            let pattern = bench.team.agent("script").expect("the fixture").clone();
            bench.team.agents.extend((0..agents).map(|index| {
                let mut agent = pattern.clone();
                agent.id = format!("a{index}");
                agent.handoffs = vec![format!("a{}", index + 1)];
                agent
            }));
            bench.team.agents.sort_by(|one, other| one.id.cmp(&other.id));
            let chain = (1..agents).rev().fold(json!([]), |rest, index| {
                json!([{"hand_off": {"agent": format!("a{index}"), "reason": "r", "input": {"actions": rest}}}])
            });
            let (_, outcome, _) = bench.call(&followed("a0", chain));
            let found = outcome["error"]["code"].as_str().unwrap_or("none");
            assert_eq!(found, expected, "{outcome}");
        };
        check(HOPS_MAX + 1, "none");
        check(HOPS_MAX + 2, "handoff-hops-exceeded");
    }

    #[test]
    fn a_run_is_handed_over_with_its_state_and_a_first_step() {
        let bench = Bench::new();
        let handoff = |body: Value| Call {
            body: body.to_string(),
            key: "h1".into(),
            ..Call::new("POST", "/agents/script-strict/handoffs")
        };
        let body = json!({"run": "r", "from": "me", "reason": "your turn", "state": {"count": 1},
            "step": {"step": "s", "input": {"actions": []}}});
        let (status, receipt, _) = bench.call(&handoff(body.clone()));
        assert_eq!(status, 201, "{receipt}");
        let schema = crate::wire::compiled("handoff-receipt").expect("the schema");
        assert_eq!(schema.get().expect("compiles").violations(&receipt, 9), []);
        assert_eq!(
            (&receipt["version"], &receipt["step"]["status"]),
            (&1.into(), &"accepted".into())
        );
        let (status, again, record) = bench.call(&handoff(body));
        assert_eq!((status, &again["handoff"]), (200, &receipt["handoff"]));
        assert!(!record.replayed);
        assert_eq!(bench.work("r"), 1);
        // The run is bound: its state has to fit.
        bench.check(&put("r", "{}", IF_MATCH, "*"), 422, "schema-violated");
        let (written, _) = bench.send(&put("r", r#"{"count":5}"#, IF_MATCH, "*"));
        assert_eq!(written.status(), 200);
        let other = json!({"run": "r", "from": "me", "reason": "your turn", "state": {"count": 2}});
        bench.check(&handoff(other), 422, "idempotency-key-reused");
    }

    #[test]
    fn a_handoff_of_a_state_that_does_not_fit_is_refused() {
        let bench = Bench::new();
        bench.send(&put("r", r#"{"count":"no"}"#, IF_NONE_MATCH, "*"));
        let handoff = |key: &str, version: Option<u64>| {
            let mut body = json!({"run": "r", "from": "me", "reason": "your turn"});
            if let Some(version) = version {
                body["version"] = version.into();
            }
            Call {
                body: body.to_string(),
                key: key.into(),
                ..Call::new("POST", "/agents/script-strict/handoffs")
            }
        };
        bench.check(&handoff("h1", None), 422, "schema-violated");
        bench.check(&handoff("h2", Some(2)), 412, "state-conflict");
        bench.send(&put("r", r#"{"count":1}"#, IF_MATCH, "*"));
        let (status, receipt, _) = bench.call(&handoff("h3", Some(2)));
        assert_eq!((status, &receipt["version"]), (201, &2.into()));
    }

    #[test]
    fn a_retryable_failure_in_the_background_is_executed_again() {
        let bench = Bench::new();
        let failing = json!([{"fail": {"code": "busy", "retry_after_ms": 10}}]);
        let call = script("script-again", "s", failing).with(HeaderName::from_static("prefer"), "respond-async");
        assert_eq!(bench.send(&call).0.status(), 202);
        for executions in 1..=3 {
            assert_eq!(bench.work("r"), 1, "execution {executions}");
            bench.platform.now_ms.set(bench.platform.now_ms.get() + 1_000);
        }
        assert_eq!(bench.work("r"), 0);
        let (_, status, _) = bench.call(&Call::new("GET", "/runs/r/steps/s"));
        assert_eq!((&status["status"], &status["executions"]), (&"ended".into(), &3.into()));
        assert_eq!(status["answer"]["body"]["error"]["code"], "busy");
    }
}
