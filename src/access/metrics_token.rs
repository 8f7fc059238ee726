//! The token of whoever scrapes `/metrics`: a Prometheus cannot sign requests.

use super::SecretDigest;

/// A token has at least this many characters: nobody guesses so many.
pub const METRICS_TOKEN_MIN_CHARS: usize = 32;
/// A token has at most this many characters.
pub const METRICS_TOKEN_MAX_CHARS: usize = 256;

/// What is wrong with a token. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write {METRICS_TOKEN_MIN_CHARS} to {METRICS_TOKEN_MAX_CHARS} letters, digits and any of -._~+/=, such as what `openssl rand -hex 32` prints"
)]
pub struct MetricsTokenError;

/// A token, of which the digest alone is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsToken(SecretDigest);

impl MetricsToken {
    /// Reads a token as it is configured: what `Authorization: Bearer` can carry.
    ///
    /// # Errors
    /// Says what to write.
    pub fn parse(text: &str) -> Result<Self, MetricsTokenError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let long_enough = (METRICS_TOKEN_MIN_CHARS..=METRICS_TOKEN_MAX_CHARS).contains(&text.len());
        match long_enough && text.bytes().all(fits) {
            true => Ok(Self::digest(text)),
            false => Err(MetricsTokenError),
        }
    }

    /// Whether a caller presents this token, in the same time wherever the two differ.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        self.0.matches(&Self::digest(presented).0)
    }

    fn digest(text: &str) -> Self {
        Self(SecretDigest::of(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading() {
        let check = |text: &str, good: bool| assert_eq!(MetricsToken::parse(text).is_ok(), good, "{text}");
        check(&"a".repeat(METRICS_TOKEN_MIN_CHARS - 1), false);
        check(&"a".repeat(METRICS_TOKEN_MIN_CHARS), true);
        check(&"a".repeat(METRICS_TOKEN_MAX_CHARS), true);
        check(&"a".repeat(METRICS_TOKEN_MAX_CHARS + 1), false);
        check(&format!("{}-._~+/=", "Z9".repeat(20)), true);
        for wrong in [' ', '"', 'ü', '\n'] {
            check(&format!("{}{wrong}", "a".repeat(40)), false);
        }
    }

    #[test]
    fn a_token_is_itself_and_is_not_kept() {
        let text = "0123456789abcdef0123456789abcdef";
        let token = MetricsToken::parse(text).expect("a token");
        assert!(token.is(text));
        for other in [
            "",
            "0123456789abcdef0123456789abcdeF",
            "0123456789abcdef0123456789abcde",
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!format!("{token:?}").contains(text));
    }
}
