//! What an agent may reach outside of the gateway: the port that `src/edge` implements, and tests fake.

use http::HeaderMap;

use super::LocalBoxFuture;
use crate::breaker::{End, Permit};
use crate::connections::Connections;
use crate::invocation::before;
use crate::platform::Unanswered;

/// What stands before the path in the URL of a request to a bound Worker. No name server knows it (RFC 2606).
pub(super) const BOUND_ORIGIN: &str = "https://service.invalid";

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'a> {
    /// Over the network, to this origin.
    Origin(&'a str),
    /// To the Worker that is bound under this name.
    Binding(&'a str),
    /// To Workers AI, as it is bound under this name: the body is the model and its inputs.
    Ai(&'a str),
}

impl<'a> Destination<'a> {
    /// What stands before the path in the URL of a request that goes there.
    pub(super) const fn base(self) -> &'a str {
        match self {
            Self::Origin(origin) => origin,
            Self::Binding(_) | Self::Ai(_) => BOUND_ORIGIN,
        }
    }
}

/// The way to the outside. Whoever sends something has checked where it goes: [`super::call::Call`] does.
pub trait Outside {
    /// What the operator configured: origins, providers of models, other gateways, secrets.
    fn connections(&self) -> &Connections;

    /// Whether what a request would go to is bound; an origin always is.
    fn is_bound(&self, to: Destination<'_>) -> bool;

    /// Sends a request, follows no redirect, and answers when the head of the answer is there. The request ends when the
    /// future, or the body that it answered, is dropped.
    fn fetch<'a>(
        &'a self,
        to: Destination<'a>,
        request: &'a http::Request<Vec<u8>>,
    ) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>>;

    /// Asks the breaker of that name, which is this isolate's own.
    fn permit(&self, breaker: &str) -> Permit;

    /// Tells the breaker how a call ended that it permitted.
    fn report(&self, breaker: &str, permit: Permit, end: End);

    /// Any number, for jitter.
    fn random(&self) -> u32;

    /// A text for one signature, and never for another one: 16 to 64 random characters.
    fn nonce(&self) -> String;
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

    fn is_bound(&self, _: Destination<'_>) -> bool {
        false
    }

    fn fetch<'a>(
        &'a self,
        _: Destination<'a>,
        _: &'a http::Request<Vec<u8>>,
    ) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>> {
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

    fn nonce(&self) -> String {
        String::new()
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
