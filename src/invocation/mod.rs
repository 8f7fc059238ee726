//! A step's way through: verified, read, claimed, executed, committed.
//!
//! Each stage is a type that only the stage before it can make, so that no step can skip one: what is executed was claimed,
//! what is claimed was read under a schema, and what was read was verified. What runs in the background takes the same way,
//! only that the run's Durable Object executes and commits it.

mod caller;
mod containment;
mod execution;
mod relay;
mod step;
mod telling;
mod turn;
mod wait;

pub use self::caller::{Caller, Identity, Occasion};
pub(crate) use self::containment::{Either, before, either};
pub use self::execution::{CANCEL_GRACE_MS, Executed, Executor};
pub use self::relay::HOPS_MAX;
pub(crate) use self::step::check_id;
pub use self::step::{Claimed, Invocation, Mode, Progress, StepBody, refusal};
pub use self::wait::ended;

use serde_json::Value;

use crate::json::parse_strict;
use crate::problem::Problem;
use crate::schema::{LazySchema, VIOLATIONS_MAX, Violation};

/// Reads a message: strict JSON that fits the schema of its name in `src/wire/`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_message(schema: &'static str, bytes: &[u8], depth_max: usize) -> Result<Value, Problem> {
    let value = read_json(bytes, depth_max)?;
    let schema = crate::wire::compiled(schema).ok_or(Problem::Internal)?;
    satisfies(check(schema, &value, "")?)?;
    Ok(value)
}

/// Reads strict JSON.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_json(bytes: &[u8], depth_max: usize) -> Result<Value, Problem> {
    parse_strict(bytes, depth_max).map_err(|error| Problem::MalformedJson {
        reason: error.to_string(),
    })
}

/// The violations of a part of the body, placed within the whole.
///
/// # Errors
/// When the schema is of no use.
pub fn check(schema: &LazySchema, value: &Value, at: &str) -> Result<Vec<Violation>, Problem> {
    let schema = schema.get().map_err(|_| Problem::Misconfigured)?;
    let mut violations = schema.violations(value, VIOLATIONS_MAX);
    for violation in &mut violations {
        violation.instance.insert_str(0, at);
    }
    Ok(violations)
}

/// Refuses a body that has violations.
///
/// # Errors
/// With all of them, up to a bound.
pub fn satisfies(mut violations: Vec<Violation>) -> Result<(), Problem> {
    if violations.is_empty() {
        return Ok(());
    }
    violations.truncate(VIOLATIONS_MAX);
    Err(Problem::SchemaViolated { violations })
}
