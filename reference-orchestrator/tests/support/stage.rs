//! The orchestrator within the test's own process.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use baton::signature::{Keyring, Origins};
use reference_orchestrator::behaviour::Told;
use reference_orchestrator::client::Client;
use reference_orchestrator::drive::POLL_MAX_MS;
use reference_orchestrator::log::Log;
use reference_orchestrator::outside::Stop;
use reference_orchestrator::registration::PROOF_MAX;
use reference_orchestrator::store::Store;
use reference_orchestrator::{LEASE_DEFAULT_MS, Orchestrator, server};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::{Caller, Fake, PATIENCE, SeenStep, Step, assert_fits, exchange, keys, plain, until};

/// The orchestrator, and the fake gateway, both on loopback.
pub struct Stage {
    pub runtime: Runtime,
    pub app: Arc<Orchestrator>,
    pub fake: Arc<Fake>,
    pub origin: String,
}

impl Stage {
    /// One that asks for no step before its test is over.
    pub fn new() -> Self {
        Self::with(PROOF_MAX, POLL_MAX_MS, 0)
    }

    /// One that asks for a waiting step soon.
    pub fn polling() -> Self {
        Self::with(PROOF_MAX, 1, 0)
    }

    /// One that refuses this many callbacks.
    pub fn refusing(callbacks: u32) -> Self {
        Self::with(PROOF_MAX, POLL_MAX_MS, callbacks)
    }

    /// One that waits this long for a proof.
    pub fn with_proof_max(proof_max: Duration) -> Self {
        Self::with(proof_max, POLL_MAX_MS, 0)
    }

    fn with(proof_max: Duration, poll_first_ms: u64, callbacks_to_refuse: u32) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a listener");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Arc::new(Orchestrator {
            id: "reference".into(),
            origins: Origins::parse(&origin).expect("an origin"),
            keyring: Keyring::parse(&keys()).expect("keys"),
            lease_ms: LEASE_DEFAULT_MS,
            proof_max,
            poll_first_ms,
            callbacks_to_refuse: callbacks_to_refuse.into(),
            behaviour: Told::default(),
            store: Store::in_memory().expect("a store"),
            client: Client::default(),
            log: Log::Silent,
            runs_under_way: Arc::default(),
            stop: Stop::default(),
        });
        let fake = Fake::start(&runtime);
        runtime.spawn(server::serve(Arc::clone(&app), listener, std::future::pending()));
        Self {
            runtime,
            app,
            fake,
            origin,
        }
    }

    /// A gateway that signs with the right key.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.origin)
    }

    /// Registers the fake gateway, and gives the registration's id.
    pub fn registered(&self) -> String {
        let (status, lease, signed) = self.caller().send("POST", "/gateways", Some(&self.fake.registration()));
        assert_eq!((status, signed), (201, true), "{lease}");
        assert_fits("lease", &lease);
        lease["registration"].as_str().expect("an id").to_owned()
    }

    /// Sends a registration that must be refused with this status and code, in a signed answer.
    pub fn refused(&self, caller: &Caller, body: &Value, expected: (u16, &str)) {
        let (status, problem, signed) = caller.send("POST", "/gateways", Some(body));
        assert_eq!(
            (status, problem["code"].as_str()),
            (expected.0, Some(expected.1)),
            "{problem}"
        );
        assert!(signed, "{problem}");
        assert_fits("problem", &problem);
        assert_eq!(
            plain("GET", &format!("{}/gateways", self.origin), None),
            (200, json!([]))
        );
    }

    /// Runs one step, after the fake gateway was told how to answer.
    pub fn run(&self, script: &[Step]) -> (Value, Vec<SeenStep>) {
        self.fake.steps.lock().expect("the script").extend(script);
        let request = json!({ "agent": "triage", "input": { "text": "hi" } });
        let (status, run) = plain("POST", &format!("{}/runs", self.origin), Some(&request));
        assert_eq!(status, 200, "{run}");
        let id = run["run"].as_str().expect("an id");
        assert_eq!(
            plain("GET", &format!("{}/runs/{id}", self.origin), None),
            (200, run.clone())
        );
        (run, self.fake.seen.lock().expect("the steps").try_iter().collect())
    }

    /// Begins a run in the background of the test.
    pub fn begin(&self, request: Value) -> JoinHandle<(u16, Value)> {
        let url = format!("{}/runs", self.origin);
        std::thread::spawn(move || plain("POST", &url, Some(&request)))
    }

    /// The next step that the fake gateway is sent.
    pub fn sent(&self) -> SeenStep {
        let seen = self.fake.seen.lock().expect("the steps");
        seen.recv_timeout(PATIENCE).expect("the step is invoked")
    }

    /// Waits until the run's step has this status.
    pub fn until(&self, run: &str, step: usize, status: &str) -> Value {
        until(&self.origin, run, |run| run["steps"][step]["status"] == status)
    }

    /// The page for people.
    pub fn page(&self) -> String {
        let request = http::Request::get(format!("{}/", self.origin)).body(Vec::new());
        String::from_utf8_lossy(exchange(request.expect("a request")).body()).into_owned()
    }
}
