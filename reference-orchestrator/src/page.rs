//! The page for people: what is registered and what ran. Made on the server, without scripts.

use std::time::{Duration, UNIX_EPOCH};

use std::fmt::Write as _;

use crate::model::{Callback, Invocation, Registration, Run, Settlement, Step};

/// What the page may load: nothing. Its style stands in it.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");

/// The page. Everything in it that others wrote is escaped.
#[must_use]
pub fn page(id: &str, registrations: &[Registration], runs: &[Run], now_ms: u64) -> String {
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n");
    let id = escape(id);
    // Writing into a string cannot fail.
    let _ = write!(
        html,
        "<title>Orchestrator {id}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
    );
    let _ = write!(
        html,
        "<h1>Orchestrator {id}</h1>\n<p>As of {}. <a href=\"/\">Reload</a></p>\n</header>\n<main>\n",
        time(now_ms)
    );
    html.push_str(&registrations_section(registrations, now_ms));
    html.push_str(&runs_section(runs));
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn registrations_section(registrations: &[Registration], now_ms: u64) -> String {
    let mut html = String::from("<section aria-labelledby=\"gateways\">\n<h2 id=\"gateways\">Gateways</h2>\n");
    if registrations.is_empty() {
        html.push_str(
            "<p>No gateway is registered. A gateway registers by itself soon after it starts.</p>\n</section>\n",
        );
        return html;
    }
    html.push_str(&table_head(
        "Registrations, the newest first",
        &["Gateway", "Status", "Lease", "Generation", "Origin", "Agents", "Health"],
    ));
    for one in registrations {
        let status = one.status.as_str();
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&one.gateway),
            badge(status, status == "live"),
            lease(one, now_ms),
            one.generation,
            escape(&one.origin),
            escape(&one.agents.join(", ")),
            escape(one.health.as_deref().unwrap_or("not told yet")),
        );
    }
    html.push_str("</tbody>\n</table></div>\n</section>\n");
    html
}

fn lease(registration: &Registration, now_ms: u64) -> String {
    let until_ms = registration.lease_expires_at_ms;
    match until_ms.checked_sub(now_ms) {
        Some(left_ms) if registration.status.as_str() == "live" => {
            format!("until {} ({} s left)", time(until_ms), left_ms / 1_000)
        }
        _ => format!("ran until {}", time(until_ms)),
    }
}

fn runs_section(runs: &[Run]) -> String {
    let mut html = String::from("<section aria-labelledby=\"runs\">\n<h2 id=\"runs\">Latest runs</h2>\n");
    if runs.is_empty() {
        html.push_str("<p>Nothing ran yet. <code>POST /runs</code> with an agent and its input begins a run.</p>\n");
    }
    for run in runs {
        let (id, status) = (escape(&run.run), run.status.as_str());
        let _ = write!(
            html,
            "<article>\n<h3><a href=\"/runs/{id}\">{id}</a> {}</h3>\n<p>Begun {}{}{}</p>\n",
            badge(status, status == "completed" || status == "settled"),
            time(run.created_at_ms),
            kept_state(run),
            handed_on(run),
        );
        html.extend(run.settlements.iter().map(settlement));
        html.push_str(&table_head(
            &format!("Steps of {id}"),
            &["Step", "Agent", "Status", "Outcome", "Answer", "Calls"],
        ));
        for step in &run.steps {
            html.push_str(&step_row(step));
        }
        html.push_str("</tbody>\n</table></div>\n</article>\n");
    }
    html.push_str("</section>\n");
    html
}

/// The newest version of the kept state that the orchestrator was told of.
fn kept_state(run: &Run) -> String {
    let brought = run.state.as_ref().map(|state| state.version);
    let written = run.steps.iter().filter_map(|step| step.state_version);
    let newest = brought.into_iter().chain(written).max();
    newest.map_or(String::new(), |version| format!(". State version {version}"))
}

fn handed_on(run: &Run) -> String {
    let by = run.handed_on_by.as_deref();
    by.map_or(String::new(), |gateway| format!(". Handed on by {}", escape(gateway)))
}

fn settlement(one: &Settlement) -> String {
    let agreed = one.conflict.as_deref().unwrap_or("settled");
    let told = format!(
        "The gateway {} routed it by itself ({}) and told so at",
        one.gateway, one.reason
    );
    format!(
        "<p>{} {}: {}</p>\n",
        escape(&told),
        time(one.received_at_ms),
        badge(agreed, one.settled)
    )
}

fn step_row(step: &Step) -> String {
    let status = step.status.as_str();
    let outcome = step.outcome.as_ref().map_or("none yet".into(), |outcome| {
        let shown = outcome.get("output").or(outcome.get("error")).unwrap_or(outcome);
        format!("<code>{}</code>", escape(&shown.to_string()))
    });
    let verified = match (&step.outcome, step.verified) {
        (None, _) => "none yet".into(),
        (Some(_), true) => {
            let came = step.via.map_or(String::new(), |via| format!(" by {}", via.as_str()));
            format!("{}{came}", badge("verified", true))
        }
        (Some(_), false) => badge("not verified", false),
    };
    let calls = step.invocations.iter().map(call);
    let calls: String = calls.chain(step.callbacks.iter().map(delivery)).collect();
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{outcome}</td><td>{verified}</td><td><ol>{calls}</ol></td></tr>\n",
        escape(&step.step),
        escape(&step.agent),
        badge(status, status == "completed"),
    )
}

