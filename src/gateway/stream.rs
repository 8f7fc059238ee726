//! A step as server-sent events, ending with its signed answer.

use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::reply::Reply;
use crate::platform::Platform;
use crate::run::RunName;
use crate::run::StoredAnswer;
use crate::run::events::{Event, Numbered};
use crate::run::status::{Cursor, Watch};
use crate::signature::{Verified, sign_response};

/// A stream is never silent for longer than this, in milliseconds: clients and proxies would take it for dead.
pub const KEEP_ALIVE_MS: u64 = 3_000;
/// How long a client is told to wait before it connects again, in milliseconds.
pub(super) const RECONNECT_MS: u64 = 1_000;

/// A reader of a step's events. It reads what the run keeps: who leaves cancels nothing, and may come back.
#[derive(Debug, Clone)]
pub struct Stream {
    run: RunName,
    watch: Watch,
    caller: Verified,
    request_id: String,
    /// Whether the step had its answer before this reader's request.
    replayed: bool,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    NotBegun,
    Reading,
    Ended,
}

impl Stream {
    pub(super) fn new(run: RunName, step: &str, headers: &HeaderMap, caller: Verified, request_id: &str) -> Self {
        Self {
            run,
            watch: Watch {
                step: step.to_owned(),
                idempotency_key: caller.idempotency_key().map(str::to_owned),
                cursor: last_event(headers).unwrap_or_default(),
                follows: false,
            },
            caller,
            request_id: request_id.to_owned(),
            replayed: false,
            progress: Progress::NotBegun,
        }
    }

    pub(super) fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    /// The next part of the stream; nothing at its end. It ends with the outcome; without one only when the run is out of
    /// reach or forgotten, and then the client connects again and is told.
    pub async fn next<P: Platform>(&mut self, platform: &P) -> Option<Vec<u8>> {
        match self.progress {
            Progress::Ended => return None,
            Progress::NotBegun => {
                self.progress = Progress::Reading;
                return Some(format!("retry: {RECONNECT_MS}\n\n").into_bytes());
            }
            Progress::Reading => {}
        }
        let Ok(Some(watched)) = platform.watch(&self.run, &self.watch, KEEP_ALIVE_MS).await else {
            self.progress = Progress::Ended;
            return None;
        };
        if watched.ordinal != self.watch.cursor.ordinal {
            self.watch.cursor = Cursor {
                ordinal: watched.ordinal,
                seq: 0,
            };
        }
        let mut text = String::new();
        for Numbered { seq, event } in &watched.events {
            self.watch.cursor.seq = *seq;
            let (name, data) = told(event);
            self.event(&mut text, name, &data);
        }
        if let Some(answer) = watched.answer {
            // The same for every reader, however often it comes.
            self.watch.cursor.seq = watched.last_seq + 1;
            let data = self.signed(answer, platform.now_ms() / 1_000);
            self.event(&mut text, "outcome", &data);
            self.progress = Progress::Ended;
        }
        if text.is_empty() {
            text.push_str(": keep-alive\n\n");
        }
        Some(text.into_bytes())
    }

    /// The answer as the response that a caller without a stream would get.
    fn signed(&self, answer: StoredAnswer, now_s: u64) -> Value {
        let mut response = Reply::stored(answer, self.replayed).into_response(&self.request_id);
        sign_response(&mut response, &self.caller, now_s);
        let mut headers = Map::new();
        for (name, value) in response.headers() {
            headers.insert(name.as_str().to_owned(), value.to_str().unwrap_or_default().into());
        }
        json!({
            "status": response.status().as_u16(),
            "headers": headers,
            "body": String::from_utf8_lossy(response.body()),
        })
    }

    fn event(&self, text: &mut String, name: &str, data: &Value) {
        let Cursor { ordinal, seq } = self.watch.cursor;
        // JSON has no line feed of its own, so the data is one line. Writing to a string does not fail.
        let _ = write!(text, "id: {ordinal}.{seq}\nevent: {name}\ndata: {data}\n\n");
    }
}

pub(super) fn told(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Started { execution } => ("started", json!({"execution": execution})),
        Event::Progress { message, fraction } => {
            let mut data = json!({"message": message});
            if let Some(fraction) = fraction {
                data["fraction"] = json!(fraction);
            }
            ("progress", data)
        }
        Event::Delta { text } => ("delta", json!({"text": text})),
    }
}

/// Where a reader who comes back is. What is not one of our ids is passed over: it reads from the beginning.
pub(super) fn last_event(headers: &HeaderMap) -> Option<Cursor> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    let (ordinal, seq) = id.split_once('.')?;
    Some(Cursor {
        ordinal: ordinal.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}
