//! What a receiver's answer means for the batch that it answers.

use prost::Message;
use serde_json::Value;

use super::protobuf::Response;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived. What the receiver did not take of it is lost: it is never sent again.
    Delivered {
        /// How many spans, data points or log records the receiver did not take, and why.
        rejected: Option<(u64, String)>,
    },
    /// It is sent again, later.
    Retry {
        /// Why.
        reason: String,
        /// When the receiver wants it at the earliest, in milliseconds from now.
        retry_after_ms: Option<u64>,
    },
    /// The receiver does not know us: it is sent again when somebody has put that right.
    Paused {
        /// Why.
        reason: String,
    },
    /// It will never be taken as it is.
    Refused {
        /// Why.
        reason: String,
        /// Whether that may be by something in it, so that the rest of it may be taken.
        divisible: bool,
    },
}

/// Reads an answer's status and body, by the standard: 429, 502, 503 and 504 are tried again, 401 and 403 are ours to put
/// right, and every other status is the end of it.
#[must_use]
pub fn verdict(status: u16, retry_after_ms: Option<u64>, body: &[u8]) -> Verdict {
    let reason = format!("status {status}");
    match status {
        200..=299 => Verdict::Delivered {
            rejected: rejected(body),
        },
        429 | 502..=504 => Verdict::Retry { reason, retry_after_ms },
        401 | 403 => Verdict::Paused { reason },
        _ => Verdict::Refused {
            reason,
            divisible: matches!(status, 400 | 413 | 422 | 500),
        },
    }
}

/// How an answer names the number of what was not taken, one name for each signal.
const REJECTED: [&str; 3] = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];

/// What a 2xx did not take. Leniently: receivers answer with odd types, and with bodies that are none of the protocol's.
fn rejected(body: &[u8]) -> Option<(u64, String)> {
    let told = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let partial = json.get("partialSuccess")?;
            let told = REJECTED.iter().find_map(|name| partial.get(name))?;
            let count = match told {
                Value::String(text) => text.parse().ok()?,
                number => number.as_u64()?,
            };
            (count, partial["errorMessage"].as_str().unwrap_or_default().to_owned())
        }
        Err(_) => {
            let partial = Response::decode(body).ok()?.partial_success?;
            (u64::try_from(partial.rejected).ok()?, partial.error_message)
        }
    };
    Some(told).filter(|(count, _)| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::PartialSuccess;
    use super::*;

    #[test]
    fn statuses() {
        let check = |status: u16, expected: &str| {
            let found = match verdict(status, Some(7), b"") {
                Verdict::Delivered { rejected: None } => "delivered",
                Verdict::Retry {
                    retry_after_ms: Some(7),
                    ..
                } => "retry",
                Verdict::Paused { .. } => "paused",
                Verdict::Refused { divisible: true, .. } => "divided",
                Verdict::Refused { .. } => "refused",
                other => panic!("{status}: {other:?}"),
            };
            assert_eq!(found, expected, "{status}");
        };
        for (statuses, expected) in [
            (&[200_u16, 202, 204, 299][..], "delivered"),
            (&[429, 502, 503, 504], "retry"),
            (&[401, 403], "paused"),
            (&[400, 413, 422, 500], "divided"),
            (&[302, 404, 405, 415, 501, 505], "refused"),
        ] {
            for status in statuses {
                check(*status, expected);
            }
        }
    }

    #[test]
    fn what_was_not_taken_is_read_from_either_encoding() {
        let check = |body: &[u8], expected: Option<(u64, &str)>| {
            let expected = expected.map(|(count, why)| (count, why.to_owned()));
            assert_eq!(rejected(body), expected, "{}", String::from_utf8_lossy(body));
        };
        check(b"", None);
        check(b"{}", None);
        check(b"OK", None);
        check(b"[1]", None);
        check(br#"{"partialSuccess":{}}"#, None);
        check(br#"{"partialSuccess":null}"#, None);
        check(
            br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"old"}}"#,
            Some((2, "old")),
        );
        check(br#"{"partialSuccess":{"rejectedSpans":3}}"#, Some((3, "")));
        check(
            br#"{"partialSuccess":{"rejectedDataPoints":"5","errorMessage":"no deltas"}}"#,
            Some((5, "no deltas")),
        );
        check(br#"{"partialSuccess":{"rejectedLogRecords":6}}"#, Some((6, "")));
        check(
            br#"{"partialSuccess":{"rejectedSpans":0,"errorMessage":"a hint"}}"#,
            None,
        );
        let told = Response {
            partial_success: Some(PartialSuccess {
                rejected: 4,
                error_message: "old".into(),
            }),
        };
        check(&told.encode_to_vec(), Some((4, "old")));
    }
}
