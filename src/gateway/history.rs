//! The history of executions, for an operator.

use http::header::{ACCEPT, LINK};
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::operator::Page;
use super::preferences::query_parameter;
use super::reply::Reply;
use super::{Acted, Gateway};
use crate::invocation::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::telemetry::history::{
    BUCKETS_MAX, Bucket, EXECUTIONS_MAX, Filter, Metrics, OUTCOMES, ROUTES, Window, csv, json_lines,
};
use crate::telemetry::settings::HISTORY_MAX_DAYS;

/// The window of metrics where none is named, in milliseconds: 24 hours.
pub const WINDOW_DEFAULT_MS: u64 = 24 * 60 * 60 * 1_000;
/// The longest window, in milliseconds: as long as a history can be kept.
pub const WINDOW_MAX_MS: u64 = HISTORY_MAX_DAYS * 24 * 60 * 60 * 1_000;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    JsonLines,
}

impl Form {
    /// The first of the media types that is ours; JSON where none is.
    fn of(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
        for part in fields.flat_map(|field| field.split(',')) {
            let essence = part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match essence.as_str() {
                "text/csv" => return Self::Csv,
                "application/jsonl" | "application/x-ndjson" => return Self::JsonLines,
                "application/json" => return Self::Json,
                _ => {}
            }
        }
        Self::Json
    }
}

impl Gateway<'_> {
    /// `GET /agents/{agent}/metrics`
    pub(super) async fn metrics<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        agent: &str,
        query: Option<&str>,
    ) -> Result<Acted, Problem> {
        // Also of one that was switched off: it has a past.
        let agent = self.declared.agent(agent).ok_or(Problem::UnknownAgent)?;
        let window = read_window(query, caller.platform.now_ms())?;
        let parts = read_buckets(query)?;
        let count = caller.platform.agent_count(&agent.id, window).await?;
        let mut metrics = Metrics::of(&agent.id, window, &count);
        if let Some(parts) = parts {
            let counted = caller.platform.agent_buckets(&agent.id, window, parts).await?;
            metrics.buckets = Some(Bucket::all(window, parts, &counted));
        }
        Ok(Acted::Reply(Reply::of(&metrics)?))
    }

    /// `GET /executions`
    pub(super) async fn executions<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        request: &Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        let query = request.uri().query();
        let filter = read_filter(query)?;
        let page = Page::of(query, EXECUTIONS_MAX)?;
        // One more tells whether there are more.
        let mut rows = caller.platform.executions(&filter, page.before, page.limit + 1).await?;
        let more = rows.len() > page.limit;
        rows.truncate(page.limit);
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| format!("{}-{}", row.started_at_ms, row.id));
        let reply = match Form::of(request.headers()) {
            Form::Json => {
                let mut body = json!({ "executions": rows });
                if let Some(next) = &next {
                    body["next"] = next.as_str().into();
                }
                return Ok(Acted::Reply(Reply::json(&body)));
            }
            Form::Csv => Reply::table("text/csv; charset=utf-8", csv(&rows)),
            Form::JsonLines => Reply::table("application/jsonl", json_lines(&rows)),
        };
        Ok(Acted::Reply(match next {
            // The body has no place for it.
            Some(next) => reply.with(LINK, &format!("<{}>; rel=\"next\"", next_page(query, &next))),
            None => reply,
        }))
    }
}

/// The same query with this cursor.
fn next_page(query: Option<&str>, next: &str) -> String {
    let rest = query.unwrap_or_default().split('&');
    let rest = rest.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let pairs: Vec<_> = rest.map(str::to_owned).chain([format!("cursor={next}")]).collect();
    format!("/executions?{}", pairs.join("&"))
}

fn invalid(reason: String) -> Problem {
    Problem::PathInvalid { reason }
}

/// A query's parameter, decoded.
fn text(query: Option<&str>, name: &str) -> Result<Option<String>, Problem> {
    let wrong = || {
        invalid(format!(
            "the query's `{name}` must be there once at most, and be text in UTF-8"
        ))
    };
    let Some(value) = query_parameter(query, name).map_err(|()| wrong())? else {
        return Ok(None);
    };
    let decoded = percent_decode_str(value).decode_utf8().map_err(|_| wrong())?;
    Ok(Some(decoded.into_owned()))
}

fn moment(query: Option<&str>, name: &str) -> Result<Option<u64>, Problem> {
    let parsed = text(query, name)?.map(|text| text.parse());
    parsed
        .transpose()
        .map_err(|_| invalid(format!("the query's `{name}` must be a moment in Unix milliseconds")))
}

fn one_of(query: Option<&str>, name: &str, allowed: &[&str]) -> Result<Option<String>, Problem> {
    let value = text(query, name)?;
    match &value {
        Some(value) if !allowed.contains(&value.as_str()) => Err(invalid(format!(
            "the query's `{name}` must be one of {}",
            allowed.join(", ")
        ))),
        _ => Ok(value),
    }
}

fn read_filter(query: Option<&str>) -> Result<Filter, Problem> {
    Ok(Filter {
        agent: text(query, "agent")?,
        run: text(query, "run")?,
        orchestrator: text(query, "orchestrator")?,
        outcome: one_of(query, "outcome", &OUTCOMES)?,
        route: one_of(query, "route", &ROUTES)?,
        from_ms: moment(query, "from_ms")?,
        to_ms: moment(query, "to_ms")?,
    })
}

