//! The Link object: one per orchestrator. It performs what the link's state machine asks for, and its alarm keeps
//! the lease.

use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{clock, http_client, log};
use crate::config::{self, Config, Orchestrator};
use crate::gateway::Gateway;
use crate::link::{self, CALL_TIMEOUT_MS, Call, CallResult, Calling, Input, Lease, Link, Output};
use crate::manifest::Team;
use crate::signature::{Purpose, Stamp, sign_request};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS link (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    orchestrator TEXT NOT NULL,
    link TEXT NOT NULL
)";

/// Wakes the link to this orchestrator: it looks whether something is due.
pub async fn wake(env: &Env, orchestrator: &str) -> worker::Result<()> {
    let stub = env.durable_object(config::LINKS)?.get_by_name(orchestrator)?;
    stub.fetch_with_str(&format!("http://link/wake?orchestrator={orchestrator}"))
        .await?;
    Ok(())
}

/// A link's Durable Object.
#[durable_object]
pub struct LinkObject {
    state: State,
    env: Env,
}

impl DurableObject for LinkObject {
    fn new(state: State, env: Env) -> Self {
        log::report_panics();
        Self { state, env }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let url = request.url()?;
        let orchestrator = url
            .query_pairs()
            .find(|(name, _)| name == "orchestrator")
            .map(|(_, value)| value.into_owned());
        let Some(orchestrator) = orchestrator else {
            return Response::error("which orchestrator?", 400);
        };
        self.advance(&orchestrator).await?;
        Response::ok("")
    }

    async fn alarm(&self) -> worker::Result<Response> {
        if let Some(stored) = self.load()? {
            self.advance(&stored.orchestrator).await?;
        }
        Response::ok("")
    }
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    orchestrator: String,
    link: String,
}

impl LinkObject {
    /// Takes the link on until it has nothing left to do now.
    async fn advance(&self, orchestrator: &str) -> worker::Result<()> {
        let config = match super::config(&self.env) {
            Ok(config) => config,
            Err(error) => {
                log::alarm("configuration", &error.to_string());
                return Ok(());
            }
        };
        // An orchestrator that is no longer configured is let go: its lease ends by itself.
        let Some(orchestrator) = config.orchestrators.iter().find(|known| known.id == orchestrator) else {
            return self.state.storage().delete_alarm().await;
        };
        let gateway = Gateway {
            team: Team::embedded(),
            config,
        };
        let mut input = Input::Wake {
            manifest_digest: gateway.discovery().digest,
        };
        loop {
            let calling = self.step(&orchestrator.id, input).await?;
            let Some(Calling { number, call, .. }) = calling else {
                return Ok(());
            };
            let result = perform(&gateway, orchestrator, &call).await;
            log::link(&orchestrator.id, call_name(&call), &json!(result));
            input = Input::Ended { number, result };
        }
    }

    /// One step of the state machine, kept before anything of it is performed. Answers the call to make.
    async fn step(&self, orchestrator: &str, input: Input) -> worker::Result<Option<Calling>> {
        let link = match self.load()? {
            Some(stored) => serde_json::from_str(&stored.link).unwrap_or_default(),
            None => Link::default(),
        };
        let (link, outputs) = link::step(link, input, clock::now_ms(), clock::random_number());
        self.save(orchestrator, &link)?;
        let mut call = None;
        for output in outputs {
            match output {
                Output::Call(next) => call = Some(next),
                Output::WakeAt(at_ms) => self.wake_at(at_ms).await?,
                Output::Sleep => self.state.storage().delete_alarm().await?,
                Output::Alarm(message) => log::alarm("link", &format!("{orchestrator}: {message}")),
            }
        }
        Ok(call)
    }

    fn load(&self) -> worker::Result<Option<Stored>> {
        let sql = self.state.storage().sql();
        sql.exec(SCHEMA, None)?;
        let rows: Vec<Stored> = sql.exec("SELECT orchestrator, link FROM link", None)?.to_array()?;
        Ok(rows.into_iter().next())
    }

    fn save(&self, orchestrator: &str, link: &Link) -> worker::Result<()> {
        let values = vec![orchestrator.into(), serde_json::to_string(link)?.into()];
        let query = "INSERT OR REPLACE INTO link (only, orchestrator, link) VALUES (1, ?, ?)";
        self.state.storage().sql().exec(query, values)?;
        Ok(())
    }

