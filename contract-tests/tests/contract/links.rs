//! The link and the breaker in an operator's hands: one gateway, one real orchestrator that is told to misbehave.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;

use contract_tests::answer::Answer;
use contract_tests::command_line::Run;
use contract_tests::environment::Environment;
use contract_tests::folder::Folder;
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use crate::direct::{answered, call};
use crate::support::{alone_in, orchestrated};

/// Short, so that renewals come soon, in milliseconds.
const LEASE_MS: u64 = 4_000;
const PATH: &str = "/operator/links";

struct World {
    gateway: Gateway,
    orchestrator: Orchestrator,
    api_key: String,
}

/// The one world.
fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    alone_in(&WORLD, World::start, World::mend)
}

impl World {
    fn start() -> Self {
        let (gateway, orchestrator, api_key) = orchestrated(LEASE_MS);
        Self {
            gateway,
            orchestrator,
            api_key,
        }
    }

    /// The orchestrator is well, the gateway registered, and its breaker left to itself.
    fn mend(&self) {
        self.orchestrator.behave(&json!({}));
        self.command("register");
        self.breaker("auto");
        self.wait_for_state("registered");
    }

    fn operator(&self, message: Message) -> Answer {
        message.signed(self.gateway.key("operator")).send()
    }

    /// The link as an operator sees it.
    #[track_caller]
    fn link(&self) -> Value {
        self.operator(Message::new(&self.gateway, "GET", &format!("{PATH}/reference")))
            .message(200, "link")
    }

    /// Sends a command, and answers the link after it.
    #[track_caller]
    fn command(&self, command: &str) -> Value {
        let message = Message::new(&self.gateway, "POST", &format!("{PATH}/reference/{command}"));
        self.operator(message).message(200, "link")
    }

    #[track_caller]
    fn breaker(&self, state: &str) -> Value {
        let path = format!("{PATH}/reference/breaker");
        let message = Message::post(&self.gateway, &path, &json!({ "state": state }));
        self.operator(message).message(200, "link")["breaker"].clone()
    }

    #[track_caller]
    fn wait_for_state(&self, state: &str) -> Value {
        wait_for(&format!("the link to be {state}"), || {
            let link = self.link();
            (link["state"] == state).then_some(link)
        })
    }

    /// A customer's call; answers how it was routed.
    #[track_caller]
    fn route(&self) -> Value {
        let body = json!({ "input": { "text": "hi" }, "deadline_ms": 10_000 });
        let body = answered(&call(&self.gateway, &self.api_key, "/agents/echo/query", &body).send());
        assert_eq!(body["status"], "completed", "{body}");
        body["route"].clone()
    }

    /// What the gateway logged about its calls to the orchestrator.
    fn calls(&self) -> Vec<Value> {
        let mut events = self.gateway.events();
        events.retain(|event| event["event"] == "link");
        events
    }

    fn runs_handed_on(&self) -> usize {
        self.orchestrator.handed_on().len()
    }
}

#[test]
fn an_operator_sees_the_links() {
    let world = world();
    let list = world.operator(Message::new(&world.gateway, "GET", PATH)).json();
    assert_fits("links", &list);
    let live = world.orchestrator.wait_for_live();
    let link = &list["links"][0];
    assert_eq!(link["orchestrator"], "reference");
    assert_eq!(link["url"], world.orchestrator.url());
    assert_eq!(link["registration"], live["registration"]);
    assert_eq!(link["generation"], live["generation"]);
    assert!(link["lease_left_ms"].as_u64() <= Some(LEASE_MS), "{link}");
    assert_eq!(link["breaker"], json!({ "state": "closed", "forced": false }));
}

#[test]
fn the_command_line_does_the_same() {
    let world = world();
    let folder = Folder::new("link");
    let key = folder.write("key.json", world.gateway.key("operator").record().to_string());
    let baton = |arguments: &[&str]| {
        let mut command = Command::new(&Environment::get().cli);
        command
            .args(arguments)
            .env("BATON_GATEWAY", world.gateway.origin())
            .env("BATON_KEY_FILE", &key);
        Run::of(&mut command, folder.path()).expect(0).stdout
    };
    assert!(baton(&["link", "status"]).contains("reference  registered"));
    assert!(baton(&["link", "breaker", "open", "reference"]).contains("breaker open, held by an operator"));
    assert!(baton(&["link", "deregister"]).contains("reference  deregistered"));
    assert!(baton(&["link", "register"]).contains("reference  registered"));
}

