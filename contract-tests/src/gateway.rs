//! The gateway on workerd, started by the pinned wrangler.

use std::env;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use serde_json::{Value, json};

use crate::command_line::Run;
use crate::environment::Environment;
use crate::folder::Folder;
use crate::http1::exchange;
use crate::keys::{Key, Keys};
use crate::outside::{now_s, wait_for};
use crate::ports::{free_port, is_free};
use crate::process::{Process, tail};
use crate::queue::Queue;

/// Where the local runtime takes the word to fire the cron trigger.
const CRON_PATH: &str = "/cdn-cgi/local/scheduled";

/// What a gateway is configured with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `BATON_KEYS`
    pub keys: Keys,
    /// `BATON_ORCHESTRATORS`
    pub orchestrators: Vec<Configured>,
    /// Other variables.
    pub variables: Vec<(&'static str, String)>,
    /// Other secrets. wrangler's log shows variables; it does not show these.
    pub secrets: Vec<(&'static str, String)>,
    /// The port that it listens on; a free one where it is none.
    pub port: Option<u16>,
    /// Workers that are bound to it: the name of each binding, and its script, a module.
    pub bound: Vec<(&'static str, &'static str)>,
    /// Whether the operator's database is made before the gateway starts, as it is before a deployment.
    pub history: bool,
    /// The queue that its telemetry goes through; straight from each run where it is `None`.
    pub queue: Option<Queue>,
}

impl Options {
    /// A caller's key `first`, an operator's key `operator`, and the operator's database.
    #[must_use]
    pub fn with_operator() -> Self {
        Self {
            keys: Keys::new([
                Key::new("first", "acme", "invoke"),
                Key::new("operator", "acme", "operate"),
            ]),
            history: true,
            ..Self::default()
        }
    }
}

/// An orchestrator as the gateway is configured with it.
#[derive(Debug, Clone)]
pub struct Configured {
    /// Its id.
    pub id: String,
    /// Its URL.
    pub url: String,
    /// Where its callbacks may go; left out where it is `None`.
    pub callback_origins: Option<Vec<String>>,
    /// Where it takes telemetry; left out where it is `None`.
    pub telemetry_url: Option<String>,
    /// How many of its steps may be under way; left out where it is `None`.
    pub max_concurrent_steps: Option<u32>,
    /// Whether customers are answered while it refuses the gateway's key; left out where it is `false`.
    pub fallback_when_refused: bool,
}

impl Configured {
    /// An orchestrator whose callbacks go to its own origin.
    #[must_use]
    pub fn new(id: &str, url: &str) -> Self {
        Self {
            id: id.to_owned(),
            url: url.to_owned(),
            callback_origins: None,
            telemetry_url: None,
            max_concurrent_steps: None,
            fallback_when_refused: false,
        }
    }

    /// The same with other origins for its callbacks.
    #[must_use]
    pub fn calling_back(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.callback_origins = Some(origins.into_iter().collect());
        self
    }

    /// The same with so many steps under way at once.
    #[must_use]
    pub fn limited_to(mut self, steps: u32) -> Self {
        self.max_concurrent_steps = Some(steps);
        self
    }

    /// The same, and customers are answered while it refuses the gateway's key.
    #[must_use]
    pub fn falling_back_when_refused(mut self) -> Self {
        self.fallback_when_refused = true;
        self
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({ "id": self.id, "url": self.url });
        if let Some(url) = &self.telemetry_url {
            entry["telemetry_url"] = url.as_str().into();
        }
        if let Some(steps) = self.max_concurrent_steps {
            entry["max_concurrent_steps"] = steps.into();
        }
        if self.fallback_when_refused {
            entry["fallback_when_refused"] = true.into();
        }
        if let Some(origins) = &self.callback_origins {
            entry["callback_origins"] = origins.clone().into();
        }
        entry
    }
}

/// A gateway, with its state in a folder of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Option<Process>,
    folder: Folder,
    port: u16,
    keys: Keys,
    /// The configurations of the Workers that are bound to it.
    bound: Vec<PathBuf>,
    /// What `/healthz` answers once it serves.
    health: u16,
    /// Where it finds other gateways.
    registry: PathBuf,
}

/// The keys of a gateway that many tests share: one of every kind, all of the orchestrator `acme` but `other`.
#[must_use]
pub fn keys_of_every_kind() -> Keys {
    let now_s = now_s();
    Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("second", "acme", "invoke"),
        Key::new("narrow", "acme", "invoke").with("agents", vec!["triage"]),
        Key::new("expired", "acme", "invoke").with("not_after", now_s - 60),
        Key::new("future", "acme", "invoke").with("not_before", now_s + 24 * 60 * 60),
        Key::new("register", "acme", "register"),
        Key::new("hooks", "acme", "invoke").with("scheme", "standard-webhooks"),
        Key::new("hooks-narrow", "acme", "invoke")
            .with("scheme", "standard-webhooks")
            .with("agents", vec!["triage"]),
        Key::new("other", "other", "invoke"),
    ])
}