/// `window`, such as `24h`, up to `until_ms`, which is now where it is left out.
fn read_window(query: Option<&str>, now_ms: u64) -> Result<Window, Problem> {
    let to_ms = moment(query, "until_ms")?.unwrap_or(now_ms);
    let window_ms = match text(query, "window")? {
        None => WINDOW_DEFAULT_MS,
        Some(text) => {
            let parsed = humantime::parse_duration(&text).ok();
            let window_ms = parsed.and_then(|window| u64::try_from(window.as_millis()).ok());
            window_ms.filter(|ms| (1..=WINDOW_MAX_MS).contains(ms)).ok_or_else(|| {
                invalid(format!(
                    "the query's `window` must be a duration such as 15m, 24h or 7d, at most {HISTORY_MAX_DAYS}d"
                ))
            })?
        }
    };
    Ok(Window {
        from_ms: to_ms.saturating_sub(window_ms),
        to_ms,
    })
}

/// `buckets`: into how many parts the window is divided, if into any.
fn read_buckets(query: Option<&str>) -> Result<Option<u32>, Problem> {
    let Some(text) = text(query, "buckets")? else {
        return Ok(None);
    };
    let parts = text.parse().ok().filter(|parts| (1..=BUCKETS_MAX).contains(parts));
    parts.map(Some).ok_or_else(|| {
        invalid(format!(
            "the query's `buckets` must be a number of parts, from 1 to {BUCKETS_MAX}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        match result {
            Err(Problem::PathInvalid { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn windows() {
        let now_ms = 2 * WINDOW_MAX_MS;
        let check = |query: Option<&str>, from_ms: u64, to_ms: u64| {
            assert_eq!(
                read_window(query, now_ms).ok(),
                Some(Window { from_ms, to_ms }),
                "{query:?}"
            );
        };
        check(None, now_ms - WINDOW_DEFAULT_MS, now_ms);
        check(Some("window=15m"), now_ms - 900_000, now_ms);
        check(Some("window=1h%2030m&until_ms=9000000"), 3_600_000, 9_000_000);
        check(Some("window=7d&until_ms=5"), 0, 5);
        check(
            Some(&format!("window={HISTORY_MAX_DAYS}d")),
            now_ms - WINDOW_MAX_MS,
            now_ms,
        );
        for wrong in [
            "window=0s",
            "window=soon",
            &format!("window={}d", HISTORY_MAX_DAYS + 1),
            "window=-1h",
        ] {
            assert!(
                reason(read_window(Some(wrong), now_ms)).contains("a duration such as"),
                "{wrong}"
            );
        }
        assert!(reason(read_window(Some("until_ms=x"), now_ms)).contains("Unix milliseconds"));
    }

    #[test]
    fn buckets() {
        let most = format!("buckets={BUCKETS_MAX}");
        for (query, expected) in [
            (None, None),
            (Some("buckets=1"), Some(1)),
            (Some(most.as_str()), Some(BUCKETS_MAX)),
        ] {
            assert_eq!(read_buckets(query).ok(), Some(expected), "{query:?}");
        }
        for wrong in [
            "buckets=0",
            "buckets=",
            "buckets=-1",
            "buckets=1.5",
            &format!("buckets={}", BUCKETS_MAX + 1),
        ] {
            assert!(reason(read_buckets(Some(wrong))).contains("from 1 to 96"), "{wrong}");
        }
    }

    #[test]
    fn filters() {
        let read = read_filter(Some(
            "agent=triage&run=a%20b&outcome=running&route=fallback&from_ms=1&to_ms=2",
        ));
        let filter = read.expect("a filter");
        assert_eq!(
            (filter.run.as_deref(), filter.from_ms, filter.to_ms),
            (Some("a b"), Some(1), Some(2))
        );
        for (query, expected) in [
            ("outcome=ok", "completed, handed_off"),
            ("route=x", "orchestrated, fallback"),
            ("run=%FF", "UTF-8"),
            ("agent=a&agent=b", "once at most"),
            ("from_ms=-1", "Unix milliseconds"),
        ] {
            assert!(reason(read_filter(Some(query))).contains(expected), "{query}");
        }
    }

    #[test]
    fn forms() {
        let check = |accept: &'static str, expected: Form| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Form::of(&headers), expected, "{accept}");
        };
        check("text/csv", Form::Csv);
        check("application/jsonl; charset=utf-8", Form::JsonLines);
        check("application/x-ndjson", Form::JsonLines);
        check("text/html, text/csv;q=0.5", Form::Csv);
        check("application/json, text/csv", Form::Json);
        check("*/*", Form::Json);
        assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
    }

    #[test]
    fn the_next_page_is_the_same_question() {
        assert_eq!(
            next_page(Some("agent=a&cursor=1-x&limit=2"), "2-y"),
            "/executions?agent=a&limit=2&cursor=2-y"
        );
        assert_eq!(next_page(None, "2-y"), "/executions?cursor=2-y");
    }
}
