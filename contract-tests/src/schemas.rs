//! Messages against their schemas in `src/wire/`.

use baton::schema::Schema;
use baton::wire;
use serde_json::Value;

/// A failure shows at most this many violations.
const SHOWN_MAX: usize = 8;

/// Checks a message against the schema of its name.
///
/// # Panics
/// When it does not fit.
#[track_caller]
pub fn assert_fits(message: &str, value: &Value) {
    let schema = wire::schema(message).unwrap_or_else(|| panic!("src/wire has no schema {message}"));
    assert_valid(&schema, value, message);
}

/// Checks a value against a schema.
///
/// # Panics
/// When it does not fit.
#[track_caller]
pub fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let schema = Schema::compile(schema).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let violations = schema.violations(value, SHOWN_MAX);
    assert_eq!(violations, [], "{what}: {value}");
}
