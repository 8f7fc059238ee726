//! The arguments, with their help: examples first, because they are what people read.

mod alerts;
mod api_keys;
mod conversation;
mod dead_letters;
mod doctor;
mod history;
mod link;
mod overrides;
mod query;
mod route;
mod run;
mod step;

use std::path::PathBuf;

use baton::signature::Purpose;
use baton::signature::keys::Scheme;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::input::Source;

pub use alerts::Alerts;
pub use api_keys::{ApiKeys, CreateApiKey, ListApiKeys, RevokeApiKey};
pub use conversation::{Conversation, OneConversation};
pub use dead_letters::{DeadLetters, ListDeadLetters, ResendDeadLetter};
pub use doctor::Doctor;
pub use history::{Executions, Format, ListOutbox, Metrics, Outbox, ResendEvent};
pub use link::{Link, LinkBreaker, LinkOrder, LinkStatus};
pub use overrides::{Base, OverrideHistory, Overrides, RollBack, SetOverride, ShowOverrides, UnsetOverride};
pub use query::Query;
pub use route::{ExplainRoute, Route};
pub use run::{
    CancelStep, DeleteRun, Handoff, PutState, RunCommand, ShowRun, ShowState, ShowStep, ShowSteps, WatchStep,
};
pub use step::Step;

const EXAMPLES: &str = "\
Examples:
  baton discover http://127.0.0.1:8787
  baton step triage --input '{\"text\":\"My invoice is wrong\"}'
  baton query 'I was charged twice'
  baton run show run_01
  baton manifest check
  baton doctor --env staging
  baton manifest graph support-desk
  baton route explain 'Summarize this report'
  baton keys new --orchestrator acme --valid-for 90d > acme.key.json
  baton verify --key acme.key.json captured.http

Gateway and key come from --gateway and --key, else from BATON_GATEWAY and BATON_KEY_FILE, else from
`.dev/baton.json` in this directory or one above it, which `cargo xtask dev` writes. An API key comes from
--api-key, else from BATON_API_KEY.

Exit codes:
  0  done: the step completed, the signature holds, nothing was found
  1  done, with a bad result: the step failed or was cancelled, a rule does not hold, manifests have findings,
     no agent answers a text, a deployment has errors, an alert is firing
  2  asked wrongly: an argument, a file or the configuration
  3  the gateway refused the call
  4  no answer, or an answer whose signature does not hold";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "baton",
    version,
    about = "Keys, manifests and signed steps of a Baton gateway",
    after_help = EXAMPLES,
    max_term_width = 110
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make keys and derive secrets from them
    #[command(subcommand)]
    Keys(Keys),
    /// Work on the agents' manifests
    #[command(subcommand)]
    Manifest(Manifest),
    /// Say which agent answers a text
    #[command(subcommand)]
    Route(Route),
    /// Show what a gateway offers: agents, endpoints, limits
    Discover(Discover),
    /// Say what is missing in a deployment, before and after it
    Doctor(Doctor),
    /// Invoke a signed step on an agent and verify the signed answer
    Step(Box<Step>),
    /// Ask as a customer does, with an API key, and say how the call was routed
    Query(Box<Query>),
    /// Look at a run, its state and its steps, and change them
    #[command(subcommand)]
    Run(Box<RunCommand>),
    /// Look after callbacks and notices that could not be delivered, with an operator's key
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// List the executions of agents, with an operator's key
    Executions(Box<Executions>),
    /// Say what the executions of an agent come to, with an operator's key
    Metrics(Metrics),
    /// Look after events that wait for a destination or were given up, with an operator's key
    #[command(subcommand)]
    Outbox(Outbox),
    /// Say how the alerts stand that the gateway declares, with an operator's key
    Alerts(Alerts),
    /// Make, list and revoke the API keys of customers, with an operator's key
    #[command(subcommand)]
    ApiKeys(ApiKeys),
    /// Show and erase conversations, with an operator's key
    #[command(subcommand)]
    Conversation(Conversation),
    /// Change agents without a deployment, and go back, with an operator's key
    #[command(subcommand)]
    Overrides(Overrides),
    /// Look at the links to orchestrators and command them, with an operator's key
    #[command(subcommand)]
    Link(Link),
    /// Say which rule a captured request or response breaks, and what to do
    Verify(Verify),
    /// Print shell completions
    #[command(after_help = "\
Examples:
  baton completions bash > ~/.local/share/bash-completion/completions/baton
  baton completions zsh > \"${fpath[1]}/_baton\"
  baton completions fish > ~/.config/fish/completions/baton.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which part of an operator's list.