impl Gateway {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(options: Options) -> Self {
        Self::start_until(options, 200)
    }

    /// Starts one whose configuration is wrong, and waits until it says so.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start_misconfigured(options: Options) -> Self {
        Self::start_until(options, 503)
    }

    fn start_until(options: Options, health: u16) -> Self {
        let mut gateway = Self::prepared(options, health);
        gateway.restart();
        gateway
    }

    fn prepared(options: Options, health: u16) -> Self {
        let folder = Folder::new("gateway");
        let port = options.port.unwrap_or_else(free_port);
        let mut config = configuration(port, &options);
        let bound: Vec<_> = options
            .bound
            .iter()
            .map(|(name, script)| bind(&mut config, &folder, name, script))
            .collect();
        folder.write("wrangler.json", config.to_string());
        let keys = ("BATON_KEYS", options.keys.to_json().to_string());
        let secrets = std::iter::once(&keys).chain(&options.secrets);
        let secrets: String = secrets.map(|(name, value)| format!("{name}='{value}'\n")).collect();
        folder.write("secrets.env", secrets);
        let registry = options.queue.as_ref().and_then(Queue::registry);
        let gateway = Self {
            process: None,
            registry: registry.map_or_else(|| folder.join("registry"), Path::to_owned),
            folder,
            port,
            keys: options.keys,
            bound,
            health,
        };
        if options.history {
            gateway.make_history();
        }
        gateway
    }

    /// Applies the migrations of the operator's database.
    fn make_history(&self) {
        let mut command = self.wrangler(&["d1", "migrations", "apply", "baton-history", "--local"]);
        command.env("CI", "true");
        let _ = Run::of(&mut command, self.folder.path()).expect(0);
    }

    /// Writes a value into a KV namespace of a gateway that does not run, past everybody who checks it.
    ///
    /// # Panics
    /// When it runs, or the value cannot be written.
    pub fn write_kv(&self, binding: &str, key: &str, value: &str) {
        assert!(self.process.is_none(), "the gateway runs");
        let arguments = ["kv", "key", "put", key, value, "--binding", binding, "--local"];
        let _ = Run::of(&mut self.wrangler(&arguments), self.folder.path()).expect(0);
    }

    /// What a KV namespace has under a key.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read_kv(&self, binding: &str, key: &str) -> String {
        let arguments = ["kv", "key", "get", key, "--binding", binding, "--local"];
        Run::of(&mut self.wrangler(&arguments), self.folder.path())
            .expect(0)
            .stdout
    }

    /// Starts one that nobody calls: it is waited for until it listens, and asked nothing.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start_uncalled(options: Options) -> Self {
        let mut gateway = Self::prepared(options, 200);
        let process = gateway.begin();
        wait_for("the gateway to listen", || (!is_free(gateway.port)).then_some(()));
        gateway.process = Some(process);
        gateway
    }

    /// Fires the cron trigger, as the platform does every five minutes, and waits for its end.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn fire_cron(&self) {
        let request = format!("GET {CRON_PATH} HTTP/1.1\r\nhost: {}\r\n\r\n", self.authority());
        let answer = exchange(self.port, request.as_bytes()).expect("the runtime answers");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// Changes its database D1, while it does not run.
    ///
    /// # Panics
    /// When it runs, or the statement fails.
    pub fn change_history(&self, statement: &str) {
        assert!(self.process.is_none(), "the gateway runs");
        let mut command = self.wrangler(&["d1", "execute", "baton-history", "--local", "--command", statement]);
        command.env("CI", "true");
        let _ = Run::of(&mut command, self.folder.path()).expect(0);
    }

    /// Starts it again, on the same state and with the same configuration.
    ///
    /// # Panics
    /// When it runs, or does not serve.
    pub fn restart(&mut self) {
        let mut process = self.begin();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", self.authority());
        wait_for("the gateway to serve", || {
            process.assert_runs();
            let answer = exchange(self.port, request.as_bytes()).ok()?;
            (answer.status == self.health).then_some(())
        });
        self.process = Some(process);
    }

    fn begin(&self) -> Process {
        assert!(self.process.is_none(), "the gateway runs");
        wait_for("the gateway's port to be free", || is_free(self.port).then_some(()));
        Process::start(self.command(), &self.log_file(), self.folder.path())
    }

    /// Kills it with SIGKILL: wrangler, workerd, all of it, at once.
    pub fn kill_hard(&mut self) {
        self.process = None;
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its public origin.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Its queue, for another gateway that hands over to it.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue::Elsewhere(self.registry.clone())
    }

    /// A key that it knows.
    #[must_use]
    #[track_caller]
    pub fn key(&self, id: &str) -> &Key {
        self.keys.get(id)
    }

    /// All that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The JSON lines of its log.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let log = self.log();
        let events = log.lines().filter_map(|line| {
            // wrangler puts a mark before what was written as an error, and a colour behind it.
            let begin = line.find("{\"event\":")?;
            serde_json::Deserializer::from_str(&line[begin..])
                .into_iter::<Value>()
                .next()?
                .ok()
        });
        events.collect()
    }

    /// The log line of a request.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn log_line(&self, request_id: &str) -> Value {
        let lines = wait_for("a request's log line", || {
            let mut lines = self.events();
            lines.retain(|line| line["event"] == "request" && line["request_id"] == request_id);
            (!lines.is_empty()).then_some(lines)
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.into_iter().next().unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        let mut command = self.wrangler(&["dev", "--local", "--ip", "127.0.0.1", "--port", &port]);
        command
            .args(["--inspector-port", "0", "--show-interactive-dev-session=false"])
            .arg("--env-file")
            .arg(self.folder.join("secrets.env"));
        // Beside the gateway's own, which comes first and is the one that listens.
        for config in &self.bound {
            command.arg("--config").arg(config);
        }
        command
    }

    /// wrangler with this gateway's configuration and state.
    fn wrangler(&self, arguments: &[&str]) -> Command {
        let environment = Environment::get();
        let mut command = Command::new(&environment.node);
        command
            .arg(&environment.wrangler)
            .args(arguments)
            .arg("--config")
            .arg(self.folder.join("wrangler.json"))
            .arg("--persist-to")
            .arg(self.folder.join("state"))
            .current_dir(self.folder.path())
            .env("PATH", path_with(&environment.node_modules.join(".bin")))
            // Nothing is sent anywhere, nothing is asked of the network, and gateways do not see each other, but
            // those that share a queue.
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_SEND_ERROR_REPORTS", "false")
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .env("WRANGLER_LOG_PATH", self.folder.join("wrangler-logs"))
            .env("WRANGLER_REGISTRY_PATH", &self.registry)
            .env("NO_COLOR", "1");
        command
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", tail(&self.log_file()));
        }
        // Before the folder, which is removed after this.
        self.kill_hard();
    }
}

