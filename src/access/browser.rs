//! What a browser sends along by itself: the session's cookie, and where a call comes from.

use http::HeaderMap;
use http::header::{COOKIE, ORIGIN};

/// A browser takes a cookie of this prefix from the host alone, and over TLS only: no neighbour can plant one.
const SECURE_NAME: &str = "__Host-baton-session";
/// Where the gateway is reached without TLS, which is for development.
const PLAIN_NAME: &str = "baton-session";

/// The cookie of a session at one origin of the gateway.
#[derive(Debug, Clone, Copy)]
pub struct SessionCookie {
    secure: bool,
}

impl SessionCookie {
    /// The cookie at this origin (`https://…` or `http://…`).
    #[must_use]
    pub fn at(origin: &str) -> Self {
        Self {
            secure: origin.starts_with("https://"),
        }
    }

    const fn name(self) -> &'static str {
        if self.secure { SECURE_NAME } else { PLAIN_NAME }
    }

    /// The value that a request presents; nothing where it presents none. Two of the name are one too many: which of them
    /// is ours cannot be told, so that neither counts, and the value is empty.
    #[must_use]
    pub fn read(self, headers: &HeaderMap) -> Option<&str> {
        let fields = headers.get_all(COOKIE).iter();
        let pairs = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'));
        let mut values = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let value = values.next()?;
        Some(if values.next().is_none() { value } else { "" })
    }

    /// `Set-Cookie` for a token that is good for `max_age_s` seconds; 0 takes it away.
    #[must_use]
    pub fn set(self, token: &str, max_age_s: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name();
        format!("{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Whether a browser says that a page of this very origin makes the call. A cookie proves who the browser belongs to, and
/// not who makes it call: a neighbour under the same site's name is as far away as anybody else.
#[must_use]
pub fn is_same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let only = |name: &str| {
        let mut fields = headers.get_all(name).iter();
        let field = fields.next()?.to_str().ok();
        Some(field.filter(|_| fields.next().is_none()).unwrap_or_default())
    };
    match only("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => only(ORIGIN.as_str()) == Some(origin),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn cookies() {
        let check = |origin: &str, fields: &[&'static str], expected: Option<&str>| {
            let fields: Vec<_> = fields.iter().map(|field| ("cookie", *field)).collect();
            let found = headers(&fields);
            assert_eq!(SessionCookie::at(origin).read(&found), expected, "{origin} {fields:?}");
        };
        check("http://gw", &[], None);
        check("http://gw", &["a=b"], None);
        check("http://gw", &["baton-session=t"], Some("t"));
        check("http://gw", &["a=b; baton-session=t=;c=d"], Some("t="));
        check("http://gw", &["a=b", "baton-session=t"], Some("t"));
        check("http://gw", &["baton-session=t; baton-session=t"], Some(""));
        check("http://gw", &["xbaton-session=t"], None);
        check("https://gw", &["baton-session=t"], None);
        check("https://gw", &["__Host-baton-session=t"], Some("t"));
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        assert_eq!(
            SessionCookie::at("https://gw").set("t", 900),
            "__Host-baton-session=t; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            SessionCookie::at("http://gw").set("", 0),
            "baton-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn only_the_gateways_own_page_is_the_same_origin() {
        let check = |fields: &[(&'static str, &'static str)], expected: bool| {
            assert_eq!(is_same_origin(&headers(fields), "https://gw"), expected, "{fields:?}");
        };
        check(&[], false);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
            false,
        );
        check(&[("origin", "https://gw")], true);
        check(&[("origin", "http://gw")], false);
        check(&[("origin", "https://gw:8443")], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "https://gw"), ("origin", "https://evil")], false);
        check(&[("origin", "https://gw"), ("sec-fetch-site", "cross-site")], false);
    }
}
