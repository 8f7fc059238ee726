//! `baton executions`, `baton metrics`, `baton outbox`

use clap::{Subcommand, ValueEnum};

use super::{CallOptions, Page};

/// `baton executions`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton executions --key operator.key.json
  baton executions --agent triage --outcome failed --from-ms 1764000000000
  baton executions --run run_01 --json | jq -r '.executions[].error_code'
  baton executions --format csv --all > executions.csv

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct Executions {
    /// Of this agent
    #[arg(long)]
    pub agent: Option<String>,
    /// Of this run
    #[arg(long)]
    pub run: Option<String>,
    /// Of this orchestrator's runs
    #[arg(long)]
    pub orchestrator: Option<String>,
    /// That ended like this: completed, handed_off, failed, cancelled, lost; running has not ended
    #[arg(long)]
    pub outcome: Option<String>,
    /// That were coordinated like this: orchestrated, fallback, local
    #[arg(long)]
    pub route: Option<String>,
    /// That began at this moment or later
    #[arg(long, value_name = "UNIX_MS")]
    pub from_ms: Option<u64>,
    /// That began before this moment
    #[arg(long, value_name = "UNIX_MS")]
    pub to_ms: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=500))]
    pub limit: Option<u64>,
    /// Go on where an earlier list ended
    #[arg(long)]
    pub cursor: Option<String>,
    /// Print them for another program, in place of for people
    #[arg(long, value_enum, conflicts_with = "json")]
    pub format: Option<Format>,
    /// All of them, page by page, in place of one page; at most 100000
    #[arg(long, requires = "format", conflicts_with = "limit")]
    pub all: bool,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// How executions are printed for another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, with a line of names
    Csv,
    /// A JSON object per line
    Jsonl,
}

/// `baton metrics`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton metrics triage --key operator.key.json
  baton metrics triage --window 7d --json | jq .error_rate

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct Metrics {
    /// The agent
    #[arg(value_parser = crate::id::parse)]
    pub agent: String,
    /// How long a time, such as 15m, 24h or 7d [default: 24h]
    #[arg(long)]
    pub window: Option<String>,
    /// The end of it [default: now]
    #[arg(long, value_name = "UNIX_MS")]
    pub until_ms: Option<u64>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton outbox`
#[derive(Debug, Subcommand)]
pub enum Outbox {
    /// List the runs whose events wait for a destination, and the events that were given up
    List(ListOutbox),
    /// Send an event that was given up again, once
    Resend(ResendEvent),
}

/// `baton outbox list`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton outbox list --key operator.key.json
  baton outbox list --json | jq -r '.dead_letters[].letter'

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct ListOutbox {
    /// Which part of the list of what was given up.
    #[command(flatten)]
    pub page: Page,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton outbox resend`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton outbox resend evt_0f3c2b1a4d5e6f708192a3b4c5d6e7f8.otlp --key operator.key.json")]
pub struct ResendEvent {
    /// The event, as `baton outbox list` names it
    #[arg(value_parser = crate::id::parse)]
    pub letter: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}
