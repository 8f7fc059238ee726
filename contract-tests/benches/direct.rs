//! What the open state of the breaker costs: direct calls to a gateway whose orchestrator is gone, beside the same calls to
//! a gateway that has none. `cargo xtask bench direct` builds all and runs this.
//!
//! The calls alternate, so that whatever else the machine does meets both alike. What counts is the difference of the two
//! medians and their ratio; the times themselves are those of this machine.

use std::time::{Duration, Instant};

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::ports::free_port;
use serde_json::{Value, json};

/// So many pairs of calls are measured.
const PAIRS: usize = 500;
/// So many are made before, for caches and for the breaker.
const WARM_UP: usize = 50;
/// What the issue allows the open state to add at the median.
const ADDED_MAX: Duration = Duration::from_millis(2);

struct Called {
    gateway: Gateway,
    api_key: String,
}

impl Called {
    /// A gateway with this orchestrator, or without one.
    fn start(orchestrators: Vec<Configured>) -> Self {
        let keys = Keys::new([
            Key::new("invoke", "gone", "invoke"),
            Key::new("register", "gone", "register"),
            Key::new("operator", "gone", "operate"),
        ]);
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

fn main() {
    let without = Called::start(Vec::new());
    let gone = format!("http://127.0.0.1:{}", free_port());
    let open = Called::start(vec![Configured::new("gone", &gone)]);
    for _ in 0..WARM_UP {
        without.call();
        open.call();
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // A call that finds the breaker half open tries the orchestrator: it is not of the open state.
    let mut trials = 0;
    while alone.len() < PAIRS {
        let (one, _) = without.call();
        let (other, route) = open.call();
        if route["reason"] == "breaker-open" {
            alone.push(one);
            beside.push(other);
        } else {
            trials += 1;
        }
    }
    alone.sort();
    beside.sort();
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    println!("{PAIRS} pairs of direct calls to `triage`; {trials} trial calls were left out");
    println!("{:<28}{:>10}{:>10}", "", "median", "90 %");
    for (name, times) in [("no orchestrator", &alone), ("breaker open", &beside)] {
        let at = |percent: usize| ms(times[(times.len() - 1) * percent / 100]);
        println!("{name:<28}{:>7.2} ms{:>7.2} ms", at(50), at(90));
    }
    let (alone, beside) = (alone[(PAIRS - 1) / 2], beside[(PAIRS - 1) / 2]);
    let added = ms(beside) - ms(alone);
    println!(
        "added at the median: {added:.2} ms ({:.2} of the call without an orchestrator); allowed: {:.0} ms",
        ms(beside) / ms(alone),
        ms(ADDED_MAX)
    );
}
