//! `baton run cancel`: ends a step.

use baton::signature::Purpose;
use http::Method;

use super::TIMEOUT;
use crate::args::CancelStep;
use crate::id::step_path;
use crate::output::{Exit, Failure, Report, Style};
use crate::show;
use crate::signed::Caller;

/// Cancels, and says whether it was the cancellation that ended the step.
pub fn run(args: &CancelStep, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let answer = caller.ask(Method::POST, &step_path(&args.run, &args.step, "/cancel"), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let (_, mut text) = show::status(body, style)?;
        let exit = if body["answer"]["body"]["status"] == "cancelled" {
            Exit::Done
        } else {
            text.push_str("nothing was cancelled: the step had ended before\n");
            Exit::Bad
        };
        Ok((exit, text))
    })
}
