//! How the links of a gateway that runs stand, told as findings.

use baton::breaker::{BreakerState, BreakerView};
use baton::link::{LinkReport, LinkState, LinkView};
use http::StatusCode;
use serde_json::Value;

use super::{Finding, live};
use crate::output::{Failure, text};
use crate::signed::Answer;

/// An operator's call without an effect, which asks the Link objects.
pub const LINKS: &str = "/operator/links";

/// What the call of [`LINKS`] came to: that it was refused, or what is wrong with each link.
pub fn check(gateway: &str, key: &str, answered: Result<&Answer, &Failure>) -> Vec<Finding> {
    if let Some(refused) = live::check_signed(gateway, LINKS, key, answered, StatusCode::OK) {
        return vec![refused];
    }
    let body: Value = answered
        .ok()
        .and_then(|answer| serde_json::from_slice(answer.response.body()).ok())
        .unwrap_or_default();
    let unknown = || {
        Finding::error(
            format!("{gateway}{LINKS}"),
            "the answer is no list of links that this version knows",
            "use the `baton` of the gateway's version",
        )
    };
    let Some(links) = body["links"].as_array() else {
        return vec![unknown()];
    };
    let check = |link| check_link(gateway, link).unwrap_or_else(|| vec![unknown()]);
    links.iter().flat_map(check).collect()
}

/// Nothing where it is no link that this version knows.
fn check_link(gateway: &str, link: &Value) -> Option<Vec<Finding>> {
    let report: LinkReport = serde_json::from_value(link.clone()).ok()?;
    let (id, url) = (text(&link["orchestrator"]), text(&link["url"]));
    let place = format!("{gateway}{LINKS}, {id}");
    let registration = registration(&place, (&id, &url), &report.link);
    let breaker = breaker(&place, &id, &report.breaker);
    Some(registration.into_iter().chain(breaker).collect())
}

fn registration(place: &str, (id, url): (&str, &str), view: &LinkView) -> Option<Finding> {
    let why = view
        .last_error
        .as_ref()
        .map_or_else(String::new, |error| format!(": {error}"));
    let again = format!("when it is to serve again: `baton link register {id}`");
    Some(match view.state {
        LinkState::Registered => return None,
        LinkState::Registering => Finding::warning(
            place,
            format!("it is being registered at this moment{why}"),
            format!("look again in a moment: `baton link status {id}`"),
        ),
        LinkState::Degraded => Finding::warning(
            place,
            format!(
                "it is degraded: {} calls in a row failed{why}; the lease lasts for another {} s",
                view.failures,
                seconds(view.lease_left_ms)
            ),
            format!("look at the orchestrator, {url}: without a renewal it sends no steps from then on"),
        ),
        LinkState::Draining => Finding::warning(place, "it drains: the orchestrator sends no new steps", again),
        LinkState::Deregistered => Finding::warning(
            place,
            "an operator ended the registration: the orchestrator sends no steps",
            again,
        ),
        LinkState::Refused => Finding::error(
            place,
            format!("the orchestrator refuses the gateway{why}"),
            format!(
                "give both the same record of the purpose `register` (`baton doctor --secrets-file` looks at it), then `baton link register {id}`"
            ),
        ),
        LinkState::Unregistered => Finding::error(
            place,
            format!("it has no lease, or has lost it: the orchestrator sends no steps{why}"),
            format!(
                "look whether {url} can be reached, and at the `link` lines of `wrangler tail`; the next try is in {} s",
                seconds(view.next_in_ms)
            ),
        ),
    })
}

fn breaker(place: &str, id: &str, breaker: &BreakerView) -> Option<Finding> {
    let let_go = format!("let it go when it is well: `baton link breaker auto {id}`");
    let (problem, remedy) = match (breaker.state, breaker.forced) {
        (BreakerState::Closed, false) => return None,
        (BreakerState::Closed, true) => (
            "an operator holds its breaker closed: customers wait for an orchestrator that is down",
            let_go,
        ),
        (BreakerState::Open | BreakerState::HalfOpen, true) => (
            "an operator holds its breaker open: the gateway answers every customer itself",
            let_go,
        ),
        (BreakerState::Open | BreakerState::HalfOpen, false) => (
            "its breaker is open, since calls failed or were slow: the gateway answers customers itself",
            format!(
                "look at the orchestrator; it is tried again in {} s",
                seconds(breaker.probe_in_ms)
            ),
        ),
    };
    Some(Finding::warning(place, problem, remedy))
}

