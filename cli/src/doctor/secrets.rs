//! A file of secrets, as `.dev.vars` has them.

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

fn unquoted(value: &str) -> &str {
    ['\'', '"', '`']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
