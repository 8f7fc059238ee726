//! What is in the queue: events, and the destinations that lack them.

use serde::{Deserialize, Serialize};

use crate::telemetry::event::Event;
use crate::telemetry::otlp::Verdict;

/// The platform adds at most so much to a message, and counts it, in bytes.
const MESSAGE_ADDED_BYTES: usize = 100;
/// A message is at most this large, in bytes: 128 kB with what the platform adds.
pub const MESSAGE_MAX_BYTES: usize = 128_000 - MESSAGE_ADDED_BYTES;
/// So many messages at most are put into the queue at once.
pub const SEND_MAX_MESSAGES: usize = 100;
/// So many bytes at most are put into the queue at once: 256 kB with what the platform adds.
pub const SEND_MAX_BYTES: usize = 256_000 - SEND_MAX_MESSAGES * MESSAGE_ADDED_BYTES;

/// Events on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The destinations that lack them, by name.
    pub to: Vec<String>,
    /// The events.
    pub entries: Vec<Entry>,
    /// How often these destinations failed in a row when this was put into the queue.
    #[serde(default)]
    pub failures: u32,
    /// Why, the last time.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// How many events of its run were lost before it was handed over.
    #[serde(default, skip_serializing_if = "is_none")]
    pub dropped: u64,
}

fn is_none(dropped: &u64) -> bool {
    *dropped == 0
}

/// Why events cannot be put into the queue.
#[derive(Debug, thiserror::Error)]
pub enum Unpackable {
    /// An event is larger than a message may be.
    #[error("event {id} makes a message of {bytes} bytes, at most {MESSAGE_MAX_BYTES} fit")]
    TooLarge {
        /// The event's id.
        id: String,
        /// How large the message would be, in bytes.
        bytes: usize,
    },
    /// It cannot be written as JSON.
    #[error("a message cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl Message {
    /// Reads what was put into the queue, by this version or by another one.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

/// What a run puts into the queue: a list of sends, each of which is a list of messages. `dropped` is how many events of the
/// run were lost so far.
///
/// # Errors
/// The verdict on what does not fit: it is divided, as a request that a receiver refuses, until what is too large stands
/// alone.
pub fn hand_over<'e>(
    to: Vec<String>,
    events: impl IntoIterator<Item = &'e Event>,
    dropped: u64,
) -> Result<Vec<Vec<String>>, Verdict> {
    let entry = |event: &Event| Entry {
        event: event.clone(),
        dropped,
    };
    let message = Message {
        to,
        entries: events.into_iter().map(entry).collect(),
        failures: 0,
        last_error: None,
    };
    pack(message).map_err(|unpackable| Verdict::Refused {
        reason: unpackable.to_string(),
        divisible: true,
    })
}

/// Divides a message into as many as it takes, and these into sends.
///
/// # Errors
/// When an event is larger than a message may be.
pub fn pack(message: Message) -> Result<Vec<Vec<String>>, Unpackable> {
    let mut entries = message.entries;
    let mut envelope = Message {
        entries: Vec::new(),
        ..message
    };
    let bytes_around = serde_json::to_string(&envelope)?.len();
    let mut sends = Sends::default();
    let mut bytes = bytes_around;
    for entry in entries.drain(..) {
        let own = serde_json::to_string(&entry)?.len();
        if bytes_around + own > MESSAGE_MAX_BYTES {
            return Err(Unpackable::TooLarge {
                id: entry.event.id,
                bytes: bytes_around + own,
            });
        }
        // A comma stands before every entry but the first.
        if !envelope.entries.is_empty() && bytes + 1 + own > MESSAGE_MAX_BYTES {
            sends.add(serde_json::to_string(&envelope)?);
            envelope.entries.clear();
            bytes = bytes_around;
        }
        bytes += own + usize::from(!envelope.entries.is_empty());
        envelope.entries.push(entry);
    }
    if !envelope.entries.is_empty() {
        sends.add(serde_json::to_string(&envelope)?);
    }
    Ok(sends.all)
}

#[derive(Default)]
struct Sends {
    all: Vec<Vec<String>>,
    /// Of the last one.
    bytes: usize,
}