#[derive(Debug, clap::Args)]
pub struct Page {
    /// How many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub limit: Option<u64>,
    /// Go on where an earlier list ended
    #[arg(long)]
    pub cursor: Option<String>,
}

/// What every signed call takes.
#[derive(Debug, clap::Args)]
pub struct CallOptions {
    /// Where the gateway is
    #[arg(long, env = "BATON_GATEWAY", hide_env_values = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// A key record, or an array of them
    #[arg(long, env = "BATON_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Print the answer's body as the gateway sent it
    #[arg(long)]
    pub json: bool,
    /// Print the signed request on standard error
    #[arg(long)]
    pub show_request: bool,
    /// Write request.http and response.http into this folder, for `baton verify`
    #[arg(long, value_name = "DIR")]
    pub capture: Option<PathBuf>,
}

/// `baton keys`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key of 32 random bytes and print its record for BATON_KEYS
    New(NewKey),
    /// Derive the secret that a Standard Webhooks sender needs for one agent and action
    WebhookSecret(WebhookSecret),
}

const NEW_KEY_EXAMPLES: &str = "\
Examples:
  baton keys new > dev.key.json
  baton keys new --orchestrator acme --agents triage,redact --valid-for 90d
  baton keys new --orchestrator acme --purpose register
  baton keys new --orchestrator acme --purpose callback
  baton keys new --orchestrator forms --scheme standard-webhooks

BATON_KEYS is a JSON array of such records. Two records of one orchestrator overlap for a rotation: install
the new one beside the old, move the orchestrator over, then take the old one out.";

