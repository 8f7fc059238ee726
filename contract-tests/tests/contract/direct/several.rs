//! Direct calls of a gateway that has two orchestrators.

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::{answered, api_key, call, echo};

/// How long a lease is, in milliseconds.
const LEASE_MS: u64 = 3_000;

struct World {
    gateway: Gateway,
    first: Orchestrator,
    second: Orchestrator,
    key: String,
}

impl World {
    fn start() -> Self {
        let keys = Keys::new([
            // It may invoke one agent alone.
            Key::new("first-invoke", "first", "invoke").with("agents", vec!["echo"]),
            Key::new("first-register", "first", "register"),
            Key::new("second-invoke", "second", "invoke"),
            Key::new("second-register", "second", "register"),
            Key::new("operator", "first", "operate"),
        ]);
        let mut first = Orchestrator::new("first", &keys, LEASE_MS);
        let mut second = Orchestrator::new("second", &keys, LEASE_MS);
        first.start();
        second.start();
        let gateway = Gateway::start(Options {
            keys,
            orchestrators: vec![
                Configured::new("first", &first.url()),
                Configured::new("second", &second.url()),
            ],
            history: true,
            ..Options::default()
        });
        let rate = json!({ "burst": 10_000, "per_minute": 10_000 });
        let key = api_key(&gateway, "operator", &json!({ "name": "tests", "rate": rate }));
        let _ = (first.wait_for_live(), second.wait_for_live());
        Self {
            gateway,
            first,
            second,
            key,
        }
    }

    #[track_caller]
    fn ask(&self) -> Value {
        answered(&call(&self.gateway, &self.key, "/agents/echo/query", &echo()).send())
    }
}

#[test]
fn one_orchestrator_has_a_run_and_the_next_one_where_the_first_is_gone() {
    let mut world = World::start();
    let body = world.ask();
    assert_eq!(body["route"], json!({ "by": "orchestrated", "orchestrator": "first" }));

    // The first one may not invoke this agent.
    let text = json!({ "text": "I was charged twice" });
    let body = answered(&call(&world.gateway, &world.key, "/agents/triage/query", &text).send());
    assert_eq!(body["route"], json!({ "by": "orchestrated", "orchestrator": "second" }));

    // What the first one may have begun stays with it.
    world.first.behave(&json!({ "runs": "status", "status": 503 }));
    let body = world.ask();
    assert_eq!(
        (&body["route"]["reason"], &body["route"]["orchestrator"]),
        (&json!("unavailable"), &json!("first"))
    );
    assert_eq!(world.second.run(body["run"].as_str().expect("a run")), None);
    world.first.behave(&json!({}));

    world.first.kill_hard();
    let bodies: Vec<_> = (0..8).map(|_| world.ask()).collect();
    for body in &bodies {
        assert_eq!(
            (&body["route"]["by"], &body["route"]["orchestrator"]),
            (&json!("orchestrated"), &json!("second")),
            "{body}"
        );
        assert_eq!(body["route"]["tried"][0]["orchestrator"], "first", "{body}");
    }
    assert_eq!(bodies[0]["route"]["tried"][0]["reason"], "unreachable");
    assert_eq!(bodies[7]["route"]["tried"][0]["reason"], "breaker-open");

    // Both are gone: the gateway answers, and the last one that was to coordinate is told.
    world.second.kill_hard();
    let body = world.ask();
    assert_eq!(
        (&body["route"]["by"], &body["route"]["orchestrator"]),
        (&json!("fallback"), &json!("second")),
        "{body}"
    );
    world.first.start();
    world.second.start();
    let run = body["run"].as_str().expect("a run");
    let settlement = world.second.wait_for_settlement(run);
    assert_eq!(settlement["reason"], body["route"]["reason"], "{settlement}");
    for body in bodies.iter().chain([&body]) {
        let run = body["run"].as_str().expect("a run");
        assert_eq!(world.first.run(run), None, "one run, two orchestrators");
    }
    wait_for("the first one to coordinate again", || {
        (world.ask()["route"]["orchestrator"] == "first").then_some(())
    });
}
