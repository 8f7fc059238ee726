//! `baton api-keys`

use clap::Subcommand;

use super::{CallOptions, Page, duration_s};

/// `baton api-keys`
#[derive(Debug, Subcommand)]
pub enum ApiKeys {
    /// Make a key for a customer, and print its text once
    Create(CreateApiKey),
    /// List the keys, newest first, without their texts
    List(ListApiKeys),
    /// Revoke a key at once and for good
    Revoke(RevokeApiKey),
}

/// `baton api-keys create`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton api-keys create 'Acme, website' --key operator.key.json
  baton api-keys create acme --agent triage --agent summarize --expires-in 30d
  baton api-keys create acme --burst 10 --per-minute 120 --json | jq -r .api_key

Its text is printed once: the gateway keeps no copy. It takes a key of the purpose `operate`: baton keys new --purpose
operate")]
pub struct CreateApiKey {
    /// Whose it is, for people
    pub name: String,
    /// An agent that it may call; may be given again [default: all of them]
    #[arg(long = "agent", value_name = "ID")]
    pub agents: Vec<String>,
    /// How many calls at once, after a pause [default: 60, or as --per-minute up to 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub burst: Option<u32>,
    /// How many calls in a minute, for as long as it goes on [default: 60, or as --burst]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub per_minute: Option<u32>,
    /// How long it is good from now on, such as 30d, 12h or 52w [default: without an end]
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub expires_in: Option<u64>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton api-keys list`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton api-keys list --key operator.key.json
  baton api-keys list --limit 10 --json | jq -r '.api_keys[].id'")]
pub struct ListApiKeys {
    /// Which part of the list.
    #[command(flatten)]
    pub page: Page,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton api-keys revoke`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton api-keys revoke 1f0e2d3c4b5a6978 --key operator.key.json")]
pub struct RevokeApiKey {
    /// The key's id, as `baton api-keys list` names it: the part between the two underscores of its text
    // Read by the command, and not here: of an argument that is wrong, clap would print all.
    pub id: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}
