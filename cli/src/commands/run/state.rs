//! `baton run state`: the state that a run keeps, byte by byte.

use std::io::IsTerminal as _;

use baton::signature::Purpose;
use http::header::ETAG;
use http::{HeaderValue, Method, StatusCode};

use super::TIMEOUT;
use crate::args::ShowState;
use crate::id::run_path;
use crate::output::{Exit, Failure, Report, Style, printable};
use crate::show;
use crate::signed::Caller;

/// Fetches and prints it.
pub fn run(args: &ShowState, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let query = args
        .version
        .map(|version| format!("?version={version}"))
        .unwrap_or_default();
    let answer = caller.ask(Method::GET, &run_path(&args.run, &format!("/state{query}")), TIMEOUT)?;
    let response = &answer.response;
    if response.status() != StatusCode::OK {
        return show::report(&answer, args.call.json, style, |_| {
            Err(show::unexpected(response, "state"))
        });
    }
    // JSON is UTF-8, and nobody may write another state.
    let mut text = String::from_utf8(response.body().clone())
        .map_err(|_| show::unexpected(response, "state: it is not UTF-8 text"))?;
    if std::io::stdout().is_terminal() && !text.ends_with('\n') {
        text.push('\n');
    }
    let report = Report::new(Exit::Done, text);
    let etag = response.headers().get(ETAG).and_then(bare);
    Ok(match etag {
        Some(etag) if !args.call.json => {
            let version = etag.split_once('-').map_or("-", |(version, _)| version);
            report.note(format!("version {version}  --if-match {etag}"))
        }
        _ => report,
    })
}

/// An entity tag without its quotes, as `--if-match` takes it.
pub fn bare(etag: &HeaderValue) -> Option<String> {
    let etag = etag.to_str().ok()?;
    Some(printable(etag.trim_matches('"')))
}
