//! What the open state of the breaker costs: direct calls to a gateway whose orchestrator is sick, beside the same calls to
//! a gateway that has none. `cargo xtask bench direct` builds all and runs this.
//!
//! The orchestrator refuses runs by 503 and acknowledges settlements, so each call has its one settlement as well. With the
//! argument `gone` it is killed before the first call, and no run is settled meanwhile.
//!
//! The calls alternate, so that whatever else the machine does meets both alike. What counts is the difference of the two
//! medians and their ratio; the times themselves are those of this machine. It fails where the open state adds more than the
//! goal allows: both by the medians and by the pairs, of which one alone may be noise.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use serde_json::{Value, json};

/// How long a lease of the gateway is, in milliseconds.
const LEASE_MS: u64 = 60_000;
/// So many pairs of calls are measured.
const PAIRS: usize = 500;
/// So many are made before, for caches and for the breaker.
const WARM_UP: usize = 50;
/// A pair takes this long at least: a gateway takes some 10 calls in a second from one address.
const PACE: Duration = Duration::from_millis(120);
/// What the issue allows the open state to add at the median.
const ADDED_MAX: Duration = Duration::from_millis(2);

struct Called {
    gateway: Gateway,
    api_key: String,
}

impl Called {
    /// A gateway with this orchestrator, or without one.
    fn start(keys: Keys, orchestrators: Vec<Configured>) -> Self {
        let gateway = Gateway::start(Options {
            keys,
            orchestrators,
            history: true,
            ..Options::default()
        });
        let request = json!({ "name": "bench", "rate": { "burst": 10_000, "per_minute": 60_000 } });
        let made = Message::post(&gateway, "/operator/api-keys", &request)
            .signed_by_baton(gateway.key("operator"))
            .send();
        let made = made.message(201, "api-key-created");
        let api_key = made["api_key"].as_str().expect("a key").to_owned();
        Self { gateway, api_key }
    }

    /// How long a call takes, and how it was routed.
    fn call(&self) -> (Duration, Value) {
        let text = json!({ "text": "I was charged twice and want a refund!" });
        let message = Message::post(&self.gateway, "/agents/triage/query", &text)
            .line("authorization", &format!("Bearer {}", self.api_key));
        let begun = Instant::now();
        let answer = message.send();
        let took = begun.elapsed();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let mut body = answer.json();
        assert_eq!(body["status"], "completed", "{body}");
        (took, body["route"].take())
    }
}

fn main() -> ExitCode {
    let is_gone = std::env::args().any(|argument| argument == "gone");
    let keys = Keys::new([
        Key::new("invoke", "sick", "invoke"),
        Key::new("register", "sick", "register"),
        Key::new("operator", "sick", "operate"),
    ]);
    let sick = json!({ "runs": "status", "status": 503 });
    let mut orchestrator = Orchestrator::new("sick", &keys, LEASE_MS).behaving(sick);
    orchestrator.start();
    let without = Called::start(keys.clone(), Vec::new());
    let open = Called::start(keys, vec![Configured::new("sick", &orchestrator.url())]);
    if is_gone {
        orchestrator.kill_hard();
    }
    // Each of the two is first in every other pair.
    let pair = |number: usize| {
        let begun = Instant::now();
        let (without, open) = if number.is_multiple_of(2) {
            let without = without.call();
            (without, open.call())
        } else {
            let open = open.call();
            (without.call(), open)
        };
        thread::sleep(PACE.saturating_sub(begun.elapsed()));
        (without, open)
    };
    for number in 0..WARM_UP {
        pair(number);
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // A call that finds the breaker half open tries the orchestrator: it is not of the open state.
    let mut trials = 0;
    while alone.len() < PAIRS {
        let ((one, _), (other, route)) = pair(alone.len());
        if route["reason"] == "breaker-open" {
            alone.push(one);
            beside.push(other);
        } else {
            trials += 1;
        }
    }
    let mut differences: Vec<_> = alone
        .iter()
        .zip(&beside)
        .map(|(one, other)| ms(*other) - ms(*one))
        .collect();
    differences.sort_by(f64::total_cmp);
    alone.sort();
    beside.sort();
    println!("{PAIRS} pairs of direct calls to `triage`; {trials} trial calls were left out");
    println!("{:<28}{:>10}{:>10}", "", "median", "90 %");
    for (name, times) in [("no orchestrator", &alone), ("breaker open", &beside)] {
        let at = |percent: usize| ms(times[(times.len() - 1) * percent / 100]);
        println!("{name:<28}{:>7.2} ms{:>7.2} ms", at(50), at(90));
    }
    let (alone, beside) = (alone[(PAIRS - 1) / 2], beside[(PAIRS - 1) / 2]);
    let (by_medians, by_pairs) = (ms(beside) - ms(alone), differences[(PAIRS - 1) / 2]);
    println!(
        "added: {by_medians:.2} ms between the medians, {by_pairs:.2} ms as the median of the pairs; allowed: {:.0} ms",
        ms(ADDED_MAX)
    );
    println!("ratio of the medians: {:.2}", ms(beside) / ms(alone));
    if by_medians.min(by_pairs) > ms(ADDED_MAX) {
        println!("the open state costs more than is allowed, or the machine had something else to do");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
