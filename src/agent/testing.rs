//! An outside that answers as a test tells it to, and keeps what it was sent.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::pin;
use std::task::{Poll, Waker};

use http::HeaderMap;
use serde_json::Value;

use super::outside::{Chunks, Destination, Incoming, Outside};
use super::{Cache, Cancellation, Context, Host, Journal, LocalBoxFuture};
use crate::breaker::{Breaker, End, Permit};
use crate::connections::Connections;
use crate::manifest::Team;
use crate::platform::Unanswered;
use crate::run::call::Behalf;
use crate::signature::Keyring;

/// The time at the beginning of a test, in Unix milliseconds.
pub(super) const BEGIN_MS: u64 = 1_000_000;
/// The step's deadline, in Unix milliseconds.
pub(super) const DEADLINE_AT_MS: u64 = BEGIN_MS + 60_000;

/// The agent's span.
pub(super) const SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Makes an answer of a request.
type Make = Box<dyn FnOnce(&http::Request<Vec<u8>>) -> http::Response<Vec<u8>>>;

/// How the outside answers a request.
pub(super) enum Reply {
    /// With this status, these header fields and this body, chunk by chunk.
    Answer(u16, Vec<(&'static str, String)>, Vec<Vec<u8>>),
    /// With the beginning of a body, and then nothing any more.
    Stalls(Vec<Vec<u8>>),
    /// With the beginning of a body, and then an error.
    Breaks(Vec<Vec<u8>>),
    /// Not at all.
    Hangs,
    /// With an error.
    Fails,
    /// With what this makes of the request.
    Made(Make),
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let fields = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self::Answer(status, fields, vec![body.to_string().into_bytes()])
    }
}

/// A platform whose time passes only while someone waits for nothing else.
pub(super) struct FakeOutside {
    pub(super) connections: Connections,
    pub(super) replies: RefCell<VecDeque<Reply>>,
    pub(super) sent: RefCell<Vec<http::Request<Vec<u8>>>>,
    /// By whose they are.
    pub(super) breakers: RefCell<HashMap<String, Breaker>>,
    pub(super) now_ms: Cell<u64>,
    /// On whose behalf it is all done.
    pub(super) behalf: Behalf,
    /// The Workers that are bound.
    pub(super) bound: Vec<&'static str>,
    /// Where the requests were sent that were no calls of an origin.
    pub(super) sent_to: RefCell<Vec<String>>,
    /// What is kept.
    pub(super) cache: FakeCache,
    /// The lines of the log.
    pub(super) logged: RefCell<Vec<Value>>,
    /// When the step is cancelled: after so many requests. From then on no time passes.
    pub(super) cancelled_after: Cell<Option<usize>>,
}

impl FakeOutside {
    pub(super) fn new(connections: Connections, replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            connections,
            replies: RefCell::new(replies.into_iter().collect()),
            sent: RefCell::default(),
            breakers: RefCell::default(),
            now_ms: Cell::new(BEGIN_MS),
            behalf: Behalf::default(),
            bound: Vec::new(),
            sent_to: RefCell::default(),
            cache: FakeCache::default(),
            logged: RefCell::default(),
            cancelled_after: Cell::new(None),
        }
    }

    pub(super) fn context<'a>(&'a self, team: &'a Team, journal: &'a Journal, state: Option<&'a Value>) -> Context<'a> {
        Context {
            agent: "tested",
            run: "run_01",
            step: "s1",
            attempt: 1,
            deadline_at_ms: DEADLINE_AT_MS,
            state,
            history: crate::conversation::History::none(),
            traceparent: Some(SPAN),
            behalf: &self.behalf,
            depth: 0,
            team,
            host: self,
            cancellation: self,
            journal,
        }
    }

    fn is_cancelled(&self) -> bool {
        let after = self.cancelled_after.get();
        after.is_some_and(|after| self.sent.borrow().len() >= after)
    }

    /// The bodies that were sent, as JSON.
    pub(super) fn sent_bodies(&self) -> Vec<Value> {
        let sent = self.sent.borrow();
        sent.iter()
            .map(|request| serde_json::from_slice(request.body()).unwrap())
            .collect()
    }
}

/// What is configured by these variables, on a developer's machine.
pub(super) fn connections(variables: &[(&str, &str)]) -> Connections {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    let value = |name: &str| value(name).map(|(_, value)| (*value).to_owned());
    let keyring = Keyring::parse(&value("BATON_KEYS").unwrap_or_else(|| "[]".into())).unwrap();
    Connections::read(value, &keyring, true).unwrap()
}

/// Runs a future that waits for nothing but this outside.
pub(super) fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something else than the outside"),
    }
}

impl Host for FakeOutside {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            if self.is_cancelled() {
                std::future::pending::<()>().await;
            }
            self.now_ms.set(self.now_ms.get() + duration_ms);
        })
    }

    fn log(&self, line: &Value) {
        self.logged.borrow_mut().push(line.clone());
    }

    fn cache(&self) -> &dyn Cache {
        &self.cache
    }

    fn outside(&self) -> &dyn Outside {
        self
    }
}

