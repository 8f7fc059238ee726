//! The agents' way to the outside.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::Env;

use super::{clock, http_client};
use crate::agent::{Incoming, LocalBoxFuture, Outside};
use crate::breaker::{Breaker, End, Permit, Word};
use crate::connections::Connections;
use crate::platform::Unanswered;

/// The outside, as far as the gateway is configured for it.
#[derive(Clone)]
pub struct EdgeOutside {
    connections: &'static Connections,
}

impl EdgeOutside {
    pub fn new(env: &Env) -> Self {
        // With a wrong configuration nothing is served; an execution that was accepted before it goes without.
        let connections = super::config(env).map_or(Connections::none(), |config| &config.connections);
        Self { connections }
    }
}

/// Asks the breaker of that name, which all executions of this isolate share, and no other isolate does.
fn breaker<T>(name: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
    thread_local!(static BREAKERS: RefCell<HashMap<String, Breaker>> = RefCell::default());
    BREAKERS.with_borrow_mut(|breakers| act(breakers.entry(name.to_owned()).or_default()))
}

impl Outside for EdgeOutside {
    fn connections(&self) -> &Connections {
        self.connections
    }

    fn fetch<'a>(&'a self, request: &'a http::Request<Vec<u8>>) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>> {
        Box::pin(http_client::open(request))
    }

    fn permit(&self, name: &str) -> Permit {
        let (now_ms, random) = (clock::now_ms(), clock::random_number());
        breaker(name, |breaker| breaker.heard(Word::Ask, None, now_ms, random))
    }

    fn report(&self, name: &str, permit: Permit, end: End) {
        let (now_ms, random) = (clock::now_ms(), clock::random_number());
        // What it would tell other isolates is for nobody.
        let _ = breaker(name, |breaker| breaker.ended(permit, end, now_ms, random));
    }

    fn random(&self) -> u32 {
        clock::random_number()
    }
}
