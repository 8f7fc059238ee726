//! `docs/when-the-orchestrator-is-down.md`, executed as it is written: each of its commands is run, in its order, and what
//! the page promises is what happens.

use std::collections::VecDeque;

use contract_tests::folder::Folder;
use contract_tests::gateway::Gateway;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::{blocks, fits, shell};
use crate::support::orchestrated;

/// As `cargo xtask dev` has it, in milliseconds.
const LEASE_MS: u64 = 60_000;

/// What the page names, and what stands for it here.
struct Reader {
    gateway: Gateway,
    orchestrator: Orchestrator,
    folder: Folder,
    /// The commands of the page that are still to come.
    commands: VecDeque<String>,
    /// The answers that it shows and that are still to come.
    shown: VecDeque<Value>,
    /// The API key that the reader has made.
    key: String,
    /// The run that the reader looks at.
    run: String,
}

impl Reader {
    fn begin() -> Self {
        let blocks = blocks("when-the-orchestrator-is-down.md");
        let of = |language: &'static str| blocks.iter().filter(move |block| block.language == language);
        let (gateway, orchestrator, _) = orchestrated(LEASE_MS);
        let _ = orchestrator.wait_for_live();
        Self {
            gateway,
            orchestrator,
            folder: Folder::new("reader"),
            commands: of("sh").flat_map(super::Block::commands).collect(),
            shown: of("json").map(|block| fragment(&block.text)).collect(),
            key: String::new(),
            run: String::new(),
        }
    }

    /// The page's next command, which has this part.
    #[track_caller]
    fn next(&mut self, part: &str) -> String {
        let command = self.commands.pop_front().unwrap_or_default();
        assert!(
            command.contains(part),
            "the page's next command is {command:?}, not one with {part:?}"
        );
        command
    }

    /// What a command prints.
    #[track_caller]
    fn run(&self, command: &str) -> String {
        let command = command
            .replace("./target/debug/baton", "baton")
            .replace("http://127.0.0.1:8787", &self.gateway.origin())
            .replace("http://127.0.0.1:8788", &self.orchestrator.url())
            .replace("dir_…", &self.run);
        let keys = json!([
            self.gateway.key("invoke").record(),
            self.gateway.key("operator").record()
        ]);
        let key_file = self.folder.write("keys.json", keys.to_string());
        let variables = [
            ("BATON_GATEWAY", self.gateway.origin()),
            ("BATON_KEY_FILE", key_file.display().to_string()),
            ("KEY", self.key.clone()),
        ];
        shell(&self.folder, &command, &variables)
    }

    /// The JSON that a command prints.
    #[track_caller]
    fn answer(&self, command: &str) -> Value {
        let printed = self.run(command);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// The answer to a call that completed.
    #[track_caller]
    fn completed(&self, command: &str) -> Value {
        let answer = self.answer(command);
        assert_eq!(answer["status"], "completed", "{answer}");
        answer
    }

    /// The page's next answer is like this one.
    #[track_caller]
    fn shows(&mut self, found: &Value) {
        let shown = self.shown.pop_front().expect("an answer on the page");
        assert!(is_like(&shown, found), "the page shows {shown}, and this came: {found}");
    }
}

/// What a block shows of an answer: all of it, or one member.
fn fragment(text: &str) -> Value {
    let whole = match text.trim_start().starts_with('{') {
        true => text.to_owned(),
        false => format!("{{{text}}}"),
    };
    serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether an answer has all that is shown of it, where an ellipsis stands for anything.
fn is_like(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        (Value::Object(shown), _) => shown
            .iter()
            .all(|(name, shown)| name == "…" || is_like(shown, &found[name])),
        (Value::String(shown), Value::String(found)) => fits(shown, found),
        _ => shown == found,
    }
}

#[test]
fn the_page_works_as_it_is_written() {
    let mut reader = Reader::begin();
    // The gateway and the orchestrator of this test stand for what it starts.
    reader.next("cargo xtask dev");
    let create = reader.next("baton api-keys create me");
    let made = reader.run(&create);
    reader.key = made
        .lines()
        .find(|line| line.starts_with("baton_"))
        .expect("a key")
        .to_owned();
    reader.next("KEY=baton_…");

    // 1 to 4: the plug is pulled.
    let query = reader.next("/agents/triage/query");
    let answer = reader.completed(&query);
    reader.shows(&answer);
    let pull = reader.next(r#""runs":"hang""#);
    reader.answer(&pull);
    let fallback = reader.completed(&query);
    assert_eq!(fallback["output"], answer["output"]);
    reader.shows(&fallback);
    wait_for("the gateway to stop asking", || {
        (reader.completed(&query)["route"]["reason"] == "breaker-open").then_some(())
    });

    // 5: it is back.
    let put_back = reader.next("/admin/behaviour --json '{}'");
    reader.answer(&put_back);
    let status = reader.next("baton link status");
    assert!(reader.run(&status).contains("reference"));
    let close = reader.next("baton link breaker auto");
    assert!(reader.run(&close).contains("breaker closed"));
    wait_for("the orchestrator to coordinate", || {
        (reader.completed(&query)["route"]["by"] == "orchestrated").then_some(())
    });

    // 6: what was settled.
    reader.run = fallback["run"].as_str().expect("a run").to_owned();
    let theirs = reader.next("8788/runs/dir_…");
    let settlement = wait_for("a settlement", || {
        reader.answer(&theirs)["settlements"].as_array()?.first().cloned()
    });
    assert_eq!(settlement["reason"], "timeout");
    let ours = reader.next("baton run show dir_…");
    wait_for("its acknowledgement", || {
        reader.run(&ours).contains("settlement acknowledged").then_some(())
    });

    // The rest of the page, which begins with an example of two orchestrators.
    let two = reader.shown.pop_front().expect("the route past an orchestrator");
    assert_eq!(two["route"]["tried"][0]["orchestrator"], "first");
    for part in ["text/event-stream", "baton query"] {
        let followed = reader.next(part);
        let seen = reader.run(&followed);
        assert!(seen.contains("support"), "{seen}");
    }
    let workflow = reader.next("/agents/support-desk/query");
    reader.completed(&workflow);
    let repeated = reader.next("Idempotency-Key");
    let first = reader.completed(&repeated);
    let second = reader.completed(&repeated);
    assert_eq!(
        (&second["run"], &second["route"]["by"]),
        (&first["run"], &json!("stored"))
    );
    assert!(reader.commands.is_empty(), "{:?}", reader.commands);
    assert!(reader.shown.is_empty(), "{:?}", reader.shown);
}
