//! Somebody who tries keys: slowed by the address, and none the wiser.

use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::{answered, api_key, call, echo};

/// So many calls without a good key an address has at once.
const TRIES: usize = 20;
/// The bucket is refilled meanwhile, by one call in three seconds: after so many it is empty on the slowest machine.
const TRIES_MAX: usize = 10 * TRIES;

/// What an answer says, but for what is of this one request: its id, and when it was.
fn said(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    let own = ["x-request-id", "date", "ratelimit", "retry-after"];
    let mut headers = answer.response.headers.clone();
    headers.retain(|(name, _)| !own.contains(&name.as_str()));
    (answer.status(), body, headers)
}

#[test]
fn who_tries_keys_is_slowed_and_learns_nothing() {
    let gateway = Gateway::start(Options::with_operator());
    let good = api_key(&gateway, "operator", &json!({ "name": "good" }));
    let revoked = api_key(&gateway, "operator", &json!({ "name": "revoked" }));
    let parts = |key: &str| -> Vec<String> { key.splitn(3, '_').map(str::to_owned).collect() };
    let revoke = format!("/operator/api-keys/{}", parts(&revoked)[1]);
    let revoke = Message::new(&gateway, "DELETE", &revoke).signed(gateway.key("operator"));
    assert_eq!(revoke.send().status(), 204);

    let (id, secret) = (&parts(&good)[1], &parts(&good)[2]);
    let first = if secret.starts_with('A') { 'B' } else { 'A' };
    let another_secret = format!("baton_{id}_{first}{}", &secret[1..]);
    let another_id = format!("baton_0123456789abcdef_{secret}");
    let from = |address: &str, key: &str| {
        call(&gateway, key, "/agents/echo/query", &echo())
            .line("cf-connecting-ip", address)
            .send()
    };
    // Of one address, which then has used up its tries.
    let wrong = [another_secret.as_str(), &another_id, &revoked, "baton_x", "x"];
    let mut answers: Vec<Answer> = Vec::new();
    for key in wrong.iter().cycle().take(TRIES_MAX) {
        let answer = from("198.51.100.7", key);
        if answer.status() == 429 {
            break;
        }
        answer.problem(401, "api-key-invalid");
        answers.push(answer);
    }
    assert!((TRIES..TRIES_MAX).contains(&answers.len()), "{}", answers.len());
    // Whatever was wrong with a key: all of it is said in one way.
    for answer in &answers {
        assert_eq!(said(answer), said(&answers[0]));
    }

    // From now on no key is looked at, not even the good one.
    for key in wrong.iter().chain([&good.as_str()]) {
        let answer = wait_for("a call without a look at its key", || {
            // What has come back meanwhile is used up first.
            wait_for("no try to be left", || {
                (from("198.51.100.7", &another_secret).status() == 429).then_some(())
            });
            let answer = from("198.51.100.7", key);
            (answer.status() == 429).then_some(answer)
        });
        let problem = answer.problem(429, "rate-limited");
        assert_eq!(problem["retryable"], true, "{problem}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"address\";q=20;w=60"));
        let left = answer.header("ratelimit").expect("what is left");
        assert!(left.starts_with("\"address\";r=0;t="), "{left}");
        let seconds: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=3).contains(&seconds), "{seconds}");
    }
    // Another customer is not slowed by that.
    let _ = answered(&from("203.0.113.9", &good));
}