#[test]
fn a_sick_orchestrator_takes_no_lease_away() {
    let world = world();
    let before = world.link();
    let failing = json!({ "registration": "status", "registration_status": 503 });
    world.orchestrator.behave(&failing);
    let degraded = world.wait_for_state("degraded");
    assert_eq!(degraded["registration"], before["registration"]);
    assert!(
        degraded["last_error"].as_str().expect("why").contains("503"),
        "{degraded}"
    );
    world.orchestrator.behave(&json!({}));
    world.wait_for_state("registered");
}

#[test]
fn a_registration_that_is_gone_is_made_anew() {
    let world = world();
    let before = world.link();
    let calls = world.calls().len();
    let gone = json!({ "registration": "status", "registration_status": 410 });
    world.orchestrator.behave(&gone);
    wait_for("the gateway to learn of it", || {
        let calls = world.calls().split_off(calls);
        let forgotten = |call: &Value| call["result"]["forgotten"].to_string().contains("410");
        calls.iter().any(forgotten).then_some(())
    });
    world.orchestrator.behave(&json!({}));
    let after = world.wait_for_state("registered");
    assert_ne!(after["registration"], before["registration"]);
    assert_eq!(
        after["generation"].as_u64(),
        before["generation"].as_u64().map(|before| before + 1)
    );
}

#[test]
fn a_refused_key_stops_the_calls_until_the_operator_has_mended_it() {
    let world = world();
    let alarms = || {
        let events = world.gateway.events().into_iter();
        let refused = |event: &Value| event["message"].to_string().contains("refuses the gateway's key");
        events
            .filter(|event| event["event"] == "alarm" && refused(event))
            .count()
    };
    let before = alarms();
    let refusing = json!({ "registration": "status", "registration_status": 401 });
    world.orchestrator.behave(&refusing);
    let refused = world.wait_for_state("refused");
    assert_eq!(alarms(), before + 1);
    // No storm: the next try by itself is minutes away.
    assert!(refused["next_in_ms"].as_u64() > Some(240_000), "{refused}");
    // The operator's word is one try, and one answer.
    let calls = world.calls().len();
    assert_eq!(world.command("register")["state"], "refused");
    assert_eq!(world.calls().len(), calls + 1);
    world.orchestrator.behave(&json!({}));
    assert_eq!(world.command("register")["state"], "registered");
    let _ = world.orchestrator.wait_for_live();
}

#[test]
fn a_link_that_drains_gets_no_new_steps_and_ends_its_own() {
    let world = world();
    let orchestrator = &world.orchestrator;
    thread::scope(|scope| {
        let run = fresh();
        let step = json!({ "run": run, "agent": "sleep", "input": { "ms": 1_900 }, "deadline_ms": 60_000 });
        let under_way = scope.spawn(move || orchestrator.post("/runs", Some(&step), 200));
        wait_for("the step to be under way", || orchestrator.run(&run));
        let drained = world.command("drain");
        assert_eq!(drained["state"], "draining");
        assert_eq!(orchestrator.wait_for_live()["health"], "draining");
        // A run that comes now waits for a gateway.
        let step = json!({ "agent": "echo", "input": {}, "deadline_ms": 60_000 });
        let waiting = scope.spawn(move || orchestrator.post("/runs", Some(&step), 200));
        let ended = under_way.join().expect("the run ends");
        assert_eq!(ended["status"], "completed", "{ended}");
        assert!(!waiting.is_finished(), "a step went to a gateway that drains");
        // Customers are answered meanwhile.
        assert_eq!(world.route()["reason"], "not-registered");
        // The operator thinks better of it.
        assert_eq!(world.command("register")["registration"], drained["registration"]);
        let ended = waiting.join().expect("the run ends");
        assert_eq!(ended["status"], "completed", "{ended}");
    });
    assert_eq!(orchestrator.wait_for_live()["health"], "ok");
}

#[test]
fn a_link_that_has_drained_deregisters_by_itself() {
    let world = world();
    assert_eq!(world.command("drain")["state"], "draining");
    world.wait_for_state("deregistered");
    assert_eq!(world.orchestrator.live(), None);
}

