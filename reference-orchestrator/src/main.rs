//! `reference-orchestrator`: reads its arguments, listens, and stops when it is asked to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use baton::signature::{Keyring, Origins};
use clap::Parser;
use reference_orchestrator::behaviour::{Behaviour, Told};
use reference_orchestrator::client::Client;
use reference_orchestrator::drive::{POLL_FIRST_MS, POLL_MAX_MS};
use reference_orchestrator::log::Log;
use reference_orchestrator::registration::PROOF_MAX;
use reference_orchestrator::store::Store;
use reference_orchestrator::{LEASE_DEFAULT_MS, LEASE_MAX_MS, LEASE_MIN_MS, Orchestrator, outside, server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests that are under way have this long to end once the process is asked to stop. Runs go on after the next start.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A small orchestrator that speaks Baton's own protocol, for development and for the contract tests.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  reference-orchestrator --database orchestrator.sqlite --keys keys.json\n  curl -H 'content-type: application/json' -d '{\"agent\":\"triage\",\"input\":{\"text\":\"Help!\"}}' http://127.0.0.1:8788/runs"
)]
struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8788")]
    listen: SocketAddr,
    /// The SQLite file; made where there is none
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// The key records: a JSON array, the same as the gateway's BATON_KEYS
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The id by which key records name this orchestrator
    #[arg(long, default_value = "reference")]
    id: String,
    /// The origin that gateways call it by [default: http:// and the address it listens on]
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// How long a lease runs, in milliseconds
    #[arg(long, default_value_t = LEASE_DEFAULT_MS, value_parser = clap::value_parser!(u64).range(LEASE_MIN_MS..=LEASE_MAX_MS))]
    lease_ms: u64,
    /// Ask for a step whose callback has not come after this time, in milliseconds; then ever less often
    #[arg(long, default_value_t = POLL_FIRST_MS, value_parser = clap::value_parser!(u64).range(1..=POLL_MAX_MS))]
    poll_first_ms: u64,
    /// For tests: answer 503 to this many callbacks, the first ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    refuse_callbacks: u32,
    /// For tests: misbehave from the start, as `POST /admin/behaviour` tells it; for example '{"runs":"hang"}'
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = behaviour)]
    behave: Behaviour,
    /// Listen on an address that other machines reach: they can then use the operators' surface, which asks nobody who they are
    #[arg(long)]
    allow_remote: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let result = runtime.block_on(run(arguments));
    // Whatever still blocks is in the database, and is taken up by the next start.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

fn behaviour(text: &str) -> Result<Behaviour, String> {
    Behaviour::parse(text.as_bytes()).map_err(|problem| problem.to_string())
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("reference-orchestrator: {reason}");
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> Result<(), String> {
    if !arguments.listen.ip().is_loopback() && !arguments.allow_remote {
        return Err(format!(
            "{} is reachable from other machines, and the operators' surface asks nobody who they are: \
             listen on 127.0.0.1, or add --allow-remote",
            arguments.listen
        ));
    }
    let in_file = |file: &PathBuf, reason: &dyn ToString| format!("{}: {}", file.display(), reason.to_string());
    let keys = std::fs::read_to_string(&arguments.keys).map_err(|error| in_file(&arguments.keys, &error))?;
    let keyring = Keyring::parse(&keys).map_err(|error| in_file(&arguments.keys, &error))?;
    let store = Store::open(&arguments.database).map_err(|error| in_file(&arguments.database, &error.cause()))?;

    // Before listening, so that no signal between the two is lost.
    let stop = stop_signal().map_err(|error| format!("cannot handle signals: {error}"))?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let own = format!("http://{address}");
    let origin = arguments.origin.as_deref().unwrap_or(&own);
    let app = Arc::new(Orchestrator {
        origins: Origins::parse(origin).map_err(|_| format!("--origin {origin} is no origin, as in https://host"))?,
        id: arguments.id,
        keyring,
        lease_ms: arguments.lease_ms,
        proof_max: PROOF_MAX,
        poll_first_ms: arguments.poll_first_ms,
        callbacks_to_refuse: arguments.refuse_callbacks.into(),
        behaviour: Told::new(arguments.behave),
        store,
        client: Client::default(),
        log: Log::StandardError,
        runs_under_way: Arc::default(),
        stop: outside::Stop::default(),
    });
    if app.invoke_key(outside::now_ms()).is_none() {
        return Err(format!(
            "{}: no valid key of orchestrator `{}` with purpose `invoke`: make one with `baton keys new`",
            arguments.keys.display(),
            app.id
        ));
    }
    println!("listening on {own}");
    let (stopped, late) = (requested(stop.clone()), async {
        requested(stop).await;
        tokio::time::sleep(STOP_MAX).await;
    });
    tokio::select! {
        served = server::serve(app, listener, stopped) => served.map_err(|error| error.to_string()),
        () = late => Ok(()),
    }
}

/// Becomes true with the first SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(true);
    });
    Ok(receiver)
}

async fn requested(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|requested| *requested).await;
}
