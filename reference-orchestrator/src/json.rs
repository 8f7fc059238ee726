//! Bodies: strict JSON first, then their type.

use baton::json::parse_strict;
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// The deepest nesting of a JSON body, in containers.
pub const JSON_DEPTH_MAX: usize = 64;

/// Reads a body.
///
/// # Errors
/// When it is no JSON as we accept it, or of another type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let value = parse_strict(body, JSON_DEPTH_MAX).map_err(|error| Problem::MalformedJson {
        reason: error.to_string(),
    })?;
    serde_json::from_value(value).map_err(|error| Problem::Invalid {
        reason: error.to_string(),
    })
}