#[test]
fn a_link_that_is_deregistered_stays_so_until_it_is_told_to_register() {
    let mut world = world();
    assert_eq!(world.command("deregister")["state"], "deregistered");
    assert_eq!(world.orchestrator.live(), None);
    let registered = world.orchestrator.registrations().len();
    world.gateway.kill_hard();
    world.gateway.restart();
    // What wakes a link: the first request of an isolate, and another order.
    let link = world.command("drain");
    assert_eq!(
        (&link["state"], &link["next_in_ms"]),
        (&json!("deregistered"), &Value::Null)
    );
    assert_eq!(world.orchestrator.registrations().len(), registered);
    // Customers are answered meanwhile.
    assert_eq!(world.route()["reason"], "not-registered");
    assert_eq!(world.command("register")["state"], "registered");
    let _ = world.orchestrator.wait_for_live();
    assert_eq!(world.route()["by"], "orchestrated");
}

#[test]
fn however_many_want_to_register_there_is_one_registration() {
    let world = world();
    assert_eq!(world.command("deregister")["state"], "deregistered");
    let before = world.orchestrator.registrations().len();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| world.command("register"));
        }
    });
    world.wait_for_state("registered");
    let _ = world.orchestrator.wait_for_live();
    assert_eq!(world.orchestrator.registrations().len(), before + 1);
}

#[test]
fn a_captured_order_is_refused() {
    let world = world();
    let message = Message::new(&world.gateway, "POST", &format!("{PATH}/reference/deregister"));
    let message = message.signed(world.gateway.key("operator"));
    assert_eq!(message.send().message(200, "link")["state"], "deregistered");
    assert_eq!(world.command("register")["state"], "registered");
    message.send().problem(401, "signature-replayed");
    assert_eq!(world.link()["state"], "registered");
}

#[test]
fn a_breaker_that_failures_have_opened_is_seen_and_closes_after_a_probe() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 503 }));
    wait_for("the breaker to open", || {
        (world.route()["reason"] == "breaker-open").then_some(())
    });
    let breaker = world.link()["breaker"].clone();
    assert_ne!(breaker["state"], "closed", "{breaker}");
    assert_eq!(breaker["forced"], false);
    world.orchestrator.behave(&json!({}));
    wait_for("a probe to close it", || {
        (world.route()["by"] == "orchestrated").then_some(())
    });
    assert_eq!(world.link()["breaker"], json!({ "state": "closed", "forced": false }));
}

#[test]
fn an_orchestrator_that_is_slow_is_not_asked_either() {
    let world = world();
    // More than three quarters of its budget of 5 s, and less than all of it.
    world.orchestrator.behave(&json!({ "runs": "slow", "delay_ms": 3_900 }));
    let first = world.route();
    assert_eq!(first["by"], "orchestrated", "it answers all the same");
    wait_for("the breaker to open", || {
        (world.route()["reason"] == "breaker-open").then_some(())
    });
}

#[test]
fn a_breaker_that_is_held_open_keeps_calls_from_a_well_orchestrator() {
    let world = world();
    assert_eq!(world.breaker("open"), json!({ "state": "open", "forced": true }));
    let before = world.runs_handed_on();
    for _ in 0..3 {
        let route = world.route();
        assert_eq!(
            (&route["by"], &route["reason"]),
            (&json!("fallback"), &json!("breaker-open"))
        );
    }
    assert_eq!(world.breaker("auto"), json!({ "state": "closed", "forced": false }));
    assert_eq!(world.route()["by"], "orchestrated");
    assert!(world.runs_handed_on() > before);
}

#[test]
fn a_breaker_that_is_held_stays_so_when_the_gateway_is_killed() {
    let mut world = world();
    world.breaker("open");
    world.gateway.kill_hard();
    world.gateway.restart();
    assert_eq!(world.link()["breaker"], json!({ "state": "open", "forced": true }));
    assert_eq!(world.route()["reason"], "breaker-open");
}

#[test]
fn a_breaker_that_is_held_closed_never_opens() {
    let world = world();
    assert_eq!(world.breaker("closed"), json!({ "state": "closed", "forced": true }));
    world.orchestrator.behave(&json!({ "runs": "status", "status": 503 }));
    for _ in 0..12 {
        assert_eq!(world.route()["reason"], "unavailable");
    }
    // Left to itself it begins anew, and opens for what comes then.
    world.breaker("auto");
    assert_eq!(world.route()["reason"], "unavailable");
    wait_for("the breaker to open", || {
        (world.route()["reason"] == "breaker-open").then_some(())
    });
}
