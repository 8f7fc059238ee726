//! `baton dead-letters`

use clap::Subcommand;

use super::{CallOptions, Page};

/// `baton dead-letters`
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List the callbacks that were given up, newest first
    List(ListDeadLetters),
    /// Try one of them again
    Resend(ResendDeadLetter),
}

/// `baton dead-letters list`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton dead-letters list --key operator.key.json
  baton dead-letters list --limit 100 --json | jq -r '.dead_letters[].delivery'

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct ListDeadLetters {
    /// Which part of the list.
    #[command(flatten)]
    pub page: Page,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton dead-letters resend`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton dead-letters resend msg_2KWPBgLlAfxdpx2AI54pPJ85f4W --key operator.key.json")]
pub struct ResendDeadLetter {
    /// The delivery, as `baton dead-letters list` names it
    #[arg(value_parser = crate::id::parse)]
    pub delivery: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}
