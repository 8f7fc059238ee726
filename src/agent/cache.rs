//! What is kept for a while, for all executions everywhere: the port that `src/edge` implements, and tests fake.

use super::LocalBoxFuture;
use crate::platform::Unanswered;

/// Texts under keys, each for its time. Whoever uses it can do without: a text may be gone early, may be seen late elsewhere,
/// and may not be what was put there.
pub trait Cache {
    /// The text under this key; nothing where there is none.
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<String>, Unanswered>>;

    /// Puts a text under this key, for so many seconds, 60 at least.
    fn put<'a>(&'a self, key: &'a str, text: &'a str, ttl_s: u64) -> LocalBoxFuture<'a, Result<(), Unanswered>>;
}

/// Where nothing is kept.
pub(super) struct Nowhere;

impl Cache for Nowhere {
    fn get<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Option<String>, Unanswered>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn put<'a>(&'a self, _: &'a str, _: &'a str, _: u64) -> LocalBoxFuture<'a, Result<(), Unanswered>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
