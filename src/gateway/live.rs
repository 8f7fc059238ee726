//! A direct call as server-sent events: the customer sees how it is routed and what the first step tells, and gets the
//! answer at the end.

use std::cell::{Cell, RefCell};
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
    /// The last event of the first step that the customer has.
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

/// What the customer sees.
struct Live<'a> {
    send: &'a dyn Fn(Vec<u8>),
    /// The run whose first step is followed.
    run: RefCell<Option<RunName>>,
    cursor: Cell<Cursor>,
    /// Wakes the reader when there is another run to follow.
    reader: RefCell<Option<Waker>>,
}

impl Listener for Live<'_> {
    fn routed(&self, route: &Route, run: &RunName) {
        let mut data = route.to_json();
        data["run"] = run.run.as_str().into();
        self.event(None, "route", &data);
        let run = (*route != Route::Stored).then(|| run.clone());
        if *self.run.borrow() != run {
            *self.run.borrow_mut() = run;
            if let Some(reader) = self.reader.borrow_mut().take() {
                reader.wake();
            }
        }
    }
}

impl<'a> Live<'a> {
    fn new(send: &'a dyn Fn(Vec<u8>), cursor: Cursor) -> Self {
        Self {
            send,
            run: RefCell::default(),
            cursor: Cell::new(cursor),
            reader: RefCell::default(),
        }
    }

    /// Tells what the first step tells, as it comes. It never ends.
    async fn follow<P: Platform>(&self, platform: &P) {
        loop {
            let followed = self.run.borrow().clone();
            let reading = async {
                match &followed {
                    Some(run) => self.read(run, platform, KEEP_ALIVE_MS).await,
                    None => {
                        platform.sleep_ms(KEEP_ALIVE_MS).await;
                        Some(false)
                    }
                }
            };
            match before(reading, self.changed(followed.as_ref())).await {
                // Another run is to be followed, or there was something to tell.
                None | Some(Some(true)) => {}
                Some(Some(false)) => self.send(": keep-alive\n\n"),
                // The run is out of reach: it is asked again a little later.
                Some(None) => platform.sleep_ms(RECONNECT_MS).await,
            }
        }
    }

    /// What was told and not read when the call was answered.
    async fn read_the_rest<P: Platform>(&self, platform: &P) {
        let Some(run) = self.run.borrow().clone() else { return };
        while self.read(&run, platform, 0).await == Some(true) {}
    }

    /// Reads on, for at most `wait_ms`. Answers whether there was something; nothing where the run is out of reach.
    async fn read<P: Platform>(&self, run: &RunName, platform: &P, wait_ms: u64) -> Option<bool> {
        let mut cursor = self.cursor.get();
        let watch = Watch {
            step: STEP.to_owned(),
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
        Some(!watched.events.is_empty())
    }

    /// Ready when another run is to be followed.
    async fn changed(&self, followed: Option<&RunName>) {
        poll_fn(|context| {
            if self.run.borrow().as_ref() != followed {
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
