//! `baton link`

use clap::{Subcommand, ValueEnum};

use super::CallOptions;

/// `baton link`
#[derive(Debug, Subcommand)]
pub enum Link {
    /// Show how the links stand: registration, lease and breaker
    Status(LinkStatus),
    /// Register, or end the draining; a refused link tries again at once
    #[command(after_help = "\
Examples:
  baton link register --key operator.key.json
  baton link register acme --key operator.key.json")]
    Register(LinkOrder),
    /// Ask the orchestrator for no new steps, and deregister after 30 s
    #[command(after_help = "\
Examples:
  baton link drain acme --key operator.key.json")]
    Drain(LinkOrder),
    /// End the registration, until `baton link register`
    #[command(after_help = "\
Examples:
  baton link deregister acme --key operator.key.json")]
    Deregister(LinkOrder),
    /// Hold the breaker before the orchestrator open or closed, or let it go
    Breaker(LinkBreaker),
}

/// `baton link status`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton link status --key operator.key.json
  baton link status acme --json | jq -r .breaker.state

It takes a key of the purpose `operate`: baton keys new --purpose operate")]
pub struct LinkStatus {
    /// The orchestrator, as in BATON_ORCHESTRATORS [default: all of them]
    #[arg(value_parser = crate::id::parse)]
    pub orchestrator: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton link register`, `drain` and `deregister`
#[derive(Debug, clap::Args)]
pub struct LinkOrder {
    /// The orchestrator, as in BATON_ORCHESTRATORS [default: the one, where there is one only]
    #[arg(value_parser = crate::id::parse)]
    pub orchestrator: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton link breaker`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton link breaker open acme --key operator.key.json
  baton link breaker auto acme --key operator.key.json

open: no direct call is handed on, each is answered by the gateway at once. closed: each is handed on, whatever
becomes of it. auto: closed, and from then on as its calls come to.")]
pub struct LinkBreaker {
    /// How it is to be
    #[arg(value_enum)]
    pub state: BreakerArg,
    /// The orchestrator, as in BATON_ORCHESTRATORS [default: the one, where there is one only]
    #[arg(value_parser = crate::id::parse)]
    pub orchestrator: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// How a breaker is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BreakerArg {
    /// No call passes
    Open,
    /// Every call passes
    Closed,
    /// Closed, and from then on as its calls come to
    Auto,
}

impl BreakerArg {
    /// As it stands in the call.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Auto => "auto",
        }
    }
}