impl Cancellation for FakeOutside {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::poll_fn(|_| match self.is_cancelled() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }))
    }
}

impl Outside for FakeOutside {
    fn connections(&self) -> &Connections {
        &self.connections
    }

    fn is_bound(&self, to: Destination<'_>) -> bool {
        match to {
            Destination::Origin(_) => true,
            Destination::Binding(name) | Destination::Ai(name) => self.bound.contains(&name),
        }
    }

    fn fetch<'a>(
        &'a self,
        to: Destination<'a>,
        request: &'a http::Request<Vec<u8>>,
    ) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>> {
        if let Destination::Binding(name) | Destination::Ai(name) = to {
            self.sent_to.borrow_mut().push(name.to_owned());
        }
        self.sent.borrow_mut().push(request.clone());
        let reply = self
            .replies
            .borrow_mut()
            .pop_front()
            .expect("a request that the test expects");
        let body = |chunks: Vec<Vec<u8>>, after| {
            Box::new(Body {
                chunks: chunks.into(),
                after,
            })
        };
        if let Reply::Made(make) = reply {
            let (head, bytes) = make(request).into_parts();
            return Box::pin(std::future::ready(Ok(Incoming {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body(vec![bytes], After::End),
            })));
        }
        let (status, fields, body) = match reply {
            Reply::Answer(status, fields, chunks) => (status, fields, body(chunks, After::End)),
            Reply::Stalls(chunks) => (200, Vec::new(), body(chunks, After::Silence)),
            Reply::Breaks(chunks) => (200, Vec::new(), body(chunks, After::Error)),
            Reply::Made(_) => unreachable!("it was answered above"),
            Reply::Hangs => return Box::pin(std::future::pending()),
            Reply::Fails => {
                let error = Unanswered::Failed("connection to 10.1.2.3 refused".into());
                return Box::pin(std::future::ready(Err(error)));
            }
        };
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let incoming = Incoming {
            status,
            headers: fields.collect::<HeaderMap>(),
            body,
        };
        Box::pin(std::future::ready(Ok(incoming)))
    }

    fn permit(&self, whose: &str) -> Permit {
        let mut breakers = self.breakers.borrow_mut();
        breakers.entry(whose.to_owned()).or_default().permit(self.now_ms.get())
    }

    fn report(&self, whose: &str, permit: Permit, end: End) {
        let mut breakers = self.breakers.borrow_mut();
        let breaker = breakers.entry(whose.to_owned()).or_default();
        breaker.report(permit, end, self.now_ms.get(), 0);
    }

    fn random(&self) -> u32 {
        0
    }

    fn nonce(&self) -> String {
        format!("nonce-of-request-{}", self.sent.borrow().len())
    }
}

/// How a cache does what it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Works {
    #[default]
    Well,
    WithAnError,
    NotAtAll,
}

/// A cache that does as a test tells it to.
#[derive(Default)]
pub(super) struct FakeCache {
    /// Text and time to live in seconds, by key.
    pub(super) kept: RefCell<BTreeMap<String, (String, u64)>>,
    /// So often it was asked for a text.
    pub(super) gets: Cell<usize>,
    pub(super) get: Cell<Works>,
    pub(super) put: Cell<Works>,
}

fn does<'a, T: 'a>(how: Works, done: impl FnOnce() -> T) -> LocalBoxFuture<'a, Result<T, Unanswered>> {
    match how {
        Works::Well => Box::pin(std::future::ready(Ok(done()))),
        Works::WithAnError => Box::pin(std::future::ready(Err(Unanswered::Failed("KV: 429".into())))),
        Works::NotAtAll => Box::pin(std::future::pending()),
    }
}

impl Cache for FakeCache {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<String>, Unanswered>> {
        self.gets.set(self.gets.get() + 1);
        does(self.get.get(), || Some(self.kept.borrow().get(key)?.0.clone()))
    }

    fn put<'a>(&'a self, key: &'a str, text: &'a str, ttl_s: u64) -> LocalBoxFuture<'a, Result<(), Unanswered>> {
        does(self.put.get(), || {
            self.kept.borrow_mut().insert(key.to_owned(), (text.to_owned(), ttl_s));
        })
    }
}

enum After {
    End,
    Silence,
    Error,
}

struct Body {
    chunks: VecDeque<Vec<u8>>,
    after: After,
}

impl Chunks for Body {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, Unanswered>> {
        match (self.chunks.pop_front(), &self.after) {
            (Some(chunk), _) => Box::pin(std::future::ready(Ok(Some(chunk)))),
            (None, After::End) => Box::pin(std::future::ready(Ok(None))),
            (None, After::Silence) => Box::pin(std::future::pending()),
            (None, After::Error) => Box::pin(std::future::ready(Err(Unanswered::Failed("reset".into())))),
        }
    }
}
