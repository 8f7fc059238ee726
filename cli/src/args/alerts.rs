//! `baton alerts`

use super::CallOptions;

/// `baton alerts`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton alerts --key operator.key.json
  baton alerts --json | jq '.alerts[] | select(.state == \"firing\")'

It ends with 1 when an alert is firing.
It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct Alerts {
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}
