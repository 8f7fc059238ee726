//! A direct call as server-sent events: the customer sees how it is routed and what the steps tell that are
//! executed for it, and gets the answer at the end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use http::HeaderMap;
use serde_json::Value;

use super::direct::Query;
use super::stream::{KEEP_ALIVE_MS, RECONNECT_MS, last_event, told};
use super::{Gateway, Record};
use crate::direct::{Listener, Route, STEP};
use crate::invocation::{Occasion, before};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::RunName;
use crate::run::events::Numbered;
use crate::run::status::{Cursor, Watch};

/// How long the answer waits for what the step told last, in milliseconds: the answer has a deadline, and alone counts.
const REST_MAX_MS: u64 = 200;

/// A call that was admitted and read, and of which nothing was begun yet.
#[derive(Debug, Clone)]
pub struct LiveCall {
    query: Query,
    occasion: Occasion,
    /// The last event that the customer has.
    cursor: Cursor,
}

impl LiveCall {
    pub(super) fn new(query: Query, occasion: Occasion, headers: &HeaderMap) -> Self {
        Self {
            query,
            occasion,
            cursor: last_event(headers).unwrap_or_default(),
        }
    }

    /// The request that it came with.
    #[must_use]
    pub fn occasion(&self) -> &Occasion {
        &self.occasion
    }

    /// Has the call answered, and sends what happens meanwhile and the answer to the customer. A customer who left makes no
    /// difference: whoever calls this sees to it that the call comes to its end.
    pub async fn answer<P: Platform>(&self, gateway: &Gateway<'_>, platform: &P, send: &dyn Fn(Vec<u8>)) -> Record {
        let mut record = Record {
            agent: Some(self.query.agent().to_owned()),
            span: Some(self.occasion.span()),
            ..Record::default()
        };
        let live = Live::new(send, self.cursor);
        live.send(&format!("retry: {RECONNECT_MS}\n\n"));
        let answered = {
            let coordinated = gateway.coordinate(&self.query, (&self.occasion, platform), Some(&live), &mut record);
            before(coordinated, live.follow(platform)).await
        };
        before(live.read_the_rest(platform), platform.sleep_ms(REST_MAX_MS)).await;
        // Who follows never ends.
        match answered.unwrap_or(Err(Problem::Internal)) {
            Ok((body, _)) => live.event(None, "answer", &body),
            Err(problem) => {
                record.problem = Some(problem.code());
                live.event(None, "problem", &problem.to_json(&self.occasion.request_id));
            }
        }
        record
    }
}

/// A step that is followed, in its run.
type Followed = (RunName, String);

/// What the customer sees.
struct Live<'a> {
    send: &'a dyn Fn(Vec<u8>),
    /// The step that is followed, and those that are to be followed when it is read to its end.
    steps: RefCell<VecDeque<Followed>>,
    /// Whether the step that is followed was read to its end.
    is_read: Cell<bool>,
    cursor: Cell<Cursor>,
    /// Wakes the reader when there is another step to follow.
    reader: RefCell<Option<Waker>>,
}

impl Listener for Live<'_> {
    fn routed(&self, route: &Route, run: &RunName) {
        let mut data = route.to_json();
        data["run"] = run.run.as_str().into();
        self.event(None, "route", &data);
        self.turn_to((!matches!(route, Route::Stored { .. })).then(|| (run.clone(), STEP.to_owned())));
    }

    fn goes_on(&self, step: &str) {
        let mut steps = self.steps.borrow_mut();
        let Some((run, last)) = steps.back().cloned() else {
            return;
        };
        if last != step {
            steps.push_back((run, step.to_owned()));
            drop(steps);
            self.turn_the_page();
        }
    }
}

impl<'a> Live<'a> {
    fn new(send: &'a dyn Fn(Vec<u8>), cursor: Cursor) -> Self {
        Self {
            send,
            steps: RefCell::default(),
            is_read: Cell::new(false),
            cursor: Cell::new(cursor),
            reader: RefCell::default(),
        }
    }

    /// Follows this from now on, whatever was to be followed before.
    fn turn_to(&self, followed: Option<Followed>) {
        if self.followed() != followed {
            *self.steps.borrow_mut() = followed.into_iter().collect();
            self.is_read.set(false);
            self.wake();
        }
    }

    /// Follows the next step, if there is one and this one was read. Answers whether it does.
    fn turn_the_page(&self) -> bool {
        let mut steps = self.steps.borrow_mut();
        let turns = self.is_read.get() && steps.len() > 1;
        if turns {
            steps.pop_front();
            drop(steps);
            self.is_read.set(false);
            self.wake();
        }
        turns
    }

    fn followed(&self) -> Option<Followed> {
        self.steps.borrow().front().cloned()
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// Tells what the step tells that is under way, as it comes. It never ends.
    async fn follow<P: Platform>(&self, platform: &P) {
        loop {
            let followed = self.followed();
            let reading = async {
                match &followed {
                    Some(followed) => self.read(followed, platform, KEEP_ALIVE_MS).await,
                    None => {
                        platform.sleep_ms(KEEP_ALIVE_MS).await;
                        Some(false)
                    }
                }
            };
            match before(reading, self.changed(followed.as_ref())).await {
                // Another step is to be followed, or there was something to tell.
                None | Some(Some(true)) => {}
                Some(Some(false)) => self.send(": keep-alive\n\n"),
                // The run is out of reach: it is asked again a little later.
                Some(None) => platform.sleep_ms(RECONNECT_MS).await,
            }
        }
    }

    /// What was told and not read when the call was answered.
    async fn read_the_rest<P: Platform>(&self, platform: &P) {
        while let Some(followed) = self.followed() {
            if self.read(&followed, platform, 0).await != Some(true) {
                return;
            }
        }
    }

    /// Reads on, for at most `wait_ms`. Answers whether there was something; nothing where the run is out of reach.
    async fn read<P: Platform>(&self, (run, step): &Followed, platform: &P, wait_ms: u64) -> Option<bool> {
        let mut cursor = self.cursor.get();
        let watch = Watch {
            step: step.clone(),
            idempotency_key: None,
            cursor,
            follows: true,
            ends_only: false,
        };
        let Some(watched) = platform.watch(run, &watch, wait_ms).await.ok()? else {
            return Some(false);
        };
        if watched.ordinal != cursor.ordinal {
            cursor = Cursor {
                ordinal: watched.ordinal,
                seq: 0,
            };
        }
        for Numbered { seq, event } in &watched.events {
            cursor.seq = *seq;
            let (name, data) = told(event);
            self.event(Some(cursor), name, &data);
        }
        if watched.answer.is_some() {
            // Past its end: a further attempt is news.
            cursor.seq = watched.last_seq + 1;
        }
        self.cursor.set(cursor);
        self.is_read.set(watched.answer.is_some());
        Some(self.turn_the_page() || !watched.events.is_empty())
    }

    /// Ready when another step is to be followed.
    async fn changed(&self, followed: Option<&Followed>) {
        poll_fn(|context| {
            if self.steps.borrow().front() != followed {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn event(&self, id: Option<Cursor>, name: &str, data: &Value) {
        let mut text = String::new();
        // Writing to a string does not fail. JSON has no line feed of its own, so the data is one line.
        if let Some(Cursor { ordinal, seq }) = id {
            let _ = writeln!(text, "id: {ordinal}.{seq}");
        }
        let _ = write!(text, "event: {name}\ndata: {data}\n\n");
        self.send(&text);
    }

    fn send(&self, text: &str) {
        (self.send)(text.as_bytes().to_vec());
    }
}