/// Binds a Worker of its own to the gateway: answers where its configuration is.
fn bind(config: &mut Value, folder: &Folder, name: &str, script: &str) -> PathBuf {
    let service = name.to_ascii_lowercase();
    let entry = json!({"binding": name, "service": service});
    match config["services"].as_array_mut() {
        Some(services) => services.push(entry),
        None => config["services"] = json!([entry]),
    }
    folder.write(&format!("{service}.mjs"), script);
    let file = format!("{service}.json");
    let worker = json!({
        "name": service,
        "main": format!("{service}.mjs"),
        "compatibility_date": config["compatibility_date"],
    });
    folder.write(&file, worker.to_string());
    folder.join(&file)
}

/// The configuration that `cargo xtask test` derived, with this gateway's own variables.
fn configuration(port: u16, options: &Options) -> Value {
    let file = &Environment::get().config;
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut config: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let orchestrators: Vec<_> = options.orchestrators.iter().map(Configured::to_json).collect();
    config["vars"]["BATON_ORIGINS"] = format!("http://127.0.0.1:{port}").into();
    config["vars"]["BATON_ORCHESTRATORS"] = Value::from(orchestrators).to_string().into();
    for (name, value) in &options.variables {
        config["vars"][*name] = value.as_str().into();
    }
    if let Some(queue) = &options.queue {
        queue.configure(&mut config);
    }
    config
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let present = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_owned()).chain(env::split_paths(&present));
    env::join_paths(folders).expect("a folder's name without a colon")
}

/// A gateway that all tests of this process share: they need no configuration of their own and do not kill it.
#[derive(Debug)]
pub struct Shared(&'static Gateway);

/// The shared gateway, started when it is first asked for. It has [`keys_of_every_kind`] and no orchestrator.
#[must_use]
pub fn shared() -> Shared {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    Shared(GATEWAY.get_or_init(|| {
        Gateway::start(Options {
            keys: keys_of_every_kind(),
            ..Options::default()
        })
    }))
}

impl Shared {
    /// A key that it knows, for as long as the process lives.
    #[must_use]
    #[track_caller]
    pub fn key(&self, id: &str) -> &'static Key {
        self.0.key(id)
    }
}

impl Deref for Shared {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", tail(&self.log_file()));
        }
    }
}
