//! `baton conversation`

use clap::{ArgGroup, Subcommand};

use super::CallOptions;

/// `baton conversation`
#[derive(Debug, Subcommand)]
pub enum Conversation {
    /// Show what is kept of a conversation
    #[command(after_help = "\
Examples:
  baton conversation show chat-17 --api-key-id 1f0e2d3c4b5a6978 --key operator.key.json
  baton conversation show ticket-4 --orchestrator acme --json | jq '.turns[].said'")]
    Show(OneConversation),
    /// Erase a conversation, also what is still being said in it
    #[command(after_help = "\
Examples:
  baton conversation erase chat-17 --api-key-id 1f0e2d3c4b5a6978 --key operator.key.json")]
    Erase(OneConversation),
}

/// `baton conversation show` and `erase`
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("owner").required(true).args(["api_key_id", "orchestrator"])))]
pub struct OneConversation {
    /// The conversation, as its owner named it
    #[arg(value_parser = crate::id::parse)]
    pub conversation: String,
    /// The API key that it belongs to, as `baton api-keys list` names it
    #[arg(long, value_name = "ID", value_parser = crate::id::parse)]
    pub api_key_id: Option<String>,
    /// The orchestrator that it belongs to, as in BATON_ORCHESTRATORS
    #[arg(long, value_name = "ID", value_parser = crate::id::parse)]
    pub orchestrator: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

impl OneConversation {
    /// Whose it is, as the gateway writes it.
    pub fn owner(&self) -> String {
        match (&self.api_key_id, &self.orchestrator) {
            (Some(key), _) => format!("key:{key}"),
            (None, orchestrator) => format!("orchestrator:{}", orchestrator.as_deref().unwrap_or_default()),
        }
    }
}