    async fn wake_at(&self, at_ms: u64) -> worker::Result<()> {
        self.state.storage().set_alarm(clock::scheduled(at_ms)).await
    }
}

fn call_name(call: &Call) -> &'static str {
    match call {
        Call::Register { .. } => "register",
        Call::Renew { .. } => "renew",
        Call::Deregister { .. } => "deregister",
    }
}

/// Makes a call to the orchestrator and reads its answer, which counts only if its signature holds.
async fn perform(gateway: &Gateway<'_>, orchestrator: &Orchestrator, call: &Call) -> CallResult {
    let now_s = clock::now_ms() / 1_000;
    let Config { keyring, origins, .. } = gateway.config;
    let Some(key) = keyring.signing_key(&orchestrator.id, Purpose::Register, now_s) else {
        return CallResult::Refused("no valid key with the purpose `register` is configured for it".into());
    };
    let nonce = super::hex(&clock::random::<16>());
    let request = match call {
        Call::Register { manifest_digest } => {
            let origin = origins.primary();
            let agents: Vec<_> = crate::documents::discovery::visible(gateway.team)
                .map(|agent| agent.id.as_str())
                .collect();
            let body = json!({
                "gateway": gateway.team.gateway.id,
                "origin": origin,
                "manifest": {"url": format!("{origin}/.well-known/baton.json"), "digest": manifest_digest},
                "agents": agents,
            });
            json_request("POST", format!("{}/gateways", orchestrator.url), &body, &nonce)
        }
        Call::Renew {
            registration,
            generation,
            manifest_digest,
            draining,
        } => {
            let body = json!({
                "manifest_digest": manifest_digest,
                "generation": generation,
                "health": {"status": if *draining { "draining" } else { "ok" }},
            });
            let url = format!("{}/gateways/{registration}/lease", orchestrator.url);
            json_request("PUT", url, &body, &nonce)
        }
        Call::Deregister { registration } => http::Request::builder()
            .method("DELETE")
            .uri(format!("{}/gateways/{registration}", orchestrator.url))
            .header("idempotency-key", format!("\"{nonce}\""))
            .body(Vec::new()),
    };
    let Ok(mut request) = request else {
        return CallResult::Failed("the call cannot be addressed: look at BATON_ORCHESTRATORS".into());
    };
    let stamp = Stamp {
        created_s: now_s,
        nonce,
    };
    let sent = match sign_request(&mut request, key, stamp) {
        Ok(sent) => sent,
        Err(error) => return CallResult::Failed(error.to_string()),
    };
    let response = match http_client::send(&request, CALL_TIMEOUT_MS).await {
        Ok(response) => response,
        Err(error) => return CallResult::Failed(error),
    };
    let status = response.status().as_u16();
    let code = problem_code(response.body());
    if matches!(status, 401 | 403) {
        return CallResult::Refused(format!("{status} {code}"));
    }
    if let Err(rejection) = sent.verify(&response, clock::now_ms() / 1_000) {
        return CallResult::Failed(format!("{status}, and the answer's signature: {rejection}"));
    }
    match (status, call) {
        (204 | 404 | 410, Call::Deregister { .. }) => CallResult::Gone,
        (200 | 201, Call::Register { .. } | Call::Renew { .. }) => {
            match serde_json::from_slice::<Lease>(response.body()) {
                Ok(lease) => CallResult::Granted(lease),
                Err(error) => CallResult::Failed(format!("{status} with a lease that cannot be read: {error}")),
            }
        }
        (404 | 409 | 410, Call::Renew { .. }) => CallResult::Forgotten(format!("{status} {code}")),
        _ => CallResult::Failed(format!("{status} {code}")),
    }
}

fn json_request(method: &str, url: String, body: &Value, nonce: &str) -> http::Result<http::Request<Vec<u8>>> {
    http::Request::builder()
        .method(method)
        .uri(url)
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", format!("\"{nonce}\""))
        .body(body.to_string().into_bytes())
}

fn problem_code(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"]
        .as_str()
        .unwrap_or("without a reason")
        .chars()
        .take(64)
        .collect()
}
