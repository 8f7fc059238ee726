//! The guard: the form of a URL, its host, and whether its origin is allowed.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::addresses::{unreachable_v4, unreachable_v6};

/// The URL of a callback has at most this many bytes.
pub const CALLBACK_URL_MAX_BYTES: usize = 2048;

/// A host name has at most this many bytes (RFC 1035).
const NAME_MAX_BYTES: usize = 253;
/// A label of a host name has at most this many bytes.
const LABEL_MAX_BYTES: usize = 63;

/// Top-level names that the public DNS does not resolve: IANA's special-use names, those that ICANN keeps back, and
/// those that private networks give themselves.
const PRIVATE_TOP_LEVELS: [&str; 16] = [
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "test",
];

/// What holds for a URL.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Whether http and loopback are allowed: on a developer's machine alone.
    pub development: bool,
    /// The origins that an operator allowed, as [`check_origin`] returns them.
    pub origins: &'a [String],
}

/// Where a request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL to fetch, composed of what was checked: scheme and host in lower case, no default port.
    pub url: String,
    /// Its origin.
    pub origin: String,
}

/// Why a URL was refused. No message repeats a path or a query: they may hold a secret of the receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Refusal {
    #[error("the URL has {0} bytes: at most {CALLBACK_URL_MAX_BYTES} are allowed")]
    TooLong(usize),
    #[error(
        "the URL has the character {0:?}: only ASCII characters of RFC 3986 are allowed; percent-encode others, and write a host name as xn--..."
    )]
    Character(char),
    #[error("the URL is not absolute: write scheme and host, as in https://hooks.example.com/baton")]
    NotAbsolute,
    #[error("the URL's scheme is neither https nor http")]
    Scheme,
    #[error("the URL's scheme is http: write https, for http is allowed in development alone")]
    Plain,
    #[error("the URL has a fragment: leave `#` and what follows out, for it is never sent")]
    Fragment,
    #[error("the URL has a user or a password: leave them out, for deliveries are signed")]
    UserInfo,
    #[error("the URL's port is no number from 1 to 65535 without leading zeros")]
    Port,
    #[error(
        "`{0}` is no host name: write labels of 1 to {LABEL_MAX_BYTES} letters, digits and inner hyphens, joined by full stops, at most {NAME_MAX_BYTES} bytes, without one at the end"
    )]
    Name(String),
    #[error("`{0}` is no IP address: write an IPv4 address as four decimal numbers, an IPv6 address in brackets")]
    AddressForm(String),
    #[error("the address {0} is {1}: only addresses that are reachable from everywhere are allowed")]
    Address(String, &'static str),
    #[error("the host `{0}` has a single label: write its full name, as in hooks.example.com")]
    SingleLabel(String),
    #[error("the host `{0}` ends in .{1}, which the public DNS does not resolve: write a public name")]
    PrivateName(String, &'static str),
    #[error("`{0}` is no origin: write scheme, host and port alone, as in https://hooks.example.com:8443")]
    NotAnOrigin(String),
    #[error(
        "the origin {origin} is not allowed, {allowed}: an operator sets `callback_origins` in BATON_ORCHESTRATORS"
    )]
    OriginNotAllowed { origin: String, allowed: String },
}

/// Checks a URL that somebody else named.
///
/// # Errors
/// The first rule that does not hold, with what to write instead.
pub fn check_url(url: &str, rules: Rules<'_>) -> Result<Target, Refusal> {
    let parts = Parts::read(url)?;
    let origin = parts.origin(rules.development)?;
    if !rules.origins.contains(&origin) {
        let allowed = match rules.origins {
            [] => "and none is".to_owned(),
            origins => format!("only {}", origins.join(", ")),
        };
        return Err(Refusal::OriginNotAllowed { origin, allowed });
    }
    let slash = if parts.rest.starts_with('/') { "" } else { "/" };
    Ok(Target {
        url: format!("{origin}{slash}{}", parts.rest),
        origin,
    })
}

/// Checks an origin that an operator configures, and returns it in the spelling of [`Target::origin`].
///
/// # Errors
/// As [`check_url`], and where it has a path or a query.
pub fn check_origin(text: &str, development: bool) -> Result<String, Refusal> {
    let parts = Parts::read(text)?;
    if !matches!(parts.rest, "" | "/") {
        return Err(Refusal::NotAnOrigin(text.to_owned()));
    }
    parts.origin(development)
}

