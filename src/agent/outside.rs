//! What an agent may reach outside of the gateway: the port that `src/edge` implements, and tests fake.

use http::HeaderMap;

use super::LocalBoxFuture;
use crate::breaker::{End, Permit};
use crate::connections::Connections;
use crate::invocation::before;
use crate::platform::Unanswered;

/// The way to the outside. Whoever sends something has checked where it goes: [`super::call::Call`] does.
pub trait Outside {
    /// What the operator configured: origins, providers of models, secrets.
    fn connections(&self) -> &Connections;

    /// Sends a request, follows no redirect, and answers when the head of the answer is there. The request ends when the
    /// future, or the body that it answered, is dropped.
    fn fetch<'a>(&'a self, request: &'a http::Request<Vec<u8>>) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>>;

    /// Asks the breaker of that name, which is this isolate's own.
    fn permit(&self, breaker: &str) -> Permit;

    /// Tells the breaker how a call ended that it permitted.
    fn report(&self, breaker: &str, permit: Permit, end: End);

    /// Any number, for jitter.
    fn random(&self) -> u32;
}

/// The head of an answer, and its body, which is yet to come.
pub struct Incoming {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Box<dyn Chunks>,
}

/// A body that is read as it comes.
pub trait Chunks {
    /// The next bytes, or nothing at the end.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, Unanswered>>;
}

/// No way to the outside: nothing is configured, and nothing is ever answered.
pub(super) struct Nowhere;

impl Outside for Nowhere {
    fn connections(&self) -> &Connections {
        Connections::none()
    }

    fn fetch<'a>(&'a self, _: &'a http::Request<Vec<u8>>) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>> {
        Box::pin(std::future::ready(Err(Unanswered::Failed(
            "there is no way to the outside".into(),
        ))))
    }

    fn permit(&self, _: &str) -> Permit {
        Permit::Reject
    }

    fn report(&self, _: &str, _: Permit, _: End) {}

    fn random(&self) -> u32 {
        0
    }
}

/// The value, unless it is not there in time.
pub(super) async fn within<T>(
    host: &dyn super::Host,
    timeout_ms: u64,
    work: impl Future<Output = Result<T, Unanswered>>,
) -> Result<T, Unanswered> {
    let timed_out = Err(Unanswered::TimedOut { timeout_ms });
    before(work, host.sleep_ms(timeout_ms)).await.unwrap_or(timed_out)
}
