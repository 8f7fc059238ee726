//! The gateway on workerd and the reference orchestrator, on this machine, until Ctrl-C.

mod keys;
mod ports;
mod ready;
mod screen;
mod service;
mod store;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{self, Variant};
use crate::cli::DevOptions;
use crate::config::{self, Changes};
use crate::setup::{self, Node};
use crate::{paths::Paths, signals};
use service::{Service, Services};

/// Where the gateway listens unless told otherwise; wrangler.toml says the same.
pub const GATEWAY_PORT: u16 = 8787;

/// Where the reference orchestrator listens unless told otherwise; wrangler.toml says the same.
pub const ORCHESTRATOR_PORT: u16 = 8788;

/// The orchestrator's id in keys and in BATON_ORCHESTRATORS.
const ORCHESTRATOR_ID: &str = "reference";

/// How often it is looked whether both still run.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// What both sides are told about each other.
#[derive(Debug)]
struct Addresses {
    gateway_port: u16,
    orchestrator_port: u16,
}

impl Addresses {
    fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port)
    }

    fn orchestrator(&self) -> String {
        format!("http://127.0.0.1:{}", self.orchestrator_port)
    }
}

/// Runs until Ctrl-C or SIGTERM, or until one of the two ends by itself, which is a failure.
pub fn run(paths: &Paths, options: &DevOptions) -> Result<ExitCode> {
    let state = paths.dev_state();
    let addresses = Addresses {
        gateway_port: options.port,
        orchestrator_port: options.orchestrator_port,
    };
    let _only_one = lock(&state)?;
    ports::check(&[
        ("the gateway", "--port", addresses.gateway_port),
        (
            "the reference orchestrator",
            "--orchestrator-port",
            addresses.orchestrator_port,
        ),
    ])?;

    let tools = setup::for_worker(paths)?;
    let main = build::worker_with(paths, &tools, Variant::Dev)?;
    build::native(paths)?;
    keys::prepare(paths, ORCHESTRATOR_ID, &addresses.gateway())?;
    let config = paths.made().join("dev/wrangler.json");
    config::write(paths, &config, &changes(&main, &addresses))?;
    store::migrate(paths, &tools.node, &config)?;

    eprintln!("Starting the reference orchestrator and the gateway ...");
    let mut services = Services::default();
    services.start(orchestrator(paths, &addresses)?)?;
    services.start(gateway(paths, &tools.node, &config, &addresses)?)?;
    let registration = match ready::wait(&mut services, &addresses) {
        Err(_) if signals::stop_requested() => return Ok(ExitCode::SUCCESS),
        result => result?,
    };
    screen::print(paths, &addresses, &registration);

    while !signals::stop_requested() {
        services.check()?;
        thread::sleep(WATCH_INTERVAL);
    }
    eprintln!("\nStopping ...");
    services.stop();
    Ok(ExitCode::SUCCESS)
}

/// Two gateways on one state folder would corrupt it.
fn lock(state: &Path) -> Result<File> {
    fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
    let file = File::create(state.join("lock"))?;
    if file.try_lock().is_err() {
        bail!("`cargo xtask dev` runs in this checkout already: stop it first (Ctrl-C in its terminal)");
    }
    Ok(file)
}

fn changes(main: &Path, addresses: &Addresses) -> Changes {
    let orchestrators = serde_json::json!([{ "id": ORCHESTRATOR_ID, "url": addresses.orchestrator() }]);
    Changes {
        main: main.to_path_buf(),
        origins: vec![addresses.gateway()],
        orchestrators: Some(orchestrators.to_string()),
    }
}

fn orchestrator(paths: &Paths, addresses: &Addresses) -> Result<Service> {
    let state = paths.dev_state();
    let mut command = Command::new(paths.binary("reference-orchestrator"));
    command
        .args(["--listen", &format!("127.0.0.1:{}", addresses.orchestrator_port)])
        .arg("--database")
        .arg(state.join("orchestrator.sqlite"))
        .arg("--keys")
        .arg(state.join("keys.json"));
    Ok(Service::new(
        "the reference orchestrator",
        command,
        state.join("orchestrator.log"),
    ))
}

fn gateway(paths: &Paths, node: &Node, config: &Path, addresses: &Addresses) -> Result<Service> {
    let state = paths.dev_state();
    let mut command = node.wrangler()?;
    command
        .args([
            "dev",
            "--local",
            "--ip",
            "127.0.0.1",
            "--port",
            &addresses.gateway_port.to_string(),
        ])
        // Any free port: a fixed one would collide with another checkout's.
        .args([
            "--inspector-port",
            "0",
            "--show-interactive-dev-session=false",
            "--config",
        ])
        .arg(config)
        .arg("--env-file")
        .arg(paths.root.join(keys::SECRETS_FILE))
        .arg("--persist-to")
        .arg(state.join("state"))
        .current_dir(&paths.root);
    Ok(Service::new(
        "the gateway (wrangler dev)",
        command,
        state.join("gateway.log"),
    ))
}
