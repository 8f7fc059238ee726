//! The reference orchestrator, as it is built for people.

use std::fs;
use std::process::Command;
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::folder::Folder;
use crate::http1::{Response, exchange};
use crate::keys::Keys;
use crate::outside::wait_for;
use crate::ports::{free_port, is_free};
use crate::process::{Process, tail};

/// The name of its database. SQLite keeps two more files beside it.
const DATABASE: &str = "orchestrator.sqlite";
/// The name of its log.
const LOG: &str = "orchestrator.log";

/// A reference orchestrator, with its database in a folder of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Orchestrator {
    process: Option<Process>,
    // Made with the first process: from then on its watchdog removes it.
    folder: Option<Folder>,
    port: u16,
    id: String,
    keys: Keys,
    lease_ms: u64,
    behaviour: Value,
}

impl Orchestrator {
    /// One that is not started yet, but has its address.
    #[must_use]
    pub fn new(id: &str, keys: &Keys, lease_ms: u64) -> Self {
        Self {
            process: None,
            folder: None,
            port: free_port(),
            id: id.to_owned(),
            keys: keys.clone(),
            lease_ms,
            behaviour: json!({}),
        }
    }

    /// How it behaves from each of its starts on, as in [`Self::behave`]. What it is told later, a restart forgets.
    #[must_use]
    pub fn behaving(mut self, behaviour: Value) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// The same for one that is there already: how it behaves from its next start on.
    pub fn start_behaving(&mut self, behaviour: Value) {
        self.behaviour = behaviour;
    }

    /// Changes its database while it does not run. Answers how many rows that were.
    ///
    /// # Panics
    /// When it runs or was never started, or the statement fails.
    pub fn change(&self, statement: &str) -> usize {
        assert!(self.process.is_none(), "the orchestrator runs");
        let folder = self.folder.as_ref().expect("it was started before");
        let database = Connection::open(folder.join(DATABASE)).expect("its database");
        database.execute(statement, ()).expect("a statement")
    }

    /// Starts it, or starts it again on the same database, and waits until it serves.
    ///
    /// # Panics
    /// When it runs, or does not serve.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the orchestrator runs");
        wait_for("the orchestrator's port to be free", || {
            is_free(self.port).then_some(())
        });
        let folder = self.folder.get_or_insert_with(|| Folder::new("orchestrator"));
        let mut command = Command::new(&Environment::get().orchestrator);
        command
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--id", &self.id])
            .args(["--lease-ms", &self.lease_ms.to_string(), "--database"])
            .arg(folder.join(DATABASE))
            .args(["--behave", &self.behaviour.to_string(), "--keys"])
            .arg(folder.write("keys.json", self.keys.to_json()));
        let mut process = Process::start(command, &folder.join(LOG), folder.path());
        wait_for("the orchestrator to serve", || {
            process.assert_runs();
            (self.call("GET", "/healthz", None).ok()?.status == 200).then_some(())
        });
        self.process = Some(process);
    }

    /// Kills it with SIGKILL.
    pub fn kill_hard(&mut self) {
        self.process = None;
    }

    /// Kills it with SIGKILL, and starts it again on the same database.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn restart(&mut self) {
        self.kill_hard();
        self.start();
    }

    /// Kills it with SIGKILL, and starts it again on an empty database: it knows no gateway and no run.
    ///
    /// # Panics
    /// When the database cannot be removed, or it does not serve.
    pub fn restart_empty(&mut self) {
        self.kill_hard();
        if let Some(folder) = &self.folder {
            for end in ["", "-wal", "-shm"] {
                let file = folder.join(&format!("{DATABASE}{end}"));
                assert!(
                    fs::remove_file(&file).is_ok() || !file.exists(),
                    "{} stays",
                    file.display()
                );
            }
        }
        self.start();
    }

    /// Tells it how to answer gateways' calls from now on: the body of `POST /admin/behaviour`. `{}` is back to normal.
    ///
    /// # Panics
    /// When it does not take that.
    #[track_caller]
    pub fn behave(&self, behaviour: &Value) {
        self.post("/admin/behaviour", Some(behaviour), 200);
    }

    /// A run as it knows it; nothing where it does not.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn run(&self, run: &str) -> Option<Value> {
        let response = self.call("GET", &format!("/runs/{run}"), None);
        let response = response.expect("the orchestrator answers");
        (response.status != 404).then(|| json_of(&response, 200))
    }

    /// What gateways told of a run that they routed by themselves, the oldest first. None for a run that is unknown.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn settlements(&self, run: &str) -> Vec<Value> {
        let run = self.run(run).unwrap_or_default();
        run["settlements"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for the first settlement of a run.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    #[track_caller]
    pub fn wait_for_settlement(&self, run: &str) -> Value {
        wait_for("a settlement", || self.settlements(run).into_iter().next())
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its registrations, the newest first.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn registrations(&self) -> Vec<Value> {
        self.get("/gateways").as_array().cloned().unwrap_or_default()
    }

    /// Its one live registration, if there is one.
    ///
    /// # Panics
    /// When there are more.
    #[must_use]
    #[track_caller]
    pub fn live(&self) -> Option<Value> {
        let mut live = self.registrations();
        live.retain(|registration| registration["status"] == "live");
        assert!(live.len() <= 1, "two live registrations of one gateway: {live:?}");
        live.into_iter().next()
    }

    /// Waits for a live registration.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    #[track_caller]
    pub fn wait_for_live(&self) -> Value {
        wait_for("a live registration", || self.live())
    }

    /// Reads from the operators' surface.
    ///
    /// # Panics
    /// When it does not answer 200.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let response = self.call("GET", path, None).expect("the orchestrator answers");
        json_of(&response, 200)
    }

    /// The ids of the runs that the gateway has handed on. Others are known by their settlement alone, which may come late.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn handed_on(&self) -> Vec<Value> {
        let runs = self.get("/runs");
        let runs = runs.as_array().expect("a list").iter();
        let handed_on = runs.filter(|run| run["handed_on_by"] == "baton");
        handed_on.map(|run| run["run"].clone()).collect()
    }

    /// Sends to the operators' surface and reads the answer.
    ///
    /// # Panics
    /// When it answers another status.
    #[track_caller]
    pub fn post(&self, path: &str, body: Option<&Value>, status: u16) -> Value {
        let response = self.call("POST", path, body).expect("the orchestrator answers");
        json_of(&response, status)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Response> {
        let body = body.map_or(String::new(), Value::to_string);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        exchange(self.port, request.as_bytes())
    }
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.as_ref().filter(|_| thread::panicking()) {
            eprintln!("{}", tail(&folder.join(LOG)));
        }
        self.kill_hard();
    }
}

#[track_caller]
fn json_of(response: &Response, status: u16) -> Value {
    let text = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, status, "{text}");
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
