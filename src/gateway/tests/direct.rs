//! Direct calls, with an orchestrator that is a function: what each of its answers comes to.

use http::header::AUTHORIZATION;

use super::*;
use crate::breaker::SAMPLES_MIN;
use crate::config::Orchestrator;
use crate::signature::Origins;

const URL: &str = "https://o.example";

/// A gateway with an orchestrator, and a customer.
struct World {
    bench: Bench,
    api_key: String,
}

/// What the orchestrator answers: the status and the body. It signs it.
type Says = fn(&Value) -> (u16, Value);

impl World {
    fn new() -> Self {
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
        }];
        bench.signer.set("operator");
        let create = Call {
            body: json!({"name": "me"}).to_string(),
            ..Call::new("POST", "/operator/api-keys")
        };
        let (_, made, _) = bench.call(&create);
        bench.signer.set("k");
        let api_key = made["api_key"].as_str().expect("a key").to_owned();
        Self { bench, api_key }
    }

    /// The orchestrator is there, and says this to every run that is handed on.
    fn with(self, says: Says) -> Self {
        let keyring = self.bench.config.keyring.clone();
        let orchestrator = move |request: &http::Request<Vec<u8>>| {
            let origins = Origins::parse(URL).expect("an origin");
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

    fn ask(&self, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
        let mut request = http::Request::post(format!("{ORIGIN}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.api_key));
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        let request = request.body(body.to_string().into_bytes()).expect("a request");
        let (response, _) = self.bench.handle(&request);
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        if response.status() == 200 {
            let schema = crate::wire::compiled("query-answer").expect("the schema");
            assert_eq!(schema.get().expect("compiles").violations(&body, 9), [], "{body}");
        }
        (response.status().as_u16(), body)
    }

    fn triage(&self) -> (u16, Value) {
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
    // The breaker is for the sick: this one is well.
    for _ in 0..2 * SAMPLES_MIN {
        assert_eq!(world.triage().1["route"]["reason"], "refused");
    }
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
    platform.now_ms.set(platform.now_ms.get() + crate::breaker::OPEN_MS);
    assert_eq!(world.route().0, "orchestrated");
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
