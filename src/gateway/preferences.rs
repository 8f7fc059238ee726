//! How a caller wants its answer: `Prefer` (RFC 7240), `Accept`, and the query.

use http::HeaderMap;
use http::header::ACCEPT;

/// A caller may wait for a step's end for at most this long, in seconds.
pub const WAIT_MAX_S: u64 = 30;

/// The preferences that are known. Others are passed over, as the standard says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `respond-async`: the caller comes back for the answer, or is called back.
    pub(super) respond_async: bool,
    /// `wait`: how long it waits nevertheless, in seconds.
    pub(super) wait_s: Option<u64>,
}

impl Preferences {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        let fields = headers.get_all("prefer").iter();
        let members = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(','));
        for member in members {
            // Parameters of a preference, behind a semicolon, are not known for these two.
            let preference = member.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => preferences.respond_async = true,
                // Of several, the first one counts.
                "wait" if preferences.wait_s.is_none() => {
                    preferences.wait_s = value.parse().ok().map(|seconds: u64| seconds.min(WAIT_MAX_S));
                }
                _ => {}
            }
        }
        preferences
    }

    /// As `Preference-Applied` tells it.
    pub(super) fn applied(self) -> String {
        let wait = self.wait_s.map(|wait_s| format!("wait={wait_s}"));
        let names = self.respond_async.then(|| "respond-async".to_owned());
        names.into_iter().chain(wait).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn wait_ms(self) -> u64 {
        self.wait_s.unwrap_or(0) * 1_000
    }
}

/// Whether the caller wants server-sent events.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT).iter();
    let mut ranges = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        essence.eq_ignore_ascii_case("text/event-stream") && !refused
    })
}

/// The value of a query's parameter, where it is there exactly once.
pub(super) fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let value = values.next();
    match values.next() {
        Some(_) => Err(()),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn preferences() {
        let check = |lines: &[&'static str], respond_async, wait_s| {
            let expected = Preferences { respond_async, wait_s };
            assert_eq!(Preferences::of(&headers("prefer", lines)), expected, "{lines:?}");
        };
        check(&[], false, None);
        check(&["respond-async"], true, None);
        check(&["Respond-Async, wait=10"], true, Some(10));
        check(&["wait = \"7\"; x=y", "respond-async"], true, Some(7));
        check(&["wait=30"], false, Some(WAIT_MAX_S));
        check(&["wait=31"], false, Some(WAIT_MAX_S));
        check(&["wait=1, wait=2"], false, Some(1));
        check(&["wait=-1, return=minimal"], false, None);
    }

    #[test]
    fn streams() {
        let check = |lines: &[&'static str], expected| {
            assert_eq!(wants_stream(&headers("accept", lines)), expected, "{lines:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["text/event-stream"], true);
        check(&["application/json, Text/Event-Stream;q=0.5"], true);
        check(&["text/event-stream; q=0"], false);
    }

    #[test]
    fn query_parameters() {
        assert_eq!(query_parameter(Some("a=1&version=3"), "version"), Ok(Some("3")));
        assert_eq!(query_parameter(Some("xversion=3"), "version"), Ok(None));
        assert_eq!(query_parameter(Some("version=3&version=4"), "version"), Err(()));
        assert_eq!(query_parameter(None, "version"), Ok(None));
    }
}
