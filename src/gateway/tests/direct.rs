//! Direct calls, with an orchestrator that is a function: what each of its answers comes to.

use http::header::AUTHORIZATION;

use super::*;
use crate::breaker::{End, FRESH_MS, Hold, OPEN_MS, SAMPLES_MIN, Word, guard};
use crate::config::Orchestrator;
use crate::direct;
use crate::platform::Unanswered;
use crate::signature::Origins;

const URL: &str = "https://o.example";

/// A gateway with an orchestrator, and a customer.
pub(super) struct World {
    pub(super) bench: Bench,
    api_key: String,
}

/// What the orchestrator answers: the status and the body. It signs it.
pub(super) type Says = fn(&Value) -> (u16, Value);

impl World {
    pub(super) fn new() -> Self {
        let mut bench = Bench::new();
        let secret = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let keys = json!([
            {"id": "operator", "orchestrator": "o", "purposes": ["operate"], "secret": secret},
            {"id": "register", "orchestrator": "o", "purposes": ["register"], "secret": secret},
            {"id": "k", "orchestrator": "o", "purposes": ["invoke"], "secret": secret},
        ]);
        bench.config.keyring = Keyring::parse(&keys.to_string()).expect("keys");
        bench.config.orchestrators = vec![Orchestrator {
            telemetry_url: None,
            id: "o".into(),
            url: URL.into(),
            callback_origins: Vec::new(),
            fallback_when_refused: false,
            max_concurrent_steps: None,
        }];
        let api_key = String::new();
        let mut world = Self { bench, api_key };
        world.becomes_another_customer();
        world
    }

    /// Whoever asks from now on has an API key of its own. Answers the key's id.
    pub(super) fn becomes_another_customer(&mut self) -> String {
        let create = Call {
            body: json!({"name": "me"}).to_string(),
            ..Call::new("POST", "/operator/api-keys")
        };
        let signer = self.bench.signer.replace("operator");
        let (_, made, _) = self.bench.call(&create);
        self.bench.signer.set(signer);
        let text = |member: &str| made[member].as_str().expect("text").to_owned();
        self.api_key = text("api_key");
        text("id")
    }

    /// The orchestrator is there, and says this to every run that is handed on.
    pub(super) fn with(self, says: Says) -> Self {
        let keyring = self.bench.config.keyring.clone();
        let orchestrator = move |request: &http::Request<Vec<u8>>| {
            let host = request.uri().host().expect("a host");
            let origins = Origins::parse(&format!("https://{host}")).expect("an origin");
            let policy = Policy {
                keyring: &keyring,
                origins: &origins,
                purpose: Purpose::Register,
                idempotency: true,
                preconditions: false,
                webhook: None,
                now_s: NOW_S,
            };
            let view = RequestView::of(request).expect("a request");
            let caller = signature::verify(&view, request.body(), &policy).expect("signed by the gateway");
            let run = serde_json::from_slice(request.body()).expect("JSON");
            let (status, body) = says(&run);
            let mut response = http::Response::new(body.to_string().into_bytes());
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            sign_response(&mut response, &caller, NOW_S);
            Ok(response)
        };
        *self.bench.platform.orchestrator.borrow_mut() = Some(Box::new(orchestrator));
        self
    }

