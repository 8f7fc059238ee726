//! The program itself: it is killed in the middle of a run, and started again.

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reference_orchestrator::outside;
use serde_json::{Value, json};
use support::background::{Poll, Put};
use support::{Caller, Fake, PATIENCE, Step, eventually, keys, plain, until};
use tokio::runtime::Runtime;

const LOG: &str = "orchestrator.log";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("baton-restart-{}", outside::token()));
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("keys.json"), keys()).expect("the keys");
        Self(folder)
    }

    /// The events of this name in the log.
    fn events(&self, name: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.0.join(LOG)).expect("the log");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == name).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Program {
    child: Child,
    origin: String,
}

impl Program {
    /// Its log goes on where that of the one before ended.
    fn start(folder: &Path, more: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(folder.join(LOG));
        let mut child = Command::new(env!("CARGO_BIN_EXE_reference-orchestrator"))
            .args(["--listen", "127.0.0.1:0", "--database"])
            .arg(folder.join("orchestrator.sqlite"))
            .arg("--keys")
            .arg(folder.join("keys.json"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log.expect("the log"))
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let origin = line
            .trim()
            .strip_prefix("listening on ")
            .expect("its address")
            .to_owned();
        Self { child, origin }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_killed_orchestrator_goes_on_with_the_same_call() {
    let (runtime, folder) = (Runtime::new().expect("a runtime"), Folder::new());
    let fake = Fake::start(&runtime);
    let mut program = Program::start(&folder.0, &[]);
    let (status, lease, _) = Caller::new(&program.origin).send("POST", "/gateways", Some(&fake.registration()));
    assert_eq!(status, 201, "{lease}");

    fake.steps.lock().expect("the script").push_back(Step::Hang);
    let url = format!("{}/runs", program.origin);
    let request = json!({ "run": "r1", "agent": "triage", "input": { "text": "hi", "number": 0.1 } });
    let asking = std::thread::spawn(move || {
        let request = ureq::post(&url)
            .header("content-type", "application/json")
            .send(request.to_string());
        assert!(request.is_err(), "nobody was left to answer");
    });
    let seen = fake.seen.lock().expect("the steps");
    let before = seen.recv_timeout(PATIENCE).expect("the step is invoked");
    program.child.kill().expect("SIGKILL");
    asking.join().expect("the caller ends");

    let program = Program::start(&folder.0, &[]);
    let after = seen.recv_timeout(PATIENCE).expect("the step is invoked again");
    assert_eq!(
        (before.idempotency_key.as_str(), &before.bytes),
        ("r1/s1/1", &after.bytes)
    );
    assert_eq!(before.idempotency_key, after.idempotency_key);
    assert_ne!(before.nonce, after.nonce);
    let run = until(&program.origin, "r1", |run| run["status"] != "running");
    assert_eq!(
        (&run["status"], &run["steps"][0]["verified"]),
        (&json!("completed"), &json!(true))
    );
    // The registration was kept as well.
    let (_, listed) = plain("GET", &format!("{}/gateways", program.origin), None);
    assert_eq!(
        (&listed[0]["status"], &listed[0]["registration"]),
        (&json!("live"), &lease["registration"])
    );
}

#[test]
fn a_killed_orchestrator_asks_for_what_it_waited_for() {
    let (runtime, folder) = (Runtime::new().expect("a runtime"), Folder::new());
    let fake = Fake::start(&runtime);
    let mut program = Program::start(&folder.0, &["--poll-first-ms", "60000"]);
    let (status, lease, _) = Caller::new(&program.origin).send("POST", "/gateways", Some(&fake.registration()));
    assert_eq!(status, 201, "{lease}");

    fake.steps.lock().expect("the script").push_back(Step::Accept);
    fake.puts.lock().expect("the script").push_back(Put::Keep);
    let url = format!("{}/runs", program.origin);
    let request = json!({ "run": "r1", "agent": "triage", "input": 1, "mode": "async", "state": { "n": 1 } });
    let asking = std::thread::spawn(move || {
        let request = ureq::post(&url)
            .header("content-type", "application/json")
            .send(request.to_string());
        assert!(request.is_err(), "nobody was left to answer");
    });
    until(&program.origin, "r1", |run| run["steps"][0]["status"] == "waiting");
    program.child.kill().expect("SIGKILL");
    asking.join().expect("the caller ends");

    // On another port: the gateway's callback would find nobody.
    fake.polls.lock().expect("the script").push_back(Poll::Ended);
    let program = Program::start(&folder.0, &["--poll-first-ms", "60000"]);
    let run = until(&program.origin, "r1", |run| run["status"] != "running");
    assert_eq!(
        (&run["status"], &run["steps"][0]["via"]),
        (&json!("completed"), &json!("poll"))
    );
    assert_eq!(run["state"]["version"], 1);
    // Neither was done twice.
    assert_eq!(fake.seen.lock().expect("the steps").try_iter().count(), 1);
    assert_eq!(fake.seen_puts.lock().expect("the states").len(), 1);
}

/// Starts the program where it must not start; what it says about that.
fn refused(folder: &Folder, listen: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_reference-orchestrator"))
        .args(["--listen", listen, "--database"])
        .arg(folder.0.join("orchestrator.sqlite"))
        .arg("--keys")
        .arg(folder.0.join("keys.json"))
        .output()
        .expect("the program ends");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_listens_for_this_machine_unless_it_is_told_otherwise() {
    let folder = Folder::new();
    let told = refused(&folder, "0.0.0.0:0");
    assert!(told.contains("--allow-remote"), "{told}");
}

#[test]
fn wrong_keys_are_named_without_being_shown() {
    let folder = Folder::new();
    std::fs::write(
        folder.0.join("keys.json"),
        keys().replace("\"invoke\"]", "\"register\"]"),
    )
    .expect("the keys");
    let told = refused(&folder, "127.0.0.1:0");
    assert!(told.contains("purpose `invoke`") && !told.contains("AAAA"), "{told}");
}

#[test]
fn sigterm_stops_it_at_once_where_nothing_is_under_way() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0, &[]);
    let id = program.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill runs")
            .success()
    );
    assert!(program.child.wait().expect("it ends").success());
}

#[test]
fn what_was_handed_on_and_settled_survives_a_kill() {
    let runtime = Runtime::new().expect("a runtime");
    let fake = Fake::start(&runtime);
    let folder = Folder::new();
    let hanging = r#"{"runs":"hang","start_run":true}"#;
    let mut first = Program::start(&folder.0, &["--behave", hanging]);
    let told = plain("GET", &format!("{}/admin/behaviour", first.origin), None).1;
    assert_eq!((&told["runs"], &told["start_run"]), (&json!("hang"), &json!(true)));
    let (status, ..) = Caller::new(&first.origin).send("POST", "/gateways", Some(&fake.registration()));
    assert_eq!(status, 201);
    fake.steps.lock().expect("the script").push_back(Step::Hang);
    let body = json!({
        "run": "r1", "gateway": "fake", "agent": "triage", "step": "ask", "input": 1, "deadline_ms": 60_000,
    });
    let keyed = |origin: &str, key: &str| Caller {
        idempotency_key: Some(key.into()),
        ..Caller::new(origin)
    };
    std::thread::scope(|scope| {
        // Nobody answers it: the process is killed.
        let (origin, body) = (first.origin.clone(), &body);
        let call =
            scope.spawn(move || std::panic::catch_unwind(|| keyed(&origin, "r1").send("POST", "/runs", Some(body))));
        fake.seen
            .lock()
            .expect("the steps")
            .recv_timeout(PATIENCE)
            .expect("the step is invoked");
        first.child.kill().expect("killed");
        first.child.wait().expect("ended");
        let _ = call.join();
    });

    let second = Program::start(&folder.0, &[]);
    let (status, answer, signed) = keyed(&second.origin, "r1").send("POST", "/runs", Some(&body));
    assert_eq!(
        (status, signed, &answer["status"]),
        (200, true, &json!("completed")),
        "{answer}"
    );
    let settlement = json!({
        "run": "r2", "gateway": "fake", "reason": "unreachable", "routed_at_ms": 1, "steps": [], "state": [],
    });
    let path = "/runs/r2/settlement";
    let settled = keyed(&second.origin, "r2/settlement/1").send("POST", path, Some(&settlement));
    assert_eq!(settled.0, 200);
    drop(second);

    let third = Program::start(&folder.0, &[]);
    let again = keyed(&third.origin, "r2/settlement/1").send("POST", path, Some(&settlement));
    assert_eq!(again, settled);
    assert_eq!(
        plain("GET", &format!("{}/runs/r2", third.origin), None).1["status"],
        "settled"
    );
}

#[test]
fn a_lease_that_lapses_is_told_of_once_over_restarts() {
    let (runtime, folder) = (Runtime::new().expect("a runtime"), Folder::new());
    let fake = Fake::start(&runtime);
    let mut registrations = Vec::new();
    for generation in 1..=2 {
        let program = Program::start(&folder.0, &["--lease-ms", "1000"]);
        let (status, lease, _) = Caller::new(&program.origin).send("POST", "/gateways", Some(&fake.registration()));
        assert_eq!((status, &lease["generation"]), (201, &json!(generation)), "{lease}");
        registrations.push(lease["registration"].clone());
        // Nobody renews it, and nobody asks.
        let told = eventually("the lapse is told of", || {
            let told = folder.events("lease_lapsed");
            (told.len() >= registrations.len()).then_some(told)
        });
        let of: Vec<_> = told.iter().map(|event| event["registration"].clone()).collect();
        assert_eq!(of, registrations);
        let last = &told[told.len() - 1];
        assert_eq!(
            (&last["gateway"], &last["generation"]),
            (&json!("fake"), &json!(generation))
        );
        assert!(last["lapsed_at_ms"].as_u64() <= last["at_ms"].as_u64(), "{last}");
    }
}
