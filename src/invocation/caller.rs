//! Who asks, and how it asks a run.

use crate::access::Session;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::call::Behalf;
use crate::run::fence::Named;
use crate::run::{Asked, Nonce, Question, RunName, Told, Use};
use crate::signature::{Rejection, Verified};
use crate::telemetry::sampling::Sampler;
use crate::telemetry::trace_context::TraceContext;

/// How much longer a nonce is remembered than the request could be accepted: the run's object may run on another machine,
/// whose clock is ahead. In milliseconds.
const NONCE_MARGIN_MS: u64 = 60_000;

/// What surrounds a request and is not part of it.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// Names this request in the log and in problems.
    pub request_id: String,
    /// Fresh random bytes.
    pub random: [u8; 24],
    /// Where the caller is in its trace, if it said so.
    pub trace: Option<TraceContext>,
    /// Where the client calls from, as [`client_address`](crate::access::client_address) names it.
    pub address: String,
}

impl Occasion {
    /// The request's own span: the same whenever it is asked for, before it is decided whether it is sampled. To be used
    /// once the caller is known: nobody else's trace is carried on.
    #[must_use]
    pub fn span(&self) -> TraceContext {
        TraceContext::child_of(self.trace.as_ref(), &self.random)
    }
}

/// What makes a caller one that may ask.
#[derive(Clone, Copy)]
pub enum Identity<'a> {
    /// An orchestrator or an operator, by its signature.
    Signed(&'a Verified),
    /// An operator in a browser, by a session that a signature began.
    Operator(&'a Session),
    /// The gateway itself, for a customer who called directly: as the orchestrator whose runs these are.
    Direct {
        /// The owner of the run.
        orchestrator: &'a str,
    },
}

/// A caller who is known, in the request that it makes.
pub struct Caller<'a, P> {
    /// Who it is.
    pub identity: Identity<'a>,
    /// Its request.
    pub occasion: &'a Occasion,
    /// How long a run is kept after it was used last, in milliseconds.
    pub retention_ms: u64,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// The platform.
    pub platform: &'a P,
}

impl<'a, P: Platform> Caller<'a, P> {
    /// Asks one of the caller's runs. Where the question has an effect, the request's nonce is used up with it.
    ///
    /// # Errors
    /// When the request was received before, or belongs to an overtaken lease, or the run's object does not answer.
    pub async fn ask<Q: Question>(&self, run: &RunName, question: Q) -> Result<Q::Answer, Problem> {
        let mut asked = self.asked(question);
        asked.nonce = asked.nonce.filter(|_| Q::USES_NONCE);
        asked.named = if Q::USES_NONCE { self.named().await } else { None };
        match self.platform.ask(run, &asked).await? {
            Told::Replayed => Err(Rejection::Replayed.into()),
            Told::Outdated { known } => Err(Problem::GenerationOutdated { known }),
            Told::Answer(answer) => Ok(answer),
        }
    }

    /// A question in this caller's name, which uses the request's nonce up.
    #[must_use]
    pub fn asked<Q>(&self, question: Q) -> Asked<Q> {
        Asked {
            claimant: self.occasion.request_id.clone(),
            nonce: self.nonce(),
            named: None,
            question,
        }
    }

    /// A signature is good for one request; a direct call and a session have none.
    fn nonce(&self) -> Option<Nonce> {
        let Identity::Signed(verified) = self.identity else {
            return None;
        };
        let (nonce, expires_at_s) = verified.nonce()?;
        Some(Nonce {
            value: format!("{}/{nonce}", verified.key_id()),
            expires_at_ms: expires_at_s * 1_000 + NONCE_MARGIN_MS,
        })
    }

    /// The lease that a signed call says it belongs to, and what the gateway's own link knows of it.
    async fn named(&self) -> Option<Named> {
        let Identity::Signed(verified) = self.identity else {
            return None;
        };
        let generation = verified.generation()?;
        let lease = self
            .platform
            .known_lease(verified.orchestrator(), Some(generation))
            .await;
        Some(Named {
            generation,
            granted: lease.map_or(0, |lease| lease.granted),
        })
    }

    /// The caller's key, and a text that no other request under it has: its nonce, where it is signed, so that the same
    /// request has the same one.
    ///
    /// # Errors
    /// When the caller has no key: the route takes none of those, so that is a fault of ours.
    pub fn once(&self) -> Result<(&'a str, &str), Problem> {
        match self.identity {
            Identity::Signed(verified) => {
                let (nonce, _) = verified.nonce().ok_or(Rejection::Missing)?;
                Ok((verified.key_id(), nonce))
            }
            Identity::Operator(session) => Ok((&session.key_id, &self.occasion.request_id)),
            Identity::Direct { .. } => Err(Problem::Internal),
        }
    }

    /// The signature by which the caller is known.
    ///
    /// # Errors
    /// When it called without one: the route takes signed calls only, so that is a fault of ours.
    pub fn verified(&self) -> Result<&'a Verified, Problem> {
        match self.identity {
            Identity::Signed(verified) => Ok(verified),
            Identity::Operator(_) | Identity::Direct { .. } => Err(Problem::Internal),
        }
    }

    /// Whose runs the caller asks.
    #[must_use]
    pub fn orchestrator(&self) -> &'a str {
        match self.identity {
            Identity::Signed(verified) => verified.orchestrator(),
            Identity::Operator(session) => &session.orchestrator,
            Identity::Direct { orchestrator } => orchestrator,
        }
    }

    /// On whose behalf the caller's steps are executed.
    #[must_use]
    pub fn behalf(&self) -> Behalf {
        let depth = match self.identity {
            Identity::Signed(verified) => verified.depth(),
            Identity::Operator(_) | Identity::Direct { .. } => 0,
        };
        Behalf {
            orchestrator: self.orchestrator().to_owned(),
            depth,
        }
    }

    /// The caller's run of this id.
    #[must_use]
    pub fn run(&self, run: &str) -> RunName {
        RunName::new(self.orchestrator(), run)
    }

    /// The same, to be used.
    #[must_use]
    pub fn using(&self, run: &str) -> Use {
        Use {
            name: self.run(run),
            retention_ms: self.retention_ms,
        }
    }

    /// The caller's own span, in 16 hexadecimal digits, where it named one.
    #[must_use]
    pub fn parent_span(&self) -> Option<String> {
        let trace = self.occasion.trace.as_ref();
        trace.map(|trace| trace.span_id().to_owned())
    }

    /// The span of what this request asks for: a child of the caller's own, where it named one.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let own = self.occasion.span();
        let is_sampled = self.sampler.samples(&own, self.occasion.trace.is_some());
        own.with_sampled(is_sampled).traceparent()
    }
}
