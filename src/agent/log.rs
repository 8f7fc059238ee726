//! What an agent says to the operator's log.

use serde_json::{Value, json};

use super::Context;
use crate::telemetry::trace_context::TraceContext;

/// A message has at most this many characters: the rest is cut off.
pub const LOG_MESSAGE_MAX_CHARS: usize = 256;
/// The fields of a line have at most this many bytes as JSON: larger ones are left out as a whole.
pub const LOG_FIELDS_MAX_BYTES: usize = 2048;

impl Context<'_> {
    /// Writes a line to the operator's log: a message that is always the same, and what differs in `fields`. Run, step,
    /// attempt and trace stand in the line by themselves.
    ///
    /// Operators read it and keep it: no secret, and nothing of the input that somebody would not want to be kept.
    pub fn log(&self, message: &str, fields: &Value) {
        self.host.log(&line(self, message, fields));
    }
}

fn line(context: &Context<'_>, message: &str, fields: &Value) -> Value {
    let message: String = message.chars().take(LOG_MESSAGE_MAX_CHARS).collect();
    let too_large = fields.to_string().len() > LOG_FIELDS_MAX_BYTES;
    let span = context.traceparent.and_then(TraceContext::parse);
    json!({
        "event": "agent",
        "agent": context.agent,
        "run": context.run,
        "step": context.step,
        "attempt": context.attempt,
        "trace_id": span.as_ref().map(TraceContext::trace_id),
        "span_id": span.as_ref().map(TraceContext::span_id),
        "message": message,
        "fields": if too_large { &Value::Null } else { fields },
        "fields_left_out": too_large,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::super::tests::FakeHost;
    use super::*;
    use crate::manifest::Team;
    use crate::run::call::Behalf;

    fn logged(traceparent: Option<&str>, message: &str, fields: &Value) -> Value {
        let host = FakeHost::at(1_000);
        let context = Context {
            agent: "triage",
            run: "run_01",
            step: "s1",
            attempt: 2,
            deadline_at_ms: 2_000,
            state: None,
            history: crate::conversation::History::none(),
            traceparent,
            behalf: &Behalf::default(),
            depth: 0,
            team: Team::embedded(),
            host: &host,
            cancellation: &host,
            journal: &Journal::default(),
        };
        context.log(message, fields);
        host.logged().remove(0)
    }

    #[test]
    fn a_line_says_where_it_comes_from() {
        let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(
            logged(trace, "asked the shop", &json!({"orders": 3})),
            json!({
                "event": "agent", "agent": "triage", "run": "run_01", "step": "s1", "attempt": 2,
                "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
                "message": "asked the shop", "fields": {"orders": 3}, "fields_left_out": false,
            })
        );
        let untraced = logged(None, "", &json!({}));
        assert_eq!(
            (&untraced["trace_id"], &untraced["span_id"]),
            (&Value::Null, &Value::Null)
        );
    }

    #[test]
    fn a_line_is_short() {
        let message = |chars: usize| logged(None, &"ä".repeat(chars), &json!({}))["message"].clone();
        assert_eq!(message(LOG_MESSAGE_MAX_CHARS), "ä".repeat(LOG_MESSAGE_MAX_CHARS));
        assert_eq!(message(LOG_MESSAGE_MAX_CHARS + 1), "ä".repeat(LOG_MESSAGE_MAX_CHARS));
        // Two bytes are the quotes.
        let fits = json!("a".repeat(LOG_FIELDS_MAX_BYTES - 2));
        assert_eq!(logged(None, "", &fits)["fields"], fits);
        let large = logged(None, "", &json!("a".repeat(LOG_FIELDS_MAX_BYTES - 1)));
        assert_eq!(
            (&large["fields"], &large["fields_left_out"]),
            (&Value::Null, &json!(true))
        );
    }
}
