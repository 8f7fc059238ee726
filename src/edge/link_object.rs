//! The Link object: one per orchestrator. It performs what the link's state machine asks for, and its alarm keeps
//! the lease and sends what there is to tell of it ([`super::link_outbox`]).

use std::panic::AssertUnwindSafe;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use worker::{DurableObject, Env, Request, Response, SqlStorage, State, durable_object};

use super::platform::EdgePlatform;
use super::sync_transaction::SyncTransactions;
use super::{clock, link_call, log, object, overrides};
use crate::breaker::{Circuit, Verdict, Word};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::link::{
    self, Call, CallResult, Calling, Input, KnownLease, Lease, Link, LinkReport, Order, Output, Received,
};
use crate::manifest::Team;
use crate::platform::StorageUnavailable;
use crate::run::{Asked, Told};

/// The link's own row, and whatever else is kept, by name.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS link (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        orchestrator TEXT NOT NULL,
        link TEXT NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
];
/// Where the breaker's shared circuit is kept.
const CIRCUIT: &str = "circuit";
/// Where the nonces of operators' orders are kept.
const RECEIVED: &str = "received";

/// Wakes the link to this orchestrator: it looks whether something is due.
pub async fn wake(env: &Env, orchestrator: &str) -> worker::Result<()> {
    object::LINK
        .ask_once(env, orchestrator, &to(orchestrator, "wake"), &())
        .await
}

/// What the link knows of its lease.
pub async fn lease(env: &Env, orchestrator: &str) -> worker::Result<Option<KnownLease>> {
    object::LINK
        .ask_once(env, orchestrator, &to(orchestrator, "lease"), &())
        .await
}

/// How the link stands.
pub async fn view(env: &Env, orchestrator: &str) -> Result<LinkReport, StorageUnavailable> {
    object::LINK
        .ask(env, orchestrator, &to(orchestrator, "view"), &())
        .await
}

/// Carries an operator's order out.
pub async fn order(
    env: &Env,
    orchestrator: &str,
    asked: &Asked<Order>,
) -> Result<Told<LinkReport>, StorageUnavailable> {
    object::LINK
        .ask(env, orchestrator, &to(orchestrator, "order"), asked)
        .await
}

/// Tells the shared circuit something.
pub async fn tell_breaker(env: &Env, orchestrator: &str, word: Word) -> worker::Result<Verdict> {
    object::LINK
        .ask_once(env, orchestrator, &to(orchestrator, "breaker"), &word)
        .await
}

/// A question to the Link object of this orchestrator, whose id needs no encoding: it is letters, digits, dots, hyphens
/// and underscores.
fn to(orchestrator: &str, question: &str) -> String {
    format!("{question}?orchestrator={orchestrator}")
}

/// A link's Durable Object.
#[durable_object]
pub struct LinkObject {
    pub(super) state: State,
    pub(super) env: Env,
    /// Not what could be used after a panic by the letter of the type system. It can: it is a handle of the platform's.
    pub(super) transactions: AssertUnwindSafe<SyncTransactions>,
}

impl DurableObject for LinkObject {
    fn new(state: State, env: Env) -> Self {
        log::report_panics();
        let (state, transactions) = SyncTransactions::of(state).expect("a Durable Object has a storage");
        Self {
            state,
            env,
            transactions: AssertUnwindSafe(transactions),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let url = request.url()?;
        let orchestrator = url
            .query_pairs()
            .find(|(name, _)| name == "orchestrator")
            .map(|(_, value)| value.into_owned());
        let Some(orchestrator) = orchestrator else {
            return Response::error("which orchestrator?", 400);
        };
        let body = request.text().await?;
        match url.path().trim_start_matches('/') {
            "wake" => {
                self.advance(&orchestrator).await?;
                answer(&())
            }
            "lease" => answer(&link::known_lease(&self.link()?, clock::now_ms())),
            "view" => answer(&self.report()?),
            "order" => answer(&self.obey(&orchestrator, &serde_json::from_str(&body)?).await?),
            "breaker" => answer(&self.hear(&orchestrator, serde_json::from_str(&body)?).await?),
            name => {
                log::alarm("link", &format!("the Link object was asked for {name}"));
                Response::error("unknown", 404)
            }
        }
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.go_on().await?;
        // What could not be told must not keep the link from its next alarm.
        if let Err(error) = self.send_events().await {
            log::alarm("link", &error.to_string());
        }
        self.arm().await?;
        Response::ok("")
    }
}

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) orchestrator: String,
    link: String,
}

/// A row of what else is kept.
#[derive(Deserialize)]
struct Kept {
    value: String,
}

fn answer(answer: &impl Serialize) -> worker::Result<Response> {
    Response::ok(serde_json::to_string(answer)?)
}

