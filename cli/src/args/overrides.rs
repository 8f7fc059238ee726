//! `baton overrides`

use std::path::PathBuf;

use clap::Subcommand;

use super::CallOptions;
use crate::input::JsonSource;

/// `baton overrides`
#[derive(Debug, Subcommand)]
pub enum Overrides {
    /// Show what is changed of agents, and by which version
    Show(ShowOverrides),
    /// Change an agent: what is given takes the place of the same field, other fields stay
    Set(Box<SetOverride>),
    /// Let an agent be as it was deployed again
    Unset(UnsetOverride),
    /// List the versions that are kept, newest first
    History(OverrideHistory),
    /// Put the overrides of an earlier version in force again
    Rollback(RollBack),
}

/// `baton overrides show`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton overrides show --key operator.key.json
  baton overrides show --version 7
  baton overrides show --json | jq .overrides.support

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct ShowOverrides {
    /// Which version [default: the current one]
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton overrides set`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton overrides set triage --off --key operator.key.json
  baton overrides set support --prompt support-v2.md
  baton overrides set support --change '{\"model\":{\"model\":\"gpt-5\",\"temperature\":0.2},\"deadline_ms\":20000}'

docs/live-configuration.md says what can be changed.")]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["change", "prompt", "on", "off"]))]
pub struct SetOverride {
    /// The agent
    #[arg(value_parser = crate::id::parse)]
    pub agent: String,
    /// What changes: a file, `-` for standard input, or JSON that begins with {
    #[arg(long, value_name = "FILE|-|JSON")]
    pub change: Option<JsonSource>,
    /// A Markdown file with the instructions of a model
    #[arg(long, value_name = "FILE")]
    pub prompt: Option<PathBuf>,
    /// Switch the agent on
    #[arg(long, conflicts_with = "off")]
    pub on: bool,
    /// Switch the agent off
    #[arg(long)]
    pub off: bool,
    /// On top of which version.
    #[command(flatten)]
    pub base: Base,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton overrides unset`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton overrides unset triage --key operator.key.json")]
pub struct UnsetOverride {
    /// The agent
    #[arg(value_parser = crate::id::parse)]
    pub agent: String,
    /// On top of which version.
    #[command(flatten)]
    pub base: Base,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton overrides history`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton overrides history --key operator.key.json
  baton overrides history --json | jq '.versions[0]'")]
pub struct OverrideHistory {
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton overrides rollback`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton overrides rollback --key operator.key.json
  baton overrides rollback 7
  baton overrides rollback 0

It makes a new version with the overrides of the earlier one. Version 0 is none at all.")]
pub struct RollBack {
    /// Which version [default: the one before the current one]
    pub version: Option<u64>,
    /// On top of which version.
    #[command(flatten)]
    pub base: Base,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// What a change is made of.
#[derive(Debug, clap::Args)]
pub struct Base {
    /// The version that must be the current one [default: whichever is, when the command begins]
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
}
