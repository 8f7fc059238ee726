//! Finding phrases in what people write: what `triage` and the router share.
//!
//! Like `manifest`, this module is compiled into the build script as well, which checks the phrases of manifests.

mod phrases;
mod words;

pub use phrases::{Found, NEGATIONS, PHRASE_MAX_WORDS, Phrases, phrase_problem, quoted};
pub use words::{Word, words};
