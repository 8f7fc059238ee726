//! `baton run`

use clap::{ArgGroup, Subcommand};

use crate::id;
use crate::input::JsonSource;

use super::CallOptions;

/// The gateway waits at most this long, in seconds.
pub const WAIT_MAX_S: u64 = 30;

/// `baton run`
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Show a run: its state, its steps, its handoffs
    Show(ShowRun),
    /// Print the state that a run keeps
    State(ShowState),
    /// Write the state that a run keeps
    PutState(PutState),
    /// List a run's steps
    Steps(ShowSteps),
    /// Show a step and, once it has ended, its outcome
    Step(ShowStep),
    /// Cancel a step
    Cancel(CancelStep),
    /// Follow a step as it runs, and show its outcome
    Watch(WatchStep),
    /// Hand a run over to an agent
    Handoff(Box<Handoff>),
    /// Forget a run: its state, its steps and their outcomes
    Delete(DeleteRun),
}

/// `baton run show`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run show run_01
  baton run show run_01 --json | jq .state.etag
  baton run show dir_0f1e2d3c4b5a69788796a5b4c3d2e1f0 --operator acme --key operator.key.json")]
pub struct ShowRun {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// Look as the gateway's operator, at a run of this orchestrator; `:gateway` has those that no orchestrator plans
    #[arg(long, value_name = "ORCHESTRATOR", value_parser = id::parse)]
    pub operator: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run steps`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run steps run_01
  baton run steps run_01 --json | jq '.steps[].step'")]
pub struct ShowSteps {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run state`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run state run_01 > state.json
  baton run state run_01 --version 3 | jq .

The state goes to standard output byte by byte as it was written; its version and its entity tag, which
`baton run put-state --if-match` takes, go to standard error. With --json they are left out.")]
pub struct ShowState {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// An earlier version [default: the current one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run put-state`
#[derive(Debug, clap::Args)]
#[command(
    group(ArgGroup::new("condition").required(true).args(["if_match", "create"])),
    after_help = "\
Examples:
  baton run put-state run_01 --state '{\"step\":0}' --create
  baton run put-state run_01 --state state.json --if-match 3-47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU
  jq .step=2 state.json | baton run put-state run_01 --state - --if-match '*'

`baton run state` and `baton run show` say the entity tag. If somebody else wrote in between, nothing is
written (exit code 3): read the state again, then decide."
)]
pub struct PutState {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// The new state: a file, `-` for standard input, or JSON that begins with { [ or "
    #[arg(long, value_name = "FILE|-|JSON")]
    pub state: JsonSource,
    /// The entity tag of the state that this one takes the place of; `*` is whatever is current
    #[arg(long, value_name = "ETAG", value_parser = entity_tag)]
    pub if_match: Option<String>,
    /// There must be no state yet
    #[arg(long)]
    pub create: bool,
    /// Under one key the state is written once, however often it is sent [default: none]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run step`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run step run_01 s1
  baton run step run_01 s1 --wait 30
  baton run step run_01 s1 --json | jq .answer.body.output

Exit codes: 0 it has not ended yet, completed or handed off · 1 it failed or was cancelled · 2 asked wrongly ·
3 refused by the gateway, now or when the step ran · 4 no answer, or one whose signature does not hold")]
pub struct ShowStep {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// The step
    #[arg(value_parser = id::parse)]
    pub step: String,
    /// Wait up to this many seconds for its end
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=WAIT_MAX_S))]
    pub wait: Option<u64>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run cancel`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run cancel run_01 s1

Exit codes: 0 it is cancelled · 1 it had ended before · 2 asked wrongly · 3 refused by the gateway · 4 no
answer, or one whose signature does not hold")]
pub struct CancelStep {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// The step
    #[arg(value_parser = id::parse)]
    pub step: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run watch`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run watch run_01 s1
  baton run watch run_01 s1 --json 2> /dev/null | jq .output
  baton run watch run_01 s1 --last-event-id 1.17

