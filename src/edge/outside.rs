//! The agents' way to the outside.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::{Env, Fetcher};

use super::{ai, clock, http_client};
use crate::agent::{Destination, Incoming, LocalBoxFuture, Outside};
use crate::breaker::{Breaker, End, Permit};
use crate::connections::Connections;
use crate::platform::Unanswered;

/// The outside, as far as the gateway is configured for it.
#[derive(Clone)]
pub struct EdgeOutside {
    connections: &'static Connections,
    env: Env,
}

impl EdgeOutside {
    pub fn new(env: &Env) -> Self {
        // With a wrong configuration nothing is served; an execution that was accepted before it goes without.
        let connections = super::config(env).map_or(Connections::none(), |config| &config.connections);
        Self {
            connections,
            env: env.clone(),
        }
    }

    fn bound(&self, binding: &str) -> worker::Result<Fetcher> {
        self.env.service(binding)
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

    fn is_bound(&self, to: Destination<'_>) -> bool {
        match to {
            Destination::Origin(_) => true,
            Destination::Binding(name) => self.bound(name).is_ok(),
            Destination::Ai(name) => ai::is_bound(&self.env, name),
        }
    }

    fn fetch<'a>(
        &'a self,
        to: Destination<'a>,
        request: &'a http::Request<Vec<u8>>,
    ) -> LocalBoxFuture<'a, Result<Incoming, Unanswered>> {
        Box::pin(async move {
            let worker = match to {
                Destination::Ai(name) => return ai::run(&self.env, name, request.body()).await,
                Destination::Origin(_) => None,
                Destination::Binding(name) => {
                    let bound = self.bound(name);
                    Some(bound.map_err(|error| Unanswered::Failed(error.to_string()))?)
                }
            };
            http_client::open(request, worker.as_ref()).await
        })
    }

    fn permit(&self, name: &str) -> Permit {
        breaker(name, |breaker| breaker.permit(clock::now_ms()))
    }

    fn report(&self, name: &str, permit: Permit, end: End) {
        breaker(name, |breaker| {
            breaker.report(permit, end, clock::now_ms(), clock::random_number())
        });
    }

    fn random(&self) -> u32 {
        clock::random_number()
    }

    fn nonce(&self) -> String {
        super::hex(&clock::random::<16>())
    }
}