    pub(super) fn request(&self, path: &str, body: &Value, key: Option<&str>) -> http::Request<Vec<u8>> {
        let mut request = http::Request::post(format!("{ORIGIN}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.api_key));
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        request.body(body.to_string().into_bytes()).expect("a request")
    }

    pub(super) fn ask(&self, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
        let request = self.request(path, body, key);
        let (response, _) = self.bench.handle(&request);
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        if response.status() == 200 {
            let schema = crate::wire::compiled("query-answer").expect("the schema");
            assert_eq!(schema.get().expect("compiles").violations(&body, 9), [], "{body}");
        }
        (response.status().as_u16(), body)
    }

    pub(super) fn triage(&self) -> (u16, Value) {
        self.ask("/agents/triage/query", &json!({"text": "I cannot log in"}), None)
    }

    /// How the answer says that it was routed.
    fn route(&self) -> (String, String) {
        let (status, body) = self.triage();
        assert_eq!(
            (status, body["output"]["category"].as_str()),
            (200, Some("support")),
            "{body}"
        );
        let text = |name: &str| body["route"][name].as_str().unwrap_or_default().to_owned();
        (text("by"), text("reason"))
    }
}

/// What an orchestrator says of a run that it has brought to its end.
pub(super) fn completed(run: &Value) -> (u16, Value) {
    let answer = json!({"run": run["run"], "status": "completed", "outcome": outcome(run), "verified": true});
    (200, answer)
}

fn outcome(run: &Value) -> Value {
    json!({
        "status": "completed", "run": run["run"], "step": run["step"], "attempt": 1, "agent": run["agent"],
        "output": {"category": "support"},
    })
}

#[test]
fn what_an_orchestrator_says_and_what_comes_of_it() {
    let check = |says: Says, by: &str, reason: &str| {
        let world = World::new().with(says);
        assert_eq!(world.route(), (by.to_owned(), reason.to_owned()));
    };
    check(
        |run| {
            (
                200,
                json!({"run": run["run"], "status": "completed", "outcome": outcome(run), "verified": true}),
            )
        },
        "orchestrated",
        "",
    );
    check(
        |run| {
            (
                200,
                json!({"run": "another", "status": "completed", "outcome": outcome(run), "verified": true}),
            )
        },
        "fallback",
        "malformed",
    );
    check(|_| (200, json!({"hello": "world"})), "fallback", "malformed");
    check(|_| (204, json!({})), "fallback", "malformed");
    check(
        |run| {
            let outcome = json!({"status": "failed", "error": {"code": "gateway-missing"}});
            (
                200,
                json!({"run": run["run"], "status": "failed", "outcome": outcome, "verified": false}),
            )
        },
        "fallback",
        "gave-up",
    );
    check(
        |_| (409, json!({"code": "gateway-not-registered"})),
        "fallback",
        "not-registered",
    );
    check(|_| (504, json!({})), "fallback", "timeout");
    check(|_| (500, json!({})), "fallback", "unavailable");
    check(|_| (429, json!({})), "fallback", "unavailable");
    // Whoever takes no runs any more says nothing about this one.
    check(|_| (410, json!({"code": "gone"})), "fallback", "malformed");
    // Nobody answers at all.
    assert_eq!(World::new().route(), ("fallback".to_owned(), "timeout".to_owned()));
}

#[test]
fn a_refusal_of_the_call_is_passed_on_and_nothing_is_executed() {
    for says in [
        (|_| (400, json!({"code": "no", "detail": "why"}))) as Says,
        |_| (403, json!({"code": "no", "detail": "why"})),
        |_| (404, json!({"code": "no", "detail": "why"})),
        |_| (409, json!({"code": "no", "detail": "why"})),
        |_| (422, json!({"code": "no", "detail": "why"})),
    ] {
        let world = World::new().with(says);
        let (status, body) = world.triage();
        assert_eq!(status, says(&Value::Null).0);
        assert_eq!(body["code"], "orchestrator-declined");
        assert!(body["detail"].as_str().expect("text").contains("(no): why"), "{body}");
        assert!(world.bench.platform.runs.borrow().is_empty());
    }
}

#[test]
fn a_refusal_of_the_gateway_is_an_alarm_and_falls_back_where_that_is_allowed() {
    let mut world = World::new().with(|_| (401, json!({"code": "signature-invalid"})));
    let (status, body) = world.triage();
    assert_eq!((status, body["code"].as_str()), (503, Some("orchestrator-unavailable")));
    assert!(world.bench.platform.alarms.borrow()[0].contains("401 signature-invalid"));
    world.bench.config.orchestrators[0].fallback_when_refused = true;
    let (status, body) = world.triage();
    assert_eq!((status, &body["route"]["reason"]), (200, &json!("refused")));
    assert_eq!(body["route"]["degraded"], true);
    // The same call again is no better for having been answered before.
    let ask = || {
        let request = world.request(
            "/agents/triage/query",
            &json!({"text": "I cannot log in"}),
            Some("again"),
        );
        world.bench.handle(&request).0
    };
    assert_eq!(ask().headers()["baton-route"], "fallback;reason=refused;degraded");
    let stored = ask();
    assert_eq!(stored.headers()["baton-route"], "stored;degraded");
    let stored: Value = serde_json::from_slice(stored.body()).expect("JSON");
    assert_eq!(stored["route"], json!({"by": "stored", "degraded": true}));
    // The breaker is for the sick: this one is well.
    for _ in 0..2 * SAMPLES_MIN {
        assert_eq!(world.triage().1["route"]["reason"], "refused");
    }
    // It is told once, however often it is met.
    assert_eq!(world.bench.platform.alarms.borrow().len(), 1);
}

#[test]
fn while_the_link_is_refused_every_fallback_is_degraded() {
    let lease = |refused| crate::link::KnownLease {
        granted: 3,
        ended: true,
        refused,
        signing_keyid: None,
    };
    for refused in [true, false] {
        let world = World::new().with(|_| (409, json!({"code": "gateway-not-registered"})));
        world.bench.platform.lease.replace(Some(lease(refused)));
        let expect = |reason: &str| {
            let (status, body) = world.triage();
            let route = &body["route"];
            assert_eq!(
                (status, &route["reason"], &route["degraded"]),
                (200, &json!(reason), &json!(refused)),
                "{body}"
            );
        };
        expect("not-registered");
        let platform = &world.bench.platform;
        let mut links = platform.links.borrow_mut();
        links.get_mut("o").expect("the link").circuit.hold(Some(Hold::Open));
        drop(links);
        platform.now_ms.set(platform.now_ms.get() + FRESH_MS);
        // This one learns of it.
        expect("not-registered");
        expect("breaker-open");
    }
}

#[test]
fn trouble_is_told_once_until_it_is_over() {
    let gone = |world: World| {
        let gone: Box<super::platform::Orchestrator> = Box::new(|_| Err(Unanswered::Failed("no route".into())));
        *world.bench.platform.orchestrator.borrow_mut() = Some(gone);
        world
    };
    let is_told = |world: &World, times| {
        assert_eq!(world.route().1, "unreachable");
        assert_eq!(world.bench.platform.alarms.borrow().len(), times);
    };
    let world = gone(World::new());
    is_told(&world, 1);
    is_told(&world, 1);
    let world = world.with(|_| (404, json!({"code": "agent-unknown"})));
    assert_eq!(world.triage().0, 404);
    is_told(&gone(world), 2);
}

/// The run as the operator sees it.
fn of_operator(bench: &Bench, orchestrator: &str, run: &Value) -> (u16, Value) {
    bench.signer.set("operator");
    let run = run.as_str().expect("a run");
    let (status, body, _) = bench.call(&Call::new("GET", &format!("/operator/runs/{orchestrator}/{run}")));
    bench.signer.set("k");
    (status, body)
}

#[test]
fn a_settlement_is_shown_with_its_run() {
    let world = World::new();
    let (_, answer) = world.triage();
    let own = Call::new("GET", &format!("/runs/{}", answer["run"].as_str().expect("a run")));
    let (status, run, _) = world.bench.call(&own);
    let schema = crate::wire::compiled("run").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&run, 9), [], "{run}");
    let settlement = json!({
        "status": "pending", "reason": "timeout", "routed_at_ms": NOW_S * 1_000, "edition": 2, "tries": 0,
    });
    assert_eq!((status, &run["settlement"]), (200, &settlement));
    assert_eq!(of_operator(&world.bench, "o", &answer["run"]), (200, run));
    assert_eq!(of_operator(&world.bench, "p", &answer["run"]).0, 404);
    // Nobody else may look.
    let of_another = Call::new("GET", "/operator/runs/o/r");
    let (request, _) = world.bench.sign(&of_another);
    assert_eq!(world.bench.handle(&request).1.problem, Some("key-not-allowed"));
}

