//! `baton api-keys`: the API keys of customers, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::access::key::is_key_id;
use baton::access::{PresentedKey, RateLimit};
use baton::signature::Purpose;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::args::{ApiKeys, CreateApiKey, ListApiKeys, RevokeApiKey};
use crate::environment::now_s;
use crate::id::{list_path, quoted, segment};
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const PATH: &str = "/operator/api-keys";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &ApiKeys, style: Style) -> Result<Report, Failure> {
    match command {
        ApiKeys::Create(args) => create(args, style),
        ApiKeys::List(args) => list(args, style),
        ApiKeys::Revoke(args) => revoke(args, style),
    }
}

fn create(args: &CreateApiKey, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let body = wanted(args, now_s());
    let request = Caller::with_json(caller.request(Method::POST, PATH), body.to_string().into_bytes())?;
    let answer = caller.call(request, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        if !body["api_key"].is_string() {
            return Err(show::unexpected(&answer.response, "key: it has no `api_key`"));
        }
        let mut out = describe_one(body, now_s(), style);
        let _ = writeln!(out, "\n{}\n", text(&body["api_key"]));
        out.push_str("This is the key. It is shown once: give it to the customer, and keep no copy.\n");
        Ok((Exit::Done, out))
    })
}

/// What the arguments ask for.
fn wanted(args: &CreateApiKey, now_s: u64) -> Value {
    let mut body = json!({ "name": args.name });
    if !args.agents.is_empty() {
        body["agents"] = args.agents.clone().into();
    }
    if let Some(seconds) = args.expires_in {
        body["expires_at_ms"] = (now_s.saturating_add(seconds) * 1_000).into();
    }
    // One of the two is meant for both, as far as it may.
    let rate = match (args.burst, args.per_minute) {
        (None, None) => return body,
        (Some(burst), per_minute) => (burst, per_minute.unwrap_or(burst)),
        (None, Some(per_minute)) => (per_minute.min(RateLimit::BURST_MAX), per_minute),
    };
    body["rate"] = json!({ "burst": rate.0, "per_minute": rate.1 });
    body
}

fn list(args: &ListApiKeys, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = list_path(PATH, &args.page);
    let answer = caller.ask(Method::GET, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let keys = body["api_keys"]
            .as_array()
            .ok_or_else(|| show::unexpected(&answer.response, "list: it has no `api_keys`"))?;
        Ok((Exit::Done, describe(keys, &body["next"], now_s(), style)))
    })
}

fn describe(keys: &[Value], next: &Value, now_s: u64, style: Style) -> String {
    if keys.is_empty() {
        return "there are no API keys\n".to_owned();
    }
    let mut out: String = keys.iter().map(|key| describe_one(key, now_s, style)).collect();
    if next.is_string() {
        let _ = writeln!(out, "there are more: --cursor {}", quoted(&text(next)));
    }
    out
}

fn describe_one(key: &Value, now_s: u64, style: Style) -> String {
    let at = |name: &str| moment(&key[name]);
    let expired = key["expires_at_ms"]
        .as_u64()
        .is_some_and(|at_ms| at_ms / 1_000 <= now_s);
    let state = match (at("revoked_at_ms"), at("expires_at_ms")) {
        (Some(at), _) => style.bad(&format!("revoked {at}")),
        (None, Some(at)) if expired => style.bad(&format!("expired {at}")),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "without an end".to_owned(),
    };
    let agents: Vec<_> = key["agents"].as_array().into_iter().flatten().map(text).collect();
    let agents = match agents.as_slice() {
        [all] if all == "*" => "all agents".to_owned(),
        some => some.join(", "),
    };
    format!(
        "{}  {}  since {}  {state}\n  {agents}  {} at once, {} in a minute\n",
        style.heading(&text(&key["id"])),
        text(&key["name"]),
        at("created_at_ms").unwrap_or_default(),
        text(&key["rate"]["burst"]),
        text(&key["rate"]["per_minute"]),
    )
}

