//! `baton route`.

use std::path::PathBuf;

use clap::Subcommand;

/// `baton route`
#[derive(Debug, Subcommand)]
pub enum Route {
    /// Say which agent the router chooses for a text, and which phrases made it
    Explain(ExplainRoute),
}

/// `baton route explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton route explain 'Please summarize this report'
  baton route explain 'Wo ist meine Rechnung?' --manifests ../other-team/manifests
  baton route explain 'Remove the phone numbers' --json | jq '.candidates[] | {agent, score}'

It reads the manifests of the folder, as `baton manifest check` does, and asks no gateway. A gateway chooses in the
same way, among the agents that the customer may call.")]
pub struct ExplainRoute {
    /// What a customer says
    pub text: String,
    /// The folder of the manifests
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub manifests: PathBuf,
    /// Print the choice as JSON
    #[arg(long)]
    pub json: bool,
}