#[test]
fn the_operator_sees_runs_that_no_orchestrator_plans() {
    let mut world = World::new();
    world.bench.config.orchestrators.clear();
    let (_, answer) = world.triage();
    assert_eq!(answer["route"]["by"], "local");
    let (status, run) = of_operator(&world.bench, direct::NOBODY, &answer["run"]);
    assert_eq!(
        (status, &run["run"], run.get("settlement")),
        (200, &answer["run"], None)
    );
}

#[test]
fn an_agent_may_be_answered_by_the_orchestrator_alone() {
    let mut world = World::new();
    let triage = world.bench.team.agents.iter_mut().find(|agent| agent.id == "triage");
    triage.expect("triage").direct.fallback = false;
    let (status, body) = world.triage();
    assert_eq!((status, body["code"].as_str()), (503, Some("orchestrator-unavailable")));
    assert!(body["detail"].as_str().expect("text").contains("timeout"), "{body}");
}

#[test]
fn after_so_many_failures_it_is_not_asked() {
    let world = World::new().with(|_| (503, json!({})));
    for _ in 0..SAMPLES_MIN {
        assert_eq!(world.route().1, "unavailable");
    }
    assert_eq!(world.route().1, "breaker-open");
    assert_eq!(world.bench.platform.sent.borrow().len(), SAMPLES_MIN);
    // It is well again, and a probe finds that out.
    let world = world.with(|run| {
        (
            200,
            json!({"run": run["run"], "status": "completed", "outcome": outcome(run), "verified": true}),
        )
    });
    let platform = &world.bench.platform;
    platform.now_ms.set(platform.now_ms.get() + OPEN_MS);
    assert_eq!(world.route().0, "orchestrated");
}

