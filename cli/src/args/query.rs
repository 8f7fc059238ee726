//! `baton query`

use std::convert::Infallible;

use baton::manifest::DEADLINE_MAX_MS;

use crate::input::JsonSource;

const EXAMPLES: &str = "\
Examples:
  export BATON_API_KEY=\"$(baton api-keys create me --json | jq -r .api_key)\"
  baton query 'I was charged twice'                              # the router chooses the agent
  baton query 'I was charged twice' --agent triage
  baton query --agent triage --input '{\"text\":\"I was charged twice\"}'
  baton query 'Summarize this: ...' --stream                      # see it happen
  baton query --agent redact --input @message.json --json | jq .output
  baton query 'I was charged twice' --idempotency-key order-17   # the same again: the stored answer

A key on the command line stands in the shell's history: rather set BATON_API_KEY.

Exit codes: 0 completed or handed off · 1 the step failed or was cancelled · 2 asked wrongly · 3 refused by the
gateway · 4 no answer";

/// `baton query`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Query {
    /// What is asked, in words
    #[arg(conflicts_with = "input")]
    pub text: Option<String>,
    /// The agent that answers [default: the one that the gateway's router chooses by the text]
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// The agent's input instead of a text: a file, `-` for standard input, or JSON that begins with { [ or "
    #[arg(long, value_name = "JSON|@FILE|-", value_parser = input)]
    pub input: Option<JsonSource>,
    /// How long the answer may take, such as 5s or 800ms, at most 5m [default: the agent's own deadline]
    #[arg(long, value_name = "DURATION", value_parser = deadline_ms)]
    pub deadline: Option<u64>,
    /// Names the call: the same again gets the stored answer [default: random]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// The API key, as `baton api-keys create` prints it
    // Checked by the command: clap would print a wrong one.
    #[arg(long, env = "BATON_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Where the gateway is
    #[arg(long, env = "BATON_GATEWAY", hide_env_values = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// Show on standard error what happens meanwhile: how the call is routed, progress, the output's text as it comes
    #[arg(long)]
    pub stream: bool,
    /// Print the answer's body as the gateway sent it
    #[arg(long)]
    pub json: bool,
}

/// As everywhere, and with the `@` before a file's name that curl has.
fn input(text: &str) -> Result<JsonSource, Infallible> {
    text.strip_prefix('@').unwrap_or(text).parse()
}

/// `5s` and the like, in milliseconds.
fn deadline_ms(text: &str) -> Result<u64, String> {
    let explain = || format!("`{text}` is no deadline: write a number and ms, s or m, from 1ms to 5m, such as 5s");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(explain)?;
    let (count, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(explain()),
    };
    let count: u64 = count.parse().map_err(|_| explain())?;
    count
        .checked_mul(unit_ms)
        .filter(|total| (1..=DEADLINE_MAX_MS).contains(total))
        .ok_or_else(explain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Source;

    #[test]
    fn deadlines() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(deadline_ms(text).ok(), expected, "{text}");
        check("1ms", Some(1));
        check("5s", Some(5_000));
        check("5m", Some(300_000));
        check("300001ms", None);
        check("6m", None);
        check("0s", None);
        check("5", None);
        check("s", None);
        check("", None);
        check("-1s", None);
        check("1h", None);
        check("99999999999999999999s", None);
        check("18446744073709551615m", None);
    }

    #[test]
    fn inputs() {
        let check = |text: &str, expected: JsonSource| assert_eq!(input(text), Ok(expected), "{text}");
        check("@in.json", JsonSource::From(Source::File("in.json".into())));
        check("in.json", JsonSource::From(Source::File("in.json".into())));
        check("-", JsonSource::From(Source::Stdin));
        check(r#"{"a":1}"#, JsonSource::Inline(r#"{"a":1}"#.to_owned()));
    }
}
