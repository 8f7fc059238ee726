//! `baton run put-state`: writes the state that a run keeps.

use std::fmt::Write as _;

use baton::signature::Purpose;
use http::Method;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};

use super::TIMEOUT;
use super::state::bare;
use crate::args::PutState;
use crate::id::run_path;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show;
use crate::signed::{Caller, idempotency_key};

/// Puts the state as it stands in the file, and shows the receipt.
pub fn run(args: &PutState, style: Style) -> Result<Report, Failure> {
    let state = args.state.read_text("--state")?;
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    // The condition is set before the request is signed: the signature covers it.
    let mut builder = caller.request(Method::PUT, &run_path(&args.run, "/state"));
    builder = match &args.if_match {
        Some(etag) => builder.header(IF_MATCH, etag),
        None => builder.header(IF_NONE_MATCH, "*"),
    };
    if let Some(key) = &args.idempotency_key {
        builder = builder.header("idempotency-key", idempotency_key(key)?);
    }
    let answer = caller.call(Caller::with_json(builder, state)?, TIMEOUT)?;
    let etag = answer.response.headers().get(ETAG).and_then(bare);
    show::report(&answer, args.call.json, style, |body| {
        if !body["version"].is_u64() {
            return Err(show::unexpected(
                &answer.response,
                "receipt for a state: it has no `version`",
            ));
        }
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{}  run {}  version {}  {} bytes  {}",
            style.good("written"),
            text(&body["run"]),
            text(&body["version"]),
            text(&body["bytes"]),
            text(&body["digest"])
        );
        if let Some(etag) = &etag {
            let _ = writeln!(out, "the next to write takes --if-match {etag}");
        }
        if show::is_replayed(answer.response.headers()) {
            out.push_str("stored receipt: it had been written before, nothing was written again\n");
        }
        Ok((Exit::Done, out))
    })
}
