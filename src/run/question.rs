//! What the Worker asks of a run's Durable Object. Every question is one transaction there, and safe to repeat: its answer
//! may be lost on the way.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fence::{self, Named};
use super::nonce::{self, Nonce};
use super::storage::Storage;

/// Names a run's Durable Object: an orchestrator never reaches another's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// The orchestrator that the run belongs to.
    pub orchestrator: String,
    /// The run's id.
    pub run: String,
}

impl RunName {
    /// The run of this id that belongs to this orchestrator.
    #[must_use]
    pub fn new(orchestrator: &str, run: &str) -> Self {
        Self {
            orchestrator: orchestrator.to_owned(),
            run: run.to_owned(),
        }
    }

    /// The name that the Durable Object's id is made from. The length keeps ("a", "b/c") and ("a/b", "c") apart.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}:{}/{}", self.orchestrator.len(), self.orchestrator, self.run)
    }
}

/// A question, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked<Q> {
    /// Names this very request, so that a question whose answer was lost can be asked again.
    pub claimant: String,
    /// The nonce of the request's signature, where it must not be used twice.
    pub nonce: Option<Nonce>,
    /// The lease that the request belongs to, where it names one and must not come too late.
    #[serde(default)]
    pub named: Option<Named>,
    /// What is asked.
    pub question: Q,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told<A> {
    /// The request's nonce was used before, by another request: nothing was done.
    Replayed,
    /// The request belongs to a lease that a later one has overtaken: nothing was done.
    Outdated {
        /// The highest generation that the run knows of.
        known: u64,
    },
    /// What was asked.
    Answer(A),
}

/// When a question is answered, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Any number, for jitter.
    pub random: u32,
    /// Names the request.
    pub claimant: &'a str,
}

/// Something that can be asked of a run.
pub trait Question: Serialize + DeserializeOwned {
    /// Its name between Worker and object.
    const NAME: &'static str;
    /// Whether the request that asks it must not be received twice: it has an effect that nothing else holds to once.
    const USES_NONCE: bool;
    /// What it is answered with.
    type Answer: Serialize + DeserializeOwned;

    /// Answers it.
    ///
    /// # Errors
    /// When the storage fails.
    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Self::Answer, S::Error>;

    /// What is told also to a request of an overtaken lease: an answer that is there. Nothing is done for it.
    ///
    /// # Errors
    /// When the storage fails.
    fn answered_before<S: Storage>(&self, _: &S) -> Result<Option<Self::Answer>, S::Error> {
        Ok(None)
    }
}

/// Nothing but whether the request was received before: asked where something is told before the question with the effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit;

impl Question for Admit {
    const NAME: &'static str = "admit";
    const USES_NONCE: bool = true;
    type Answer = ();

    fn answer<S: Storage>(&self, _: &S, _: Moment<'_>) -> Result<(), S::Error> {
        Ok(())
    }
}

/// Answers a question, unless its request is one that was received before, or belongs to a lease that was overtaken.
///
/// # Errors
/// When the storage fails.
pub fn ask<S: Storage, Q: Question>(
    storage: &S,
    asked: &Asked<Q>,
    now_ms: u64,
    random: u32,
) -> Result<Told<Q::Answer>, S::Error> {
    if let Some(nonce) = &asked.nonce
        && !nonce::admit(storage, nonce, &asked.claimant, now_ms)?
    {
        return Ok(Told::Replayed);
    }
    if let Some(named) = asked.named
        && let Some(known) = fence::overtaken(storage, named)?
    {
        let answer = asked.question.answered_before(storage)?;
        return Ok(answer.map_or(Told::Outdated { known }, Told::Answer));
    }
    let moment = Moment {
        now_ms,
        random,
        claimant: &asked.claimant,
    };
    asked.question.answer(storage, moment).map(Told::Answer)
}