/// An orchestrator that does what it should.
fn well(run: &Value) -> (u16, Value) {
    let body = json!({"run": run["run"], "status": "completed", "outcome": outcome(run), "verified": true});
    (200, body)
}

#[test]
fn a_customer_in_a_hurry_does_not_open_the_breaker_for_others() {
    let world = World::new();
    let hurried = |deadline_ms: u64| {
        let body = json!({"text": "I cannot log in", "deadline_ms": deadline_ms});
        let (_, body) = world.ask("/agents/triage/query", &body, None);
        body["route"]["reason"].clone()
    };
    for _ in 0..2 * SAMPLES_MIN {
        assert_eq!(hurried(4_998), "timeout");
    }
    // The agent's own deadline is 5 s: that is all the time that the orchestrator ever has.
    for _ in 0..SAMPLES_MIN {
        assert_eq!(hurried(5_000), "timeout");
    }
    assert_eq!(hurried(5_000), "breaker-open");
}

#[test]
fn only_what_completed_is_answered_again_without_the_orchestrator() {
    for (agent, input, by) in [
        ("triage", json!({"text": "I cannot log in"}), "stored"),
        ("fail", json!({"code": "no"}), "orchestrated"),
    ] {
        let world = World::new().with(well);
        let ask = || {
            world
                .ask(
                    "/agents/triage/query",
                    &json!({"text": "I cannot log in"}),
                    Some("again"),
                )
                .1
        };
        let run = ask()["run"].clone();
        let step = Call {
            path: format!("/agents/{agent}/steps"),
            ..Call::step(json!({"run": run, "step": direct::STEP, "input": input}))
        };
        assert_eq!(world.bench.call(&step).0, 200);
        assert_eq!(ask()["route"]["by"], by, "{agent}");
    }
}

#[test]
fn while_the_breaker_is_closed_no_call_asks_for_it_again_within_a_second() {
    let world = World::new().with(well);
    let platform = &world.bench.platform;
    let told_after = |later_ms: u64| {
        platform.now_ms.set(platform.now_ms.get() + later_ms);
        assert_eq!(world.route().0, "orchestrated");
        platform.told.get()
    };
    // A new isolate asks first.
    assert_eq!([told_after(0), told_after(0), told_after(FRESH_MS - 1)], [1, 1, 1]);
    assert_eq!([told_after(1), told_after(0)], [2, 2]);
}

#[test]
fn what_one_isolate_finds_the_others_go_by() {
    let world = World::new().with(|_| (503, json!({})));
    for _ in 0..SAMPLES_MIN {
        assert_eq!(world.route().1, "unavailable");
    }
    // Another isolate has a breaker of its own, which has counted nothing.
    let platform = &world.bench.platform;
    platform.breakers.borrow_mut().clear();
    assert_eq!(world.route().1, "breaker-open");
    assert_eq!(platform.sent.borrow().len(), SAMPLES_MIN);
}

#[test]
fn an_operator_holds_the_breaker_open_or_closed() {
    let world = World::new().with(well);
    let platform = &world.bench.platform;
    let hold = |hold| {
        let mut links = platform.links.borrow_mut();
        links.get_mut("o").expect("the link").circuit.hold(hold);
        platform.now_ms.set(platform.now_ms.get() + FRESH_MS);
    };
    assert_eq!(world.route().0, "orchestrated");
    hold(Some(Hold::Open));
    // The call that learns of it is on its way already; after that none is.
    assert_eq!(world.route().0, "orchestrated");
    let sent = platform.sent.borrow().len();
    assert_eq!(world.route().1, "breaker-open");
    assert_eq!(platform.sent.borrow().len(), sent);
    hold(Some(Hold::Closed));
    assert_eq!(world.route().0, "orchestrated");
    let world = world.with(|_| (503, json!({})));
    for _ in 0..2 * SAMPLES_MIN {
        assert_eq!(world.route().1, "unavailable");
    }
}