/// `baton keys new`
#[derive(Debug, clap::Args)]
#[command(after_help = NEW_KEY_EXAMPLES)]
pub struct NewKey {
    /// The key's id, which signatures name [default: orchestrator, purpose and a random part]
    #[arg(long, value_parser = key_id)]
    pub id: Option<String>,
    /// The orchestrator that holds the key, as in BATON_ORCHESTRATORS; for `call` the other gateway, as in BATON_GATEWAYS
    #[arg(long, default_value = "reference")]
    pub orchestrator: String,
    /// What the key signs: `invoke` for its calls to the gateway, `register` for the gateway's calls to it, `callback`
    /// for the gateway's webhooks to its receivers, `operate` for an operator's calls, `call` for the gateway's calls to
    /// another gateway
    #[arg(long, value_enum, value_delimiter = ',', default_value = "invoke")]
    pub purpose: Vec<PurposeArg>,
    /// The agents that it may invoke, comma-separated; `*` is all of them
    #[arg(long, value_delimiter = ',', default_value = "*")]
    pub agents: Vec<String>,
    /// How requests under it are signed
    #[arg(long, value_enum, default_value = "baton-request-v1")]
    pub scheme: SchemeArg,
    /// How long it is valid from now on, such as 90d, 12h or 52w [default: without an end]
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub valid_for: Option<u64>,
    /// Print the record on one line and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `baton keys webhook-secret`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton keys webhook-secret triage --key forms.key.json
  baton keys webhook-secret triage steps --key forms.key.json --gateway https://gw.example.com")]
pub struct WebhookSecret {
    /// The agent that the sender invokes
    pub agent: String,
    /// What it does there
    #[arg(default_value = "steps")]
    pub action: String,
    /// Where the gateway is
    #[arg(long, env = "BATON_GATEWAY", hide_env_values = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// A key record, or an array of them
    #[arg(long, env = "BATON_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `baton manifest`
#[derive(Debug, Subcommand)]
pub enum Manifest {
    /// Check gateway.json and every agent's manifest, and print all findings
    #[command(after_help = "\
Examples:
  baton manifest check
  baton manifest check ../other-team/manifests")]
    Check {
        /// The folder
        #[arg(default_value = "manifests")]
        directory: PathBuf,
    },
    /// Draw a workflow agent as a Mermaid flowchart
    #[command(after_help = "\
Examples:
  baton manifest graph support-desk
  baton manifest graph support-desk > support-desk.mmd
  baton manifest graph nightly --manifests ../other-team/manifests

What reads Markdown draws it, where it stands in a code block of the language `mermaid`.")]
    Graph {
        /// The agent's id
        workflow: String,
        /// The folder of the manifests
        #[arg(long, value_name = "DIR", default_value = "manifests")]
        manifests: PathBuf,
    },
}

/// `baton discover`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton discover
  baton discover https://gw.example.com
  baton discover https://gw.example.com --json | jq '.agents[].id'")]
pub struct Discover {
    /// Where the gateway is
    #[arg(env = "BATON_GATEWAY", hide_env_values = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// Print the discovery manifest as the gateway sent it
    #[arg(long)]
    pub json: bool,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  baton verify --key acme.key.json request.http
  baton verify --key acme.key.json --at 1764000010 --origin https://gw.example.com request.http
  baton verify --key acme.key.json --request request.http response.http
  curl -v ... 2>&1 | baton verify --key acme.key.json --body sent.json --part request -

A capture is HTTP/1.1 text: request line or status line, header fields, an empty line, the body. What
`curl -v` prints is read as well; it does not print the request's body, so give that with --body. Where a
capture holds both a request and its response, the response is judged unless --part says otherwise.
Whether a nonce was used before only the gateway that received it can tell.";

/// `baton verify`
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct Verify {
    /// The captured message; `-` is standard input
    #[arg(value_name = "FILE|-")]
    pub message: Source,
    /// A key record, or an array of them
    #[arg(long, env = "BATON_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Judge as of this moment [default: now]
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub at: Option<u64>,
    /// The gateway's public origins, comma-separated, as in BATON_ORIGINS [default: what the request names]
    #[arg(long, value_name = "ORIGINS")]
    pub origin: Option<String>,
    /// The request that a captured response answers
    #[arg(long, value_name = "FILE")]
    pub request: Option<Source>,
    /// The body of the message that is judged, where it stands in a file of its own
    #[arg(long, value_name = "FILE")]
    pub body: Option<Source>,
    /// Which message of a capture that holds both
    #[arg(long, value_enum)]
    pub part: Option<Part>,
    /// Print the signature base as rebuilt from the message
    #[arg(long)]
    pub show_base: bool,
}

/// One of the two messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// [`Purpose`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PurposeArg {
    /// An orchestrator's calls to the gateway
    Invoke,
    /// The gateway's calls to an orchestrator
    Register,
    /// The gateway's callbacks to a webhook receiver; no other purpose may stand beside it
    Callback,
    /// An operator's calls to the gateway
    Operate,
    /// The gateway's calls to another gateway
    Call,
}

impl From<PurposeArg> for Purpose {
    fn from(purpose: PurposeArg) -> Self {
        match purpose {
            PurposeArg::Invoke => Self::Invoke,
            PurposeArg::Register => Self::Register,
            PurposeArg::Callback => Self::Callback,
            PurposeArg::Operate => Self::Operate,
            PurposeArg::Call => Self::Call,
        }
    }
}

/// [`Scheme`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemeArg {
    /// HTTP Message Signatures (RFC 9421)
    #[value(name = "baton-request-v1")]
    Baton,
    /// Standard Webhooks v1, for senders that know no RFC 9421
    StandardWebhooks,
}

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Baton => Self::Baton,
            SchemeArg::StandardWebhooks => Self::StandardWebhooks,
        }
    }
}

/// `90d` and the like, in seconds.
fn duration_s(text: &str) -> Result<u64, String> {
    let explain = || format!("`{text}` is no duration: write a number and s, m, h, d or w, such as 90d");
    let unit = text.chars().last().ok_or_else(explain)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(explain()),
    };
    let count: u64 = text.trim_end_matches(unit).parse().map_err(|_| explain())?;
    count
        .checked_mul(seconds)
        .filter(|total| (1..=100 * 31_556_952).contains(total))
        .ok_or_else(explain)
}

/// The characters of key ids that `keys new` makes: they need no escaping in a header or in a URL.
fn key_id(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let max = baton::signature::keys::KEY_ID_MAX_BYTES;
    if (1..=max).contains(&text.len()) && text.chars().all(fine) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "a key id has 1 to {max} letters, digits, hyphens, dots, underscores or tildes"
        ))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(duration_s(text).ok(), expected, "{text}");
        check("90d", Some(7_776_000));
        check("12h", Some(43_200));
        check("1w", Some(604_800));
        check("0d", None);
        check("d", None);
        check("", None);
        check("90", None);
        check("90y", None);
        check("-1d", None);
        check("99999999999999999999d", None);
        check("18446744073709551615w", None);
    }

    #[test]
    fn ids() {
        assert!(key_id("acme-2026.11").is_ok());
        assert!(key_id("a&b").is_err());
        assert!(key_id("").is_err());
    }
}