impl Sends {
    fn add(&mut self, text: String) {
        let bytes = text.len();
        match self.all.last_mut() {
            Some(last) if last.len() < SEND_MAX_MESSAGES && self.bytes + bytes <= SEND_MAX_BYTES => {
                self.bytes += bytes;
                last.push(text);
            }
            _ => {
                self.bytes = bytes;
                self.all.push(vec![text]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::HOPS_MAX;
    use crate::manifest::{AGENT_ID_MAX_CHARS, FALLBACK_AGENTS_MAX};
    use crate::run::RUN_ID_MAX_BYTES;
    use crate::telemetry::event::{Ending, Hop, What};
    use crate::telemetry::operation::{CODE_MAX_CHARS, Doing, OPERATIONS_MAX, Operation, Upshot};
    use crate::telemetry::span::tests::{chat, ended, execution, with_operations};

    fn message(entries: Vec<Entry>) -> Message {
        Message {
            to: vec!["otlp".into()],
            entries,
            failures: 2,
            last_error: Some("status 503".into()),
        }
    }

    /// An event that is written in so many bytes.
    fn of_bytes(bytes: usize) -> Entry {
        let entry = |run: String| Entry {
            event: Event { run, ..ended() },
            dropped: 0,
        };
        let least = serde_json::to_string(&entry(String::new())).unwrap().len();
        entry("r".repeat(bytes - least))
    }

    fn entries(sends: &[Vec<String>]) -> Vec<Entry> {
        let read = |text: &String| Message::read(text).expect("a message").entries;
        sends.iter().flatten().flat_map(read).collect()
    }

    fn around() -> usize {
        serde_json::to_string(&message(Vec::new())).unwrap().len()
    }

    #[test]
    fn what_is_packed_is_read() {
        let sent = message(vec![Entry {
            event: ended(),
            dropped: 3,
        }]);
        let sends = pack(sent.clone()).expect("it fits");
        assert_eq!(sends.len(), 1);
        assert_eq!(Message::read(&sends[0][0]).expect("a message"), sent);
        assert!(pack(message(Vec::new())).expect("nothing").is_empty());
    }

    #[test]
    fn a_message_of_another_version_may_say_less() {
        let text = r#"{"to":["history"],"entries":[]}"#;
        assert_eq!(Message::read(text).expect("a message").failures, 0);
        assert!(Message::read("{}").is_err());
    }

    #[test]
    fn a_message_has_so_many_bytes_at_most() {
        let half = (MESSAGE_MAX_BYTES - around() - 1) / 2;
        let rest = MESSAGE_MAX_BYTES - around() - 1 - half;
        let check = |sizes: &[usize], expected: &[usize]| {
            let packed: Vec<_> = sizes.iter().map(|bytes| of_bytes(*bytes)).collect();
            let sends = pack(message(packed.clone())).expect("it fits");
            let lengths: Vec<_> = sends.iter().flatten().map(String::len).collect();
            assert_eq!(lengths, expected);
            assert_eq!(entries(&sends), packed);
        };
        check(&[half, rest], &[MESSAGE_MAX_BYTES]);
        check(&[half, rest + 1], &[around() + half, around() + rest + 1]);
        let alone = MESSAGE_MAX_BYTES - around();
        check(&[alone], &[MESSAGE_MAX_BYTES]);
        let too_large = pack(message(vec![of_bytes(alone + 1)])).expect_err("too large");
        assert!(matches!(too_large, Unpackable::TooLarge { bytes, .. } if bytes == MESSAGE_MAX_BYTES + 1));
    }

    #[test]
    fn a_send_has_so_many_bytes_and_messages_at_most() {
        let whole = MESSAGE_MAX_BYTES - around();
        let last = SEND_MAX_BYTES - MESSAGE_MAX_BYTES - around();
        let check = |bytes: usize, expected: &[usize]| {
            let sends = pack(message(vec![of_bytes(whole), of_bytes(bytes)])).expect("it fits");
            let counts: Vec<_> = sends.iter().map(Vec::len).collect();
            assert_eq!(counts, expected);
        };
        check(last, &[2]);
        check(last + 1, &[1, 1]);
        let mut sends = Sends::default();
        for _ in 0..=SEND_MAX_MESSAGES {
            sends.add("x".into());
        }
        let counts: Vec<_> = sends.all.iter().map(Vec::len).collect();
        assert_eq!(counts, [SEND_MAX_MESSAGES, 1]);
    }

    #[test]
    fn what_is_too_large_is_divided_until_it_stands_alone() {
        let large = of_bytes(MESSAGE_MAX_BYTES).event;
        let refused = hand_over(vec!["otlp".into()], [&ended(), &large], 0).expect_err("too large");
        assert!(
            matches!(refused, Verdict::Refused { divisible: true, .. }),
            "{refused:?}"
        );
        assert!(hand_over(vec!["otlp".into()], [&ended()], 0).is_ok());
    }

    #[test]
    fn the_largest_event_of_a_run_is_half_as_large_as_a_message() {
        let agent = "a".repeat(AGENT_ID_MAX_CHARS);
        let hop = Hop {
            agent: agent.clone(),
            error: Some("e".repeat(1_000)),
            duration_ms: u64::MAX,
            to: agent,
        };
        let ending = Ending {
            outcome: "handed_off".into(),
            error_code: Some("e".repeat(1_000)),
        };
        let operation = Operation {
            parent_span: "a".repeat(16),
            what: Doing::Chat {
                provider: "anthropic".into(),
                model: "m".repeat(200),
                host: "h".repeat(253),
            },
            upshot: Upshot::failed(&"e".repeat(CODE_MAX_CHARS + 1)),
            ..chat(Upshot::default())
        };
        let event = execution(ending, vec![hop; HOPS_MAX + FALLBACK_AGENTS_MAX]);
        let mut event = with_operations(event, vec![operation; OPERATIONS_MAX]);
        event.run = "r".repeat(RUN_ID_MAX_BYTES);
        if let What::ExecutionEnded { subject, .. } = &mut event.what {
            subject.step = "s".repeat(1_000);
        }
        let bytes = serde_json::to_string(&event).unwrap().len();
        assert!(bytes * 2 < MESSAGE_MAX_BYTES, "{bytes}");
    }
}
