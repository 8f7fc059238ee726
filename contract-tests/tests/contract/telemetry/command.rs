//! `baton executions`, `baton metrics` and `baton outbox` against the real gateway.

use contract_tests::command_line::Run;
use contract_tests::folder::Folder;
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

use super::{ended_executions, gateway, invoke, nobody, outbox, step};
use crate::cli::baton_at;

const TRACES: &str = "/v1/traces";
/// The step that the receiver refuses.
const POISON: &str = "poison-step";

struct Operator {
    gateway: Gateway,
    folder: Folder,
}

impl Operator {
    #[track_caller]
    fn baton(&self, arguments: &[&str], code: i32) -> Run {
        baton_at(&self.gateway, &self.folder, self.gateway.key("operator"), arguments).expect(code)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let run = self.baton(&[arguments, &["--json"]].concat(), 0);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
    }
}

#[test]
fn an_operator_asks_by_the_command_what_was_executed_and_what_was_given_up() {
    let receiver = Receiver::start();
    receiver.plan(TRACES, [Reaction::StatusIfBodyHas(400, POISON.to_owned())]);
    let gateway = gateway(&receiver.origin(), "http/json", nobody());
    let (run, failing) = (fresh(), fresh());
    for name in ["s1", "s2", POISON] {
        invoke(&gateway, step(&gateway, &run, name));
    }
    let body = json!({ "run": failing, "step": "s1", "input": { "actions": [{ "fail": { "code": "boom" } }] } });
    let message = Message::step(&gateway, "script", &body);
    let _ = message.signed(gateway.key("first")).send();
    let rows = ended_executions(&gateway, 4);
    wait_for("the events that are given up", || {
        (outbox(&gateway)["dead_letters"].as_array()?.len() == 2).then_some(())
    });
    let operator = Operator {
        gateway,
        folder: Folder::new("cli"),
    };

    let shown = operator.baton(&["executions", "--outcome", "failed"], 0).stdout;
    assert!(
        shown.contains("script  failed  boom") && shown.contains(&failing) && !shown.contains(&run),
        "{shown}"
    );
    let listed = operator.json(&["executions", "--run", &run]);
    assert_eq!(listed["executions"].as_array().map(Vec::len), Some(3));
    let lines = operator.baton(&["executions", "--format", "jsonl", "--all"], 0);
    let told: Vec<Value> = lines
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((told, lines.stderr.as_str()), (rows, ""));
    let csv = operator.baton(&["executions", "--format", "csv", "--limit", "3"], 0);
    let names = csv.stdout.lines().next().unwrap_or_default();
    assert!(names.starts_with("id,orchestrator,run,step"), "{names}");
    assert_eq!(csv.stdout.lines().count(), 4);
    let cursor = csv.stderr.trim().strip_prefix("there are more: --cursor ");
    let cursor = cursor.expect("a cursor");
    let rest = operator.baton(&["executions", "--format", "csv", "--cursor", cursor], 0);
    assert_eq!((rest.stdout.lines().count(), rest.stderr.as_str()), (2, ""));
    assert_eq!(rest.stdout.lines().next(), Some(names));

    let shown = operator.baton(&["metrics", "script", "--window", "1h"], 0).stdout;
    for line in [
        "executions  4 ended, 0 under way",
        "errors      25.0 %",
        "attempts    4 ended",
    ] {
        assert!(shown.contains(line), "no {line} in:\n{shown}");
    }
    assert_eq!(operator.json(&["metrics", "script"])["outcomes"]["failed"], 1);

    let shown = operator.baton(&["outbox", "list"], 0).stdout;
    assert!(shown.contains("status 400") && shown.contains(&run), "{shown}");
    let listed = operator.json(&["outbox", "list", "--limit", "100"]);
    let letters: Vec<_> = listed["dead_letters"]
        .as_array()
        .expect("letters")
        .iter()
        .map(|letter| letter["letter"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(letters.len(), 2);
    let refused = operator.baton(&["outbox", "resend", &letters[0]], 1).stdout;
    assert!(
        refused.contains(&format!("dead  {}: status 400", letters[0])),
        "{refused}"
    );
    receiver.plan(TRACES, [Reaction::Status(200)]);
    for letter in &letters {
        let resent = operator.baton(&["outbox", "resend", letter], 0).stdout;
        assert!(resent.contains(&format!("delivered  {letter}")), "{resent}");
    }
    let gone = operator.baton(&["outbox", "resend", &letters[0]], 3).stdout;
    assert!(gone.contains("outbox-letter-unknown"), "{gone}");
    let shown = operator.baton(&["outbox", "list"], 0).stdout;
    assert!(shown.contains("no event was given up"), "{shown}");
}