impl LinkObject {
    /// Takes the link that is kept here on.
    pub(super) async fn go_on(&self) -> worker::Result<()> {
        match self.load()? {
            Some(stored) => self.advance(&stored.orchestrator).await,
            None => Ok(()),
        }
    }

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
            return self.arm().await;
        };
        let team = overrides::latest(&self.env).await;
        let gateway = Gateway {
            team: &team,
            declared: Team::embedded(),
            config,
        };
        let platform = EdgePlatform::new(self.env.clone());
        let mut input = Input::Wake {
            manifest_digest: gateway.discovery().digest,
        };
        loop {
            let calling = self.step(&orchestrator.id, input).await?;
            let Some(Calling { number, call, .. }) = calling else {
                return Ok(());
            };
            let asked_keyid = self.link()?.signing_keyid;
            let result = link_call::perform(&gateway, orchestrator, &call, asked_keyid.clone(), &platform).await;
            warn_of_unknown_key(config, &orchestrator.id, asked_keyid.as_deref(), &result);
            log::link(&orchestrator.id, call_name(&call), &json!(result));
            input = Input::Ended { number, result };
        }
    }

    /// Carries an operator's order out, and what it makes due. Should the object die in the middle, its alarm goes on.
    async fn obey(&self, orchestrator: &str, asked: &Asked<Order>) -> worker::Result<Told<LinkReport>> {
        let mut received: Received = self.kept(RECEIVED)?.unwrap_or_default();
        if !received.admit(asked, clock::now_ms()) {
            return Ok(Told::Replayed);
        }
        self.keep(RECEIVED, &received)?;
        match asked.question {
            Order::Link(command) => {
                self.step(orchestrator, Input::Command(command)).await?;
                self.advance(orchestrator).await?;
            }
            Order::Breaker(hold) => {
                let before = self.circuit()?;
                let mut circuit = before.clone();
                circuit.hold(hold);
                self.keep_circuit(orchestrator, &before, &circuit).await?;
            }
        }
        Ok(Told::Answer(self.report()?))
    }

    async fn hear(&self, orchestrator: &str, word: Word) -> worker::Result<Verdict> {
        let before = self.circuit()?;
        let mut circuit = before.clone();
        let permit = circuit.hear(word, clock::now_ms(), clock::random_number());
        if circuit != before {
            self.keep_circuit(orchestrator, &before, &circuit).await?;
        }
        Ok(Verdict { circuit, permit })
    }

    /// Keeps the circuit, and tells of it where that is news.
    async fn keep_circuit(&self, orchestrator: &str, before: &Circuit, circuit: &Circuit) -> worker::Result<()> {
        let now_ms = clock::now_ms();
        let change = link::breaker_change(&before.view(now_ms), &circuit.view(now_ms));
        self.keep_and_tell(orchestrator, change.as_slice(), || self.keep(CIRCUIT, circuit))?;
        if change.is_some() {
            self.arm().await?;
        }
        Ok(())
    }

    fn report(&self) -> worker::Result<LinkReport> {
        let now_ms = clock::now_ms();
        Ok(LinkReport {
            link: link::view(&self.link()?, now_ms),
            breaker: self.circuit()?.view(now_ms),
        })
    }

    fn circuit(&self) -> worker::Result<Circuit> {
        Ok(self.kept(CIRCUIT)?.unwrap_or_default())
    }

    pub(super) fn link(&self) -> worker::Result<Link> {
        let stored = self.load()?;
        Ok(stored.map_or_else(Link::default, |stored| {
            serde_json::from_str(&stored.link).unwrap_or_default()
        }))
    }

    /// One step of the state machine, kept before anything of it is performed. Answers the call to make.
    async fn step(&self, orchestrator: &str, input: Input) -> worker::Result<Option<Calling>> {
        let before = self.link()?;
        let (link, outputs) = link::step(before.clone(), input, clock::now_ms(), clock::random_number());
        let changes = link::changes(&before, &link);
        self.keep_and_tell(orchestrator, &changes, || self.save(orchestrator, &link))?;
        let mut call = None;
        for output in outputs {
            match output {
                Output::Call(next) => call = Some(next),
                // Both are what the link that was saved says of itself.
                Output::WakeAt(_) | Output::Sleep => self.arm().await?,
                Output::Alarm(message) => log::alarm("link", &format!("{orchestrator}: {message}")),
            }
        }
        Ok(call)
    }

    fn sql(&self) -> worker::Result<SqlStorage> {
        let sql = self.state.storage().sql();
        for table in SCHEMA {
            sql.exec(table, None)?;
        }
        Ok(sql)
    }

    pub(super) fn load(&self) -> worker::Result<Option<Stored>> {
        let rows: Vec<Stored> = self
            .sql()?
            .exec("SELECT orchestrator, link FROM link", None)?
            .to_array()?;
        Ok(rows.into_iter().next())
    }

    fn save(&self, orchestrator: &str, link: &Link) -> worker::Result<()> {
        let values = vec![orchestrator.into(), serde_json::to_string(link)?.into()];
        let query = "INSERT OR REPLACE INTO link (only, orchestrator, link) VALUES (1, ?, ?)";
        self.sql()?.exec(query, values)?;
        Ok(())
    }

    fn kept<T: DeserializeOwned>(&self, name: &str) -> worker::Result<Option<T>> {
        let query = "SELECT value FROM kept WHERE name = ?";
        let rows: Vec<Kept> = self.sql()?.exec(query, vec![name.into()])?.to_array()?;
        let kept = rows.first().map(|row| serde_json::from_str(&row.value));
        Ok(kept.transpose()?)
    }

    fn keep(&self, name: &str, value: &impl Serialize) -> worker::Result<()> {
        let values = vec![name.into(), serde_json::to_string(value)?.into()];
        let query = "INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)";
        self.sql()?.exec(query, values)?;
        Ok(())
    }
}

/// An orchestrator that asks for a key which is not there is told of once: the gateway goes on with its own choice.
fn warn_of_unknown_key(config: &Config, orchestrator: &str, before: Option<&str>, result: &CallResult) {
    let CallResult::Granted(Lease {
        signing_keyid: Some(asked),
        ..
    }) = result
    else {
        return;
    };
    let key = config
        .keyring
        .register_key(orchestrator, Some(asked), clock::now_ms() / 1_000);
    if before != Some(asked) && key.is_none_or(|key| key.id != *asked) {
        log::alarm(
            "link",
            &format!(
                "{orchestrator} asks to sign with the key {asked:?}, which is no valid one of purpose `register` here"
            ),
        );
    }
}

fn call_name(call: &Call) -> &'static str {
    match call {
        Call::Register { .. } => "register",
        Call::Renew { .. } => "renew",
        Call::Deregister { .. } => "deregister",
    }
}