/// Rounded up; 0 where nothing is said.
fn seconds(ms: Option<u64>) -> u64 {
    ms.unwrap_or_default().div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use http::Response;
    use serde_json::{Value, json};

    use super::super::Severity::{self, Error, Warning};
    use super::super::assert_found;
    use super::*;
    use crate::signed::Trust;

    const GATEWAY: &str = "https://agents.acme.dev";

    #[track_caller]
    fn answered(status: u16, body: &Value, expected: &[(Severity, &str)]) {
        let response = Response::builder().status(status).body(body.to_string().into_bytes());
        let answer = Answer {
            response: response.expect("a response"),
            trust: Trust::Signed("k1".to_owned()),
        };
        assert_found(&check(GATEWAY, "k1", Ok(&answer)), expected);
    }

    #[track_caller]
    fn found(change: Value, expected: &[(Severity, &str)]) {
        let mut link = json!({
            "orchestrator": "acme", "url": "https://plans.acme.dev", "state": "registered", "registration": "r",
            "generation": 3, "lease_left_ms": 29_001, "next_in_ms": 9_001, "failures": 0,
            "breaker": {"state": "closed", "forced": false},
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            link[name] = value.clone();
        }
        answered(200, &json!({"links": [link]}), expected);
    }

    #[test]
    fn each_state_of_a_registration() {
        let with_error = |state: &str| json!({"state": state, "failures": 2, "last_error": "it answered 503"});
        found(json!({}), &[]);
        found(
            with_error("degraded"),
            &[(
                Warning,
                "2 calls in a row failed: it answered 503; the lease lasts for another 30 s",
            )],
        );
        found(
            with_error("refused"),
            &[(
                Error,
                "/operator/links, acme: the orchestrator refuses the gateway: it answered 503",
            )],
        );
        found(
            with_error("unregistered"),
            &[(Error, "has lost it: the orchestrator sends no steps: it answered 503")],
        );
        found(
            json!({"state": "unregistered"}),
            &[(Error, "https://plans.acme.dev can be reached")],
        );
        found(json!({"state": "unregistered"}), &[(Error, "the next try is in 10 s")]);
        found(json!({"state": "registering"}), &[(Warning, "at this moment")]);
        found(
            json!({"state": "draining"}),
            &[(
                Warning,
                "sends no new steps: when it is to serve again: `baton link register acme`",
            )],
        );
        found(json!({"state": "deregistered"}), &[(Warning, "ended the registration")]);
        found(json!({"state": "asleep"}), &[(Error, "no list of links")]);
    }

    #[test]
    fn each_state_of_a_breaker() {
        let breaker = |state: &str, forced: bool| json!({"breaker": {"state": state, "forced": forced}});
        let let_go = "`baton link breaker auto acme`";
        found(breaker("open", true), &[(Warning, let_go)]);
        found(breaker("open", true), &[(Warning, "holds its breaker open")]);
        found(breaker("closed", true), &[(Warning, "holds its breaker closed")]);
        found(
            json!({"breaker": {"state": "open", "forced": false, "probe_in_ms": 4_500}}),
            &[(Warning, "it is tried again in 5 s")],
        );
        found(breaker("half-open", false), &[(Warning, "calls failed or were slow")]);
        // Both are told.
        found(
            json!({"state": "refused", "breaker": {"state": "open", "forced": true}}),
            &[(Error, "refuses"), (Warning, let_go)],
        );
    }

    #[test]
    fn what_is_no_list_is_said() {
        answered(200, &json!({"links": []}), &[]);
        answered(200, &json!({"link": []}), &[(Error, "no list of links")]);
        answered(
            503,
            &json!({"code": "storage-unavailable"}),
            &[(Error, "/operator/links, signed with key k1: it answered 503")],
        );
    }
}
