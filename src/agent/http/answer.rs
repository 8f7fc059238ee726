//! What an answer means: an output, or a failure.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::super::Failure;
use super::super::call::{AGAIN_MS, is_passing};
use crate::json::parse_strict;
use crate::manifest::{Exchange, HttpTemplates, JSON_DEPTH_MAX, StatusRule};

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// How long the other side asks to wait before it is called again, in milliseconds.
    pub(super) asked_ms: Option<u64>,
    /// Nothing where it was too large.
    pub(super) body: Option<Vec<u8>>,
}

/// Whether an answer of this status makes the agent fail.
pub(super) fn is_failure(config: &Exchange, status: u16) -> bool {
    match config.statuses.get(&status.to_string()) {
        Some(StatusRule::Output(_)) => false,
        Some(StatusRule::Failure(_)) => true,
        None => !(200..=299).contains(&status),
    }
}

/// The output that an answer makes.
///
/// # Errors
/// The failure that it means. It says the status, and nothing of the body: that may repeat what was sent.
pub(super) fn output(
    config: &Exchange,
    templates: &HttpTemplates,
    answer: Answer,
    (input, state): (&Value, Option<&Value>),
) -> Result<Value, Failure> {
    let status = answer.status.to_string();
    if is_failure(config, answer.status) {
        return Err(failure(config, &answer));
    }
    let body = read(&answer, config)?;
    let special = templates.outputs.iter().find(|(known, _)| *known == status);
    let template = special.map(|(_, template)| template).or(templates.output.as_ref());
    let Some(template) = template else {
        return Ok(body);
    };
    let values = [
        ("body", &body),
        ("status", &answer.status.into()),
        ("input", input),
        ("state", state.unwrap_or(&Value::Null)),
    ];
    template
        .render_over(&values)
        .map_err(|error| Failure::terminal("http-answer-unfit", format!("the answer lacks something: {error}")))
}

fn failure(config: &Exchange, answer: &Answer) -> Failure {
    if let Some(StatusRule::Failure(declared)) = config.statuses.get(&answer.status.to_string()) {
        return match declared.retry_after_ms {
            Some(ms) => Failure::retryable(&declared.code, &declared.message, ms),
            None => Failure::terminal(&declared.code, &declared.message),
        };
    }
    let status = answer.status;
    match status {
        300..=399 => Failure::terminal(
            "http-redirected",
            format!("the other side answered {status}, and redirects are not followed"),
        ),
        status if is_passing(status) => Failure::retryable(
            "http-unavailable",
            format!("the other side answered {status}"),
            answer.asked_ms.unwrap_or(AGAIN_MS),
        ),
        status => Failure::terminal("http-refused", format!("the other side answered {status}")),
    }
}

/// The body as JSON where it says so, as text otherwise, and null where there is none.
fn read(answer: &Answer, config: &Exchange) -> Result<Value, Failure> {
    let Some(body) = &answer.body else {
        let max = config.response_max_bytes;
        let message = format!("the answer has more than {max} bytes, which is the most (response_max_bytes)");
        return Err(Failure::terminal("http-answer-too-large", message));
    };
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let media_type = answer.headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok());
    let media_type = media_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if media_type == "application/json" || media_type.ends_with("+json") {
        return parse_strict(body, JSON_DEPTH_MAX).map_err(|error| {
            let message = format!(
                "the answer is not JSON as it should be: line {}, column {}",
                error.line, error.column
            );
            Failure::terminal("http-answer-malformed", message)
        });
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Failure::terminal(
            "http-answer-malformed",
            "the answer is neither JSON nor text",
        )),
    }
}