/// A URL, split as RFC 3986 does; nothing of it is checked but its characters.
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    /// Path and query.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn read(url: &'a str) -> Result<Self, Refusal> {
        if url.len() > CALLBACK_URL_MAX_BYTES {
            return Err(Refusal::TooLong(url.len()));
        }
        // A parser of the platform drops tabs and line breaks, takes `\` for `/`, and maps wide digits to ASCII ones.
        let known = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
        if let Some(unknown) = url.chars().find(|&c| !known(c)) {
            return Err(Refusal::Character(unknown));
        }
        let (scheme, after) = url.split_once("://").ok_or(Refusal::NotAbsolute)?;
        if after.contains('#') {
            return Err(Refusal::Fragment);
        }
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        if let Some(bracket) = rest.chars().find(|c| matches!(c, '[' | ']')) {
            return Err(Refusal::Character(bracket));
        }
        Ok(Self {
            scheme,
            authority,
            rest,
        })
    }

    /// The origin, where this is one that may be called.
    fn origin(&self, development: bool) -> Result<String, Refusal> {
        let scheme = self.scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" if development => 80,
            "http" => return Err(Refusal::Plain),
            _ => return Err(Refusal::Scheme),
        };
        if self.authority.contains('@') {
            return Err(Refusal::UserInfo);
        }
        let (host, port) = split_port(self.authority)?;
        let host = check_host(host, development)?;
        Ok(match port {
            Some(port) if port != default_port => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Refusal> {
    // The colons of an IPv6 address are within its brackets.
    let colon = authority.rfind(':').filter(|&colon| !authority[colon..].contains(']'));
    let Some(colon) = colon else {
        return Ok((authority, None));
    };
    let text = &authority[colon + 1..];
    let port: Option<u16> = text.parse().ok().filter(|port| *port != 0);
    match port {
        Some(port) if port.to_string() == text => Ok((&authority[..colon], Some(port))),
        _ => Err(Refusal::Port),
    }
}

/// The host in its one spelling, where it may be called.
fn check_host(host: &str, development: bool) -> Result<String, Refusal> {
    let host = host.to_ascii_lowercase();
    if host.contains(['[', ']', ':']) {
        let address: Ipv6Addr = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']')?.parse().ok())
            .ok_or_else(|| Refusal::AddressForm(host.clone()))?;
        let loopback = development && address == Ipv6Addr::LOCALHOST;
        return match unreachable_v6(address) {
            Some(why) if !loopback => Err(Refusal::Address(format!("[{address}]"), why)),
            _ => Ok(format!("[{address}]")),
        };
    }
    let last = last_label(&host);
    if is_number(last) {
        // Strict: four decimal numbers without leading zeros, so no parser reads another address.
        let address: Ipv4Addr = host.parse().map_err(|_| Refusal::AddressForm(host.clone()))?;
        let loopback = development && address.is_loopback();
        return match unreachable_v4(address) {
            Some(why) if !loopback => Err(Refusal::Address(host, why)),
            _ => Ok(host),
        };
    }
    if host.len() > NAME_MAX_BYTES || !host.split('.').all(is_label) {
        return Err(Refusal::Name(host));
    }
    if development && host == "localhost" {
        return Ok(host);
    }
    if !host.contains('.') {
        return Err(Refusal::SingleLabel(host));
    }
    if let Some(top) = PRIVATE_TOP_LEVELS.into_iter().find(|top| *top == last) {
        return Err(Refusal::PrivateName(host, top));
    }
    Ok(host)
}

/// The last label, also of a name with a full stop at its end.
fn last_label(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.rsplit('.').next().unwrap_or(host)
}

/// Whether a URL parser takes a host that ends in this label for an IPv4 address (the URL standard's "ends in a
/// number"): decimal and octal are digits alone, hexadecimal is `0x` and digits, of which there may be none.
fn is_number(label: &str) -> bool {
    let digits = !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = label
        .strip_prefix("0x")
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    digits || hexadecimal
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=LABEL_MAX_BYTES).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}
