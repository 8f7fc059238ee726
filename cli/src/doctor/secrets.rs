//! A file of secrets, as `.dev.vars` has them, and the text of the one secret that the Worker reads.

use baton::signature::Keyring;

use super::Finding;
use super::configuration::SECRETS;

/// The platform takes at most this many bytes in a secret (5 KB).
pub const SECRET_MAX_BYTES: usize = 5 * 1024;

/// The value of a secret: of a line `NAME=value`, where quotes around the value are not part of it. A file that is nothing
/// but a JSON array is `BATON_KEYS`, as `wrangler secret put BATON_KEYS` takes it.
pub fn value<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    if file.trim_start().starts_with('[') {
        return (name == "BATON_KEYS").then(|| file.trim());
    }
    file.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
        Some(unquoted(value))
    })
}

/// The value of `BATON_SECRETS`: without entries where a file of secrets has no such line; not known from the array of keys.
pub fn of_agents(file: &str) -> Option<&str> {
    let is_array = file.trim_start().starts_with('[');
    value(file, SECRETS).or((!is_array).then_some("{}"))
}

fn unquoted(value: &str) -> &str {
    ['\'', '"', '`']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

/// The text of the secret: that it is there, short enough, and one that the Worker reads.
pub fn check_text(place: &str, keys: Option<&str>) -> Option<Finding> {
    match keys.map(str::trim) {
        None | Some("" | "[]") => Some(Finding::error(
            place,
            "there is no key: every signed call is refused",
            "make keys with `baton keys new`, one for each purpose",
        )),
        Some(keys) if keys.len() > SECRET_MAX_BYTES => Some(Finding::error(
            place,
            format!("it has {} bytes, and the platform takes {SECRET_MAX_BYTES}", keys.len()),
            "remove records that have ended",
        )),
        Some(keys) => Keyring::parse(keys).err().map(|error| {
            let remedy = "correct it: until then the Worker refuses every request with gateway-misconfigured";
            Finding::error(place, error.to_string(), remedy)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"id":"k","orchestrator":"o","purposes":["invoke"],"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;

    #[test]
    fn values() {
        let check = |file: &str, expected: Option<&str>| assert_eq!(value(file, "BATON_KEYS"), expected, "{file}");
        check("# keys\nOTHER=1\nBATON_KEYS='[1]'\n", Some("[1]"));
        check("export BATON_KEYS = \"[]\"", Some("[]"));
        check("BATON_KEYS=[1]", Some("[1]"));
        check("BATON_KEYS=", Some(""));
        check(" [1]\n", Some("[1]"));
        check("#BATON_KEYS=[1]", None);
        check("BATON_KEYS_OLD=[1]", None);
        assert_eq!(value("[1]", "OTHER"), None);
    }

    #[test]
    fn the_secrets_of_agents() {
        assert_eq!(of_agents("BATON_SECRETS='{\"A\":\"b\"}'"), Some("{\"A\":\"b\"}"));
        assert_eq!(of_agents("BATON_KEYS=[]"), Some("{}"));
        assert_eq!(of_agents("[1]"), None);
    }

    #[test]
    fn the_text() {
        let check = |text: Option<&str>, words: &str| {
            let found = check_text("BATON_KEYS", text);
            let problem = found.map(|found| found.problem).unwrap_or_default();
            assert!(
                problem.contains(words) && words.is_empty() == problem.is_empty(),
                "{problem}"
            );
        };
        check(None, "there is no key");
        check(Some("[]"), "there is no key");
        check(Some("no"), "not a JSON array");
        let one = format!("[{KEY}]");
        check(Some(&one), "");
        let padded = |bytes: usize| format!("[{}{}", " ".repeat(bytes - one.len()), &one[1..]);
        check(Some(&padded(SECRET_MAX_BYTES)), "");
        check(Some(&padded(SECRET_MAX_BYTES + 1)), "it has 5121 bytes");
    }
}
