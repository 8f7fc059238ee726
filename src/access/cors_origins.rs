//! Which web pages may call with an API key: `BATON_CORS_ORIGINS`.

/// At most this many origins may be configured.
pub const CORS_ORIGINS_MAX: usize = 32;

/// The origins of web pages whose scripts may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// These, and none where there are none.
    Exactly(Vec<String>),
    /// All: `*`.
    Any,
}

/// What is wrong with the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum CorsOriginError {
    #[error("expected a JSON array of origins, or origins separated by commas: wrong at line {0}, column {1}")]
    Json(usize, usize),
    #[error(
        "`*` opens the gateway to the scripts of every web page, and stands among others here: write it as the only entry, or take it out"
    )]
    AnyAmongOthers,
    #[error(
        "`{0}` is no origin: write it as browsers send it, such as https://app.example.com: scheme and host in lower case, a port that is not the usual one, and nothing behind"
    )]
    Origin(String),
    #[error("{0} origins, at most {CORS_ORIGINS_MAX} are allowed")]
    TooMany(usize),
}

impl CorsOrigins {
    /// Reads a JSON array, or a list with commas. Empty is none.
    ///
    /// # Errors
    /// Names the entry that is wrong.
    pub fn parse(text: &str) -> Result<Self, CorsOriginError> {
        let text = text.trim();
        let entries: Vec<String> = if text.starts_with('[') {
            serde_json::from_str(text).map_err(|error| CorsOriginError::Json(error.line(), error.column()))?
        } else if text.is_empty() {
            Vec::new()
        } else {
            text.split(',').map(|entry| entry.trim().to_owned()).collect()
        };
        if entries.iter().any(|entry| entry == "*") {
            return match entries.len() {
                1 => Ok(Self::Any),
                _ => Err(CorsOriginError::AnyAmongOthers),
            };
        }
        if entries.len() > CORS_ORIGINS_MAX {
            return Err(CorsOriginError::TooMany(entries.len()));
        }
        match entries.iter().find(|entry| !is_origin(entry)) {
            Some(wrong) => Err(CorsOriginError::Origin(wrong.clone())),
            None => Ok(Self::Exactly(entries)),
        }
    }

    /// What `Access-Control-Allow-Origin` says to a page of this origin; nothing where it may not read.
    #[must_use]
    pub fn allow<'a>(&self, origin: &'a str) -> Option<&'a str> {
        match self {
            Self::Any => Some("*"),
            Self::Exactly(origins) => origins.iter().any(|known| known == origin).then_some(origin),
        }
    }
}

/// Whether this is an origin as a browser writes it.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    let usual_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let exact = format!("{scheme}://{authority}") == text;
    exact
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && !authority.as_str().ends_with(':')
        && authority.port_u16() != Some(usual_port)
        && !text.contains(|c: char| c.is_ascii_uppercase() || c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(origins: &[&str]) -> CorsOrigins {
        CorsOrigins::Exactly(origins.iter().map(|origin| (*origin).to_owned()).collect())
    }

    #[test]
    fn lists() {
        let (a, b) = ("https://a.example.com", "http://localhost:5173");
        for (text, expected) in [
            ("", exactly(&[])),
            (" [] ", exactly(&[])),
            (a, exactly(&[a])),
            ("https://a.example.com, http://localhost:5173", exactly(&[a, b])),
            (r#"["https://a.example.com","http://localhost:5173"]"#, exactly(&[a, b])),
            ("https://[2001:db8::1]:8443", exactly(&["https://[2001:db8::1]:8443"])),
            ("*", CorsOrigins::Any),
            (r#"["*"]"#, CorsOrigins::Any),
        ] {
            assert_eq!(CorsOrigins::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("[", "line 1"),
            ("[7]", "line 1"),
            ("*,https://a.example.com", "the only entry"),
            (r#"["*","*"]"#, "the only entry"),
            ("https://a.example.com/", "`https://a.example.com/` is no origin"),
            ("https://a.example.com/x", "is no origin"),
            ("https://A.example.com", "is no origin"),
            ("https://a.example.com:443", "is no origin"),
            ("http://a.example.com:80", "is no origin"),
            ("https://a.example.com:", "is no origin"),
            ("https://*.example.com", "is no origin"),
            ("https://u@a.example.com", "is no origin"),
            ("ftp://a.example.com", "is no origin"),
            ("a.example.com", "is no origin"),
            ("null", "is no origin"),
            ("https://a.example.com,", "`` is no origin"),
        ] {
            let error = CorsOrigins::parse(text).expect_err(text);
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let many = |count| vec!["https://a.example.com"; count].join(",");
        assert!(CorsOrigins::parse(&many(CORS_ORIGINS_MAX)).is_ok());
        assert_eq!(
            CorsOrigins::parse(&many(CORS_ORIGINS_MAX + 1)),
            Err(CorsOriginError::TooMany(33))
        );
    }

    #[test]
    fn allowed() {
        let some = exactly(&["https://a.example.com"]);
        assert_eq!(some.allow("https://a.example.com"), Some("https://a.example.com"));
        for origin in [
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://b.a.example.com",
            "null",
            "",
        ] {
            assert_eq!(some.allow(origin), None, "{origin}");
        }
        assert_eq!(CorsOrigins::Any.allow("https://b.example.com"), Some("*"));
    }
}
