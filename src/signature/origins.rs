//! The public origins of a gateway: what `@authority` is checked against, and what URLs are made of.

/// At most this many origins may be configured.
pub const ORIGINS_MAX: usize = 8;

/// Scheme and authority of every address that the gateway serves; the first is its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<String>);

/// Why a list of origins was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "BATON_ORIGINS: `{0}` is no origin: write 1 to {ORIGINS_MAX} of them, comma-separated, each scheme and host as in https://agents.example.com, without a path"
)]
pub struct OriginError(String);

impl Origins {
    /// Reads a comma-separated list.
    ///
    /// # Errors
    /// When an entry is not `http(s)://authority`, or when there are none or more than [`ORIGINS_MAX`].
    pub fn parse(list: &str) -> Result<Self, OriginError> {
        let origins = list
            .split(',')
            .map(|entry| normalise(entry.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        if origins.len() > ORIGINS_MAX {
            return Err(OriginError(list.to_owned()));
        }
        Ok(Self(origins))
    }

    /// The gateway's own name, without a trailing slash.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether one of the origins has this authority, in whatever case.
    #[must_use]
    pub fn serve(&self, authority: &str) -> bool {
        self.of(authority).is_some()
    }

    /// The origin that has this authority, in whatever case.
    #[must_use]
    pub fn of(&self, authority: &str) -> Option<&str> {
        let mut origins = self.0.iter().map(String::as_str);
        origins.find(|origin| {
            origin
                .split_once("://")
                .is_some_and(|(_, own)| own.eq_ignore_ascii_case(authority))
        })
    }
}

fn normalise(entry: &str) -> Result<String, OriginError> {
    let refused = || OriginError(entry.to_owned());
    let uri: http::Uri = entry.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refused());
    };
    if uri.path() != "/" || uri.query().is_some() || entry.contains('#') {
        return Err(refused());
    }
    // Neither a user nor a port in another spelling: a request's authority would never be equal to it.
    let spelling = match authority.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    if authority.host().is_empty() || spelling != authority.as_str() {
        return Err(refused());
    }
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Err(refused()),
    };
    let authority = authority.as_str().to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, primary: Option<&str>) {
        let found = Origins::parse(list).ok();
        assert_eq!(found.as_ref().map(Origins::primary), primary, "{list}");
    }

    #[test]
    fn parsing() {
        check("http://127.0.0.1:8787", Some("http://127.0.0.1:8787"));
        check(
            "https://GW.example.com:443/, http://b:80",
            Some("https://gw.example.com"),
        );
        check("", None);
        check("gw.example.com", None);
        check("ftp://gw.example.com", None);
        check("https://gw.example.com/base", None);
        check("https://user@gw.example.com", None);
        check("https://gw.example.com#top", None);
        check("https://gw.example.com:", None);
        check("https://gw.example.com:99999", None);
        check("https://gw.example.com:08443", None);
        check("https://:8443", None);
        check("https://[::1]:8443", Some("https://[::1]:8443"));
        check(&["https://a"; ORIGINS_MAX].join(","), Some("https://a"));
        check(&["https://a"; ORIGINS_MAX + 1].join(","), None);
    }

    #[test]
    fn authorities() {
        let origins = Origins::parse("https://gw.example.com,http://127.0.0.1:8787").expect("origins");
        assert!(origins.serve("GW.example.com"));
        assert_eq!(origins.of("GW.example.com"), Some("https://gw.example.com"));
        assert!(origins.serve("127.0.0.1:8787"));
        assert!(!origins.serve("127.0.0.1"));
        assert!(!origins.serve("example.com"));
    }
}
