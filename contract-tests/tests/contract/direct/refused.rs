//! Direct calls while the orchestrator refuses the gateway's own credentials, or will not have it any more.

use std::sync::{Mutex, MutexGuard, OnceLock};

use contract_tests::gateway::{Configured, Options};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use super::answered;
use super::world::{LEASE_MS, World};
use crate::support::{alone_in, orchestrated_as};

/// A world in which customers are answered also while the gateway is refused.
fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    let start = || {
        let configure = Configured::falling_back_when_refused;
        World::of(orchestrated_as(LEASE_MS, Options::default(), configure))
    };
    alone_in(&WORLD, start, World::mend)
}

impl World {
    fn link_state(&self) -> Value {
        let look = Message::new(&self.gateway, "GET", "/operator/links/reference");
        look.signed(self.gateway.key("operator")).send().message(200, "link")["state"].clone()
    }

    /// Asks until a call is answered like this. Answers all that was answered: every call, and in time.
    #[track_caller]
    fn ask_until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut bodies = Vec::new();
        wait_for(what, || {
            let body = answered(&self.ask());
            assert_eq!(body["status"], "completed", "{body}");
            let found = is(&body["route"]);
            bodies.push(body);
            found.then_some(())
        });
        bodies
    }
}

#[test]
fn where_the_operator_allows_it_a_refused_call_is_answered_and_marked() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 401 }));
    let call = world.call().line("idempotency-key", &format!("\"{}\"", fresh()));
    let body = answered(&world.send(&call));
    let route = &body["route"];
    assert_eq!(
        (&route["by"], &route["reason"], &route["degraded"]),
        (&json!("fallback"), &json!("refused"), &json!(true)),
        "{body}"
    );
    assert_eq!(body["status"], "completed", "{body}");
    // The same call again gets the same answer, which is no better than it was.
    let again = answered(&world.send(&call));
    assert_eq!(again["route"], json!({ "by": "stored", "degraded": true }));
    assert_eq!((&again["run"], &again["output"]), (&body["run"], &body["output"]));
    world.wait_for_alarm("orchestrator", "refuses the gateway's credentials: 401");
    world.orchestrator.behave(&json!({}));
    world.is_settled(&body);
}

#[test]
fn a_registration_that_is_refused_or_gone_fails_no_call() {
    for (status, degraded) in [(401, true), (410, false)] {
        let world = world();
        world
            .orchestrator
            .behave(&json!({ "registration": "status", "registration_status": status }));
        // The lease that is there still counts, until it ends.
        let bodies = world.ask_until("the lease to end", |route| {
            route["reason"] == "not-registered" && route["degraded"] == degraded
        });
        for body in &bodies {
            let route = &body["route"];
            let is_known = route["by"] == "orchestrated" || route["reason"] == "not-registered";
            assert!(is_known, "{status}: {body}");
        }
        assert_eq!(world.link_state() == "refused", degraded, "{status}");
        world.mend();
        for body in bodies.iter().filter(|body| body["route"]["by"] == "fallback") {
            world.is_settled(body);
        }
    }
}

#[test]
fn while_the_link_is_refused_a_breaker_that_is_held_open_is_not_all() {
    let world = world();
    world
        .orchestrator
        .behave(&json!({ "registration": "status", "registration_status": 401 }));
    wait_for("the link to be refused", || {
        (world.link_state() == "refused").then_some(())
    });
    world.order("breaker", Some(&json!({ "state": "open" })));
    let bodies = world.ask_until("an answer that says both", |route| {
        route["reason"] == "breaker-open" && route["degraded"] == true
    });
    world.mend();
    world.is_settled(&bodies[bodies.len() - 1]);
}