fn call(call: &Invocation) -> String {
    let mut facts = vec![format!("{}, attempt {}", call.call.as_str(), call.attempt)];
    facts.push(
        call.http_status
            .map_or("no answer".into(), |status| format!("HTTP {status}")),
    );
    facts.extend(call.outcome.clone());
    facts.extend(call.problem.clone());
    facts.push(if call.verified { "verified" } else { "not verified" }.into());
    facts.extend(call.replayed.then(|| "stored answer".into()));
    facts.push(format!("{} ms", call.duration_ms));
    facts.extend(call.request_id.clone());
    format!("<li>{}</li>", escape(&facts.join(", ")))
}

fn delivery(delivery: &Callback) -> String {
    let facts = format!(
        "callback, attempt {}, HTTP {}, {}, verified, received {} times, {}",
        delivery.attempt, delivery.http_status, delivery.kind, delivery.receipts, delivery.id
    );
    format!("<li>{}</li>", escape(&facts))
}

fn table_head(caption: &str, columns: &[&str]) -> String {
    let columns: String = columns
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    // The wrapper scrolls by itself where the table is wider than the page, also by keyboard.
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\n<caption>{caption}</caption>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n"
    )
}

/// A status as a word; the colour only repeats it.
fn badge(status: &str, good: bool) -> String {
    let class = if good { "good" } else { "other" };
    format!("<span class=\"{class}\">{}</span>", escape(status))
}

/// The last moment that RFC 3339 can write, in Unix milliseconds: the end of the year 9999.
const RFC3339_MAX_MS: u64 = 253_402_300_799_999;

/// Unix milliseconds as a date and time in UTC.
fn time(at_ms: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_millis(at_ms.min(RFC3339_MAX_MS));
    let machine = humantime::format_rfc3339_seconds(moment).to_string();
    let person = machine.replace('T', " ").replace('Z', " UTC");
    format!("<time datetime=\"{machine}\">{person}</time>")
}

/// Text as HTML, in an element or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Call, KeptState, Mode, Progress, RegistrationStatus, Via};

    const EVIL: &str = "<script>alert(\"1\")</script>'&";

    fn registration(status: RegistrationStatus) -> Registration {
        Registration {
            registration: EVIL.into(),
            gateway: EVIL.into(),
            origin: EVIL.into(),
            manifest_digest: EVIL.into(),
            generation: 3,
            agents: vec![EVIL.into(), "triage".into()],
            health: Some(EVIL.into()),
            registered_at_ms: 0,
            lease_expires_at_ms: 65_000,
            status,
        }
    }

    fn run() -> Run {
        Run {
            run: EVIL.into(),
            status: Progress::Completed,
            created_at_ms: 1_764_000_000_000,
            deadline_at_ms: 0,
            finished_at_ms: None,
            state: Some(KeptState {
                version: 1,
                digest: Some(EVIL.into()),
            }),
            handed_on_by: Some(EVIL.into()),
            settlements: vec![Settlement {
                idempotency_key: EVIL.into(),
                gateway: EVIL.into(),
                reason: EVIL.into(),
                routed_at_ms: 1,
                received_at_ms: 2,
                settled: false,
                conflict: Some(EVIL.into()),
                steps: json!([]),
                state: json!([]),
            }],
            steps: vec![Step {
                step: EVIL.into(),
                agent: EVIL.into(),
                input: json!(EVIL),
                mode: Mode::Async,
                attempt: 1,
                status: Progress::Waiting,
                verified: true,
                via: Some(Via::Callback),
                state_version: Some(2),
                outcome: Some(json!({ "status": "completed", "output": { "text": EVIL } })),
                callbacks: vec![Callback {
                    id: EVIL.into(),
                    attempt: 1,
                    kind: EVIL.into(),
                    http_status: 200,
                    received_at_ms: 1,
                    receipts: 2,
                }],
                invocations: vec![Invocation {
                    call: Call::Poll,
                    attempt: 1,
                    request_id: Some(EVIL.into()),
                    problem: Some(EVIL.into()),
                    http_status: Some(200),
                    replayed: true,
                    verified: true,
                    ..Invocation::default()
                }],
            }],
        }
    }

    #[test]
    fn nothing_that_others_wrote_is_markup() {
        let html = page(EVIL, &[registration(RegistrationStatus::Live)], &[run()], 5_000);
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("alert(\""), "{html}");
        assert!(
            html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;"),
            "{html}"
        );
    }

    #[test]
    fn it_tells_what_is_registered_and_what_ran() {
        let html = page("reference", &[registration(RegistrationStatus::Live)], &[run()], 5_000);
        for expected in [
            "60 s left",
            ">live<",
            ">verified</span> by callback",
            ">waiting<",
            "poll, attempt 1",
            "received 2 times",
            "State version 2",
            "Handed on by",
            "routed it by itself",
            "stored answer",
            "HTTP 200",
            "2025-11-24 16:00:00 UTC",
        ] {
            assert!(html.contains(expected), "{expected} in {html}");
        }
        let html = page("reference", &[registration(RegistrationStatus::Lapsed)], &[], 70_000);
        assert!(html.contains("ran until") && html.contains(">lapsed<"), "{html}");
        let html = page("reference", &[], &[], 0);
        assert!(
            html.contains("No gateway is registered") && html.contains("Nothing ran yet"),
            "{html}"
        );
    }

    #[test]
    fn times() {
        let check = |at_ms, expected: &str| assert!(time(at_ms).contains(expected), "{}", time(at_ms));
        check(0, "1970-01-01 00:00:00 UTC");
        check(951_782_399_999, "2000-02-28 23:59:59 UTC");
        check(951_782_400_000, "2000-02-29 00:00:00 UTC");
        check(1_735_689_599_000, "2024-12-31 23:59:59 UTC");
    }
}
