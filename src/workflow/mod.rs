//! Workflows: agents of the team called in an order that a manifest writes down.
//!
//! The language is [`crate::manifest::workflow`], which is checked when building. [`run`] interprets it. It decides by the
//! input and by what the run's ledger keeps, the answers of its calls and its decisions ([`crate::run::child`]), and by
//! nothing else: so a workflow that was interrupted is simply interpreted again.
//!
//! | part | holds |
//! |---|---|
//! | [`port`](Ledger) | what it asks of the run's ledger |
//! | `interpret` | the nodes |
//! | `fan_out` | branches and items under way at once, and who decides |
//! | `call` | one call: its tries, its execution, its end |
//! | `data` | what templates and conditions see |
//! | [`graph`] | a workflow, drawn |

mod call;
mod data;
mod fan_out;
mod graph;
mod interpret;
mod port;
#[cfg(all(test, feature = "fixtures"))]
mod tests;

pub use call::STAND_INS_MAX;
pub use graph::graph;
pub use interpret::{Halt, Running, run};
pub use port::{Interrupted, Ledger};
