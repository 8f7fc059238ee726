//! One JSON object a line. Never a secret, a body or a signature.

use std::io::Write as _;

use serde_json::{Value, json};

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// To standard error.
    StandardError,
    /// Nowhere.
    Silent,
}

impl Log {
    /// Writes an event with its facts, an object. A fact that is `null` is left out.
    pub fn event(self, at_ms: u64, name: &str, facts: Value) {
        if self == Self::Silent {
            return;
        }
        let mut line = json!({ "at_ms": at_ms, "event": name });
        if let (Value::Object(line), Value::Object(facts)) = (&mut line, facts) {
            line.extend(facts.into_iter().filter(|(_, fact)| !fact.is_null()));
        }
        // One write a line, so that lines of several threads do not mix. A closed log stops nothing.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
}