/// The id that is meant. Of a whole key only its id is taken; what is neither is not repeated, for it may be most of a key.
fn id_of(text: &str) -> Result<String, Failure> {
    let id = PresentedKey::parse(text).map_or_else(|| text.to_owned(), |key| key.id);
    if is_key_id(&id) {
        return Ok(id);
    }
    Err(Failure::usage(
        "that is no id of an API key: write the 16 hexadecimal digits that `baton api-keys list` shows".to_owned(),
    ))
}

fn revoke(args: &RevokeApiKey, style: Style) -> Result<Report, Failure> {
    let id = id_of(&args.id)?;
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::DELETE, &format!("{PATH}/{}", segment(&id)), TIMEOUT)?;
    if answer.response.status() == StatusCode::NO_CONTENT {
        let report = Report::new(Exit::Done, "");
        return Ok(if args.call.json {
            report
        } else {
            report.note(format!("the API key {id} is revoked"))
        });
    }
    show::report(&answer, args.call.json, style, |_| {
        Err(show::unexpected(&answer.response, "answer to a revocation"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn check(arguments: &[&str], expected: &Value) {
        let line = ["baton", "api-keys", "create", "Acme"].iter().chain(arguments);
        let args = Args::try_parse_from(line).expect("arguments");
        let Command::ApiKeys(ApiKeys::Create(args)) = args.command else {
            panic!("another command")
        };
        assert_eq!(wanted(&args, 1_000), *expected, "{arguments:?}");
    }

    #[test]
    fn of_a_whole_key_only_the_id_is_taken() {
        let key = |secret: &str| format!("baton_0123456789abcdef_{secret}");
        for text in ["0123456789abcdef".to_owned(), key(&"A".repeat(43))] {
            assert_eq!(id_of(&text).ok().as_deref(), Some("0123456789abcdef"), "{text}");
        }
        for wrong in ["", "0123456789ABCDEF", "0123456789abcde", &key("secret")] {
            let error = id_of(wrong).expect_err(wrong);
            let error = error.message();
            assert!(!error.contains("secret") && !error.contains("baton_"), "{error}");
        }
    }

    #[test]
    fn wishes() {
        check(&[], &json!({"name": "Acme"}));
        check(
            &["--agent", "triage", "--agent", "redact", "--expires-in", "30d"],
            &json!({"name": "Acme", "agents": ["triage", "redact"], "expires_at_ms": 2_593_000_000_u64}),
        );
        let rate =
            |burst: u32, per_minute: u32| json!({"name": "Acme", "rate": {"burst": burst, "per_minute": per_minute}});
        check(&["--burst", "10"], &rate(10, 10));
        check(&["--per-minute", "20000"], &rate(10_000, 20_000));
        check(&["--burst", "10", "--per-minute", "20"], &rate(10, 20));
    }

    #[test]
    fn lists() {
        let key = |more: &str| {
            let json = format!(
                r#"{{"id":"0123456789abcdef","name":"Acme","agents":["*"],"created_at_ms":1764000010000,"rate":{{"burst":6,"per_minute":7}}{more}}}"#
            );
            serde_json::from_str::<Value>(&json).expect("JSON")
        };
        let check = |more: &str, state: &str| {
            let shown = describe(&[key(more)], &Value::Null, 1_764_000_010, Style::plain());
            let expected = format!(
                "0123456789abcdef  Acme  since 2025-11-24T16:00:10Z  {state}\n  all agents  6 at once, 7 in a minute\n"
            );
            assert_eq!(shown, expected);
        };
        check("", "without an end");
        check(r#","expires_at_ms":1764000011000"#, "until 2025-11-24T16:00:11Z");
        check(r#","expires_at_ms":1764000010000"#, "expired 2025-11-24T16:00:10Z");
        check(r#","revoked_at_ms":1764000011000"#, "revoked 2025-11-24T16:00:11Z");
        assert_eq!(
            describe(&[], &Value::Null, 0, Style::plain()),
            "there are no API keys\n"
        );
        assert!(describe(&[key("")], &json!("1-a"), 0, Style::plain()).ends_with("there are more: --cursor 1-a\n"));
    }
}
