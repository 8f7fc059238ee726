//! `baton run delete`: forgets a run.

use baton::signature::Purpose;
use http::{Method, StatusCode};

use super::TIMEOUT;
use crate::args::DeleteRun;
use crate::id::run_path;
use crate::output::{Exit, Failure, Report, Style, printable};
use crate::show;
use crate::signed::Caller;

/// Deletes; there is nothing to show but that it is done.
pub fn run(args: &DeleteRun, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let answer = caller.ask(Method::DELETE, &run_path(&args.run, ""), TIMEOUT)?;
    if answer.response.status() == StatusCode::NO_CONTENT {
        let report = Report::new(Exit::Done, "");
        return Ok(if args.call.json {
            report
        } else {
            report.note(format!("the gateway keeps nothing of run {}", printable(&args.run)))
        });
    }
    show::report(&answer, args.call.json, style, |_| {
        Err(show::unexpected(&answer.response, "answer to a deletion"))
    })
}