#[test]
fn a_link_object_that_does_not_answer_stops_no_call() {
    let world = World::new().with(well);
    // The last one is taken first: the customer's address and key are asked before the link.
    *world.bench.platform.faults.borrow_mut() = vec![Fault::BeforeDoing, Fault::None, Fault::None];
    assert_eq!(world.route().0, "orchestrated");
    assert_eq!(world.bench.platform.faults.borrow().len(), 0);
}

#[test]
fn calls_that_take_nearly_all_of_their_budget_trip_the_breaker() {
    let world = World::new().with(well);
    let platform = &world.bench.platform;
    platform.slowness_ms.set(crate::direct::BUDGET_MS);
    for _ in 0..SAMPLES_MIN {
        assert_eq!(world.route().0, "orchestrated");
    }
    assert_eq!(world.route().1, "breaker-open");
}

/// A call with a budget of a second that is dropped after so long, with no end in sight.
fn drop_call_after(platform: &FakePlatform, later_ms: u64) {
    let call = guard(
        "o",
        1_000,
        std::future::pending::<()>(),
        |(), _| End::Answered,
        platform,
    );
    let mut call = std::pin::pin!(call);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending(), "it is under way");
    platform.now_ms.set(platform.now_ms.get() + later_ms);
}

#[test]
fn a_probe_that_is_dropped_is_no_lost_one() {
    let world = World::new().with(well);
    let platform = &world.bench.platform;
    block_on(platform.tell_breaker("o", Word::Tripped)).expect("told");
    platform.now_ms.set(platform.now_ms.get() + OPEN_MS);
    drop_call_after(platform, 0);
    assert_eq!(
        world.route().1,
        "breaker-open",
        "it tells that the probe came to nothing"
    );
    platform.now_ms.set(platform.now_ms.get() + FRESH_MS);
    assert_eq!(world.route().0, "orchestrated");
}

#[test]
fn calls_that_are_dropped_count_once_they_are_slow() {
    for (later_ms, expected) in [(750, "orchestrated"), (751, "fallback")] {
        let world = World::new().with(well);
        for _ in 0..SAMPLES_MIN {
            drop_call_after(&world.bench.platform, later_ms);
        }
        assert_eq!(world.route().0, expected, "{later_ms}");
    }
}

#[test]
fn a_call_that_was_answered_is_not_handed_on_again() {
    let world = World::new();
    let ask = |text: &str| world.ask("/agents/triage/query", &json!({"text": text}), Some("mine"));
    let (_, first) = ask("I cannot log in");
    assert_eq!(first["route"]["by"], "fallback");
    let (_, again) = ask("I cannot log in");
    assert_eq!(
        (&again["route"]["by"], &again["output"]),
        (&json!("stored"), &first["output"])
    );
    assert_eq!(world.bench.platform.sent.borrow().len(), 1);
    let (status, other) = ask("Something else");
    assert_eq!((status, other["code"].as_str()), (422, Some("idempotency-key-reused")));
}

#[test]
fn a_run_that_the_gateway_took_over_takes_no_further_step() {
    let world = World::new();
    let run = world.triage().1["run"].clone();
    let step = |step: &str| Call::step(json!({"run": run, "step": step, "input": {"text": "I cannot log in"}}));
    // The step that was answered is answered alike, whoever asks.
    let (status, same, _) = world.bench.call(&step("query"));
    assert_eq!((status, same["status"].as_str()), (200, Some("completed")));
    world.bench.check(&step("another"), 409, "run-taken-over");
}

#[test]
fn what_the_gateway_took_over_no_call_of_the_lease_before_touches() {
    let world = World::new();
    let lease = crate::link::KnownLease {
        granted: 3,
        ended: true,
        refused: false,
        signing_keyid: None,
    };
    world.bench.platform.lease.replace(Some(lease));
    let (_, body) = world.triage();
    assert_eq!(body["route"]["by"], "fallback");
    let run = body["run"].as_str().expect("a run");
    let handoff = |generation: &str| Call {
        body: json!({"run": run, "from": "me", "reason": "late"}).to_string(),
        key: "h".into(),
        ..Call::new("POST", "/agents/triage/handoffs").with(HeaderName::from_static("baton-generation"), generation)
    };
    world.bench.check(&handoff("3"), 409, "generation-outdated");
    assert_eq!(world.bench.call(&handoff("4")).0, 201);
}
