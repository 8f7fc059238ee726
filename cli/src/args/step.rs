//! `baton step`

use crate::id;
use crate::input::JsonSource;

use super::CallOptions;

const EXAMPLES: &str = "\
Examples:
  baton step triage --input '{\"text\":\"My invoice is wrong\"}'
  baton step redact --input message.json --json | jq .output
  echo '{\"text\":\"...\"}' | baton step summarize --input -
  baton step triage --input in.json --run run_01 --step s1      # the same again: the stored answer
  baton step triage --input in.json --stream                    # progress as it comes, then the outcome
  baton step triage --input in.json --async --callback https://orchestrator.example.com/done
  baton step triage --input in.json --capture /tmp/exchange     # then: baton verify /tmp/exchange/request.http

Exit codes: 0 completed, handed off, or accepted with --async · 1 the step failed or was cancelled · 2 asked
wrongly · 3 refused by the gateway · 4 no answer, or an answer whose signature does not hold";

/// `baton step`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Step {
    /// The agent
    pub agent: String,
    /// Its input: a file, `-` for standard input, or JSON that begins with { [ or "
    #[arg(long, value_name = "FILE|-|JSON")]
    pub input: JsonSource,
    /// The run's id [default: random]
    #[arg(long, value_parser = id::parse)]
    pub run: Option<String>,
    /// The step's id within the run [default: random]
    #[arg(long, value_parser = id::parse)]
    pub step: Option<String>,
    /// The number of the attempt; after a retryable failure, one more than the last
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attempt: u32,
    /// The idempotency key [default: run/step, and run/step/attempt from the second attempt on]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// A state to bring along, given as --input is [default: the state that the run keeps]
    #[arg(long, value_name = "FILE|-|JSON", conflicts_with = "state_version")]
    pub state: Option<JsonSource>,
    /// The version that the run's kept state must be at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub state_version: Option<u64>,
    /// How long to wait for the step, in milliseconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=baton::manifest::DEADLINE_MAX_MS))]
    pub deadline_ms: Option<u64>,
    /// Do not wait for the outcome: the step runs in the background
    #[arg(long = "async", conflicts_with = "stream")]
    pub respond_async: bool,
    /// With --async, wait up to this many seconds all the same
    #[arg(
        long,
        value_name = "S",
        requires = "respond_async",
        value_parser = clap::value_parser!(u64).range(1..=super::run::WAIT_MAX_S)
    )]
    pub wait: Option<u64>,
    /// Follow the step as it runs: its reports go to standard error, the outcome to standard output
    #[arg(long)]
    pub stream: bool,
    /// Where the gateway sends the outcome, signed as Standard Webhooks are
    #[arg(long, value_name = "URL")]
    pub callback: Option<String>,
    /// Let the gateway itself go on with the agent that this one hands off to
    #[arg(long)]
    pub follow_handoffs: bool,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}