What the step reports while it runs is not signed and goes to standard error; the outcome is, and goes to
standard output. A stream that breaks is taken up where it broke. To stop watching stops nothing.

Exit codes: 0 completed or handed off · 1 the step failed or was cancelled · 2 asked wrongly · 3 refused by
the gateway · 4 no answer, or one whose signature does not hold")]
pub struct WatchStep {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// The step
    #[arg(value_parser = id::parse)]
    pub step: String,
    /// Begin after this event [default: from the beginning]
    #[arg(long, value_name = "ID")]
    pub last_event_id: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run delete`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run delete run_01

What runs is cancelled. That there never was such a run is no error.")]
pub struct DeleteRun {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

/// `baton run handoff`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton run handoff run_01 --to redact --from triage --reason 'Has personal data'
  baton run handoff run_01 --to redact --from me --reason 'Take over' --version 3
  baton run handoff run_01 --to redact --from me --reason 'Go on' --state state.json --step s2 --input in.json

Without --step the run waits for somebody to invoke the agent. With it, the step runs in the background:
`baton run watch` follows it.")]
pub struct Handoff {
    /// The run
    #[arg(value_parser = id::parse)]
    pub run: String,
    /// The agent that takes over
    #[arg(long, value_name = "AGENT")]
    pub to: String,
    /// Who hands over
    #[arg(long, value_name = "WHO", value_parser = |text: &str| length(text, 128))]
    pub from: String,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| length(text, 1000))]
    pub reason: String,
    /// A new state, given as --input is [default: the state that the run keeps]
    #[arg(long, value_name = "FILE|-|JSON")]
    pub state: Option<JsonSource>,
    /// The version that the run's kept state must be at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
    /// The first step to run on the agent
    #[arg(long, value_parser = id::parse, requires = "input")]
    pub step: Option<String>,
    /// The step's input: a file, `-` for standard input, or JSON that begins with { [ or "
    #[arg(long, value_name = "FILE|-|JSON", requires = "step")]
    pub input: Option<JsonSource>,
    /// The number of the step's attempt
    #[arg(long, default_value_t = 1, requires = "step", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attempt: u32,
    /// How long the step may take, in milliseconds
    #[arg(
        long,
        value_name = "N",
        requires = "step",
        value_parser = clap::value_parser!(u64).range(1..=baton::manifest::DEADLINE_MAX_MS)
    )]
    pub deadline_ms: Option<u64>,
    /// Where the gateway sends the step's outcome, signed as Standard Webhooks are
    #[arg(long, value_name = "URL", requires = "step")]
    pub callback: Option<String>,
    /// Let the gateway itself go on with the agent that the step hands off to
    #[arg(long, requires = "step")]
    pub follow_handoffs: bool,
    /// The idempotency key [default: as `baton step` makes it for the step; random without one]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How the call is made.
    #[command(flatten)]
    pub call: CallOptions,
}

fn length(text: &str, max: usize) -> Result<String, String> {
    if (1..=max).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("it must have 1 to {max} characters"))
    }
}

/// An entity tag as `If-Match` has it. A shell takes the quotes away, so they may be missing.
fn entity_tag(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
        return Err("it is no entity tag: copy the one that `baton run state` says, such as 3-47DEQpj8".to_owned());
    }
    Ok(if text == "*" {
        text.to_owned()
    } else {
        format!("\"{bare}\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(entity_tag(text).ok().as_deref(), expected, "{text}");
        };
        check("*", Some("*"));
        check("3-ab_c", Some("\"3-ab_c\""));
        check("\"3-ab_c\"", Some("\"3-ab_c\""));
        check("W/\"3-ab\"", None);
        check("\"3\", \"4\"", None);
        check("", None);
        check("\"\"", None);
    }

    #[test]
    fn lengths_are_characters() {
        assert!(length(&"ä".repeat(128), 128).is_ok());
        assert!(length(&"a".repeat(129), 128).is_err());
        assert!(length("", 128).is_err());
    }
}
