//! `baton run step`: where a step stands.

use std::time::Duration;

use baton::signature::Purpose;
use http::Method;

use super::TIMEOUT;
use crate::args::ShowStep;
use crate::id::step_path;
use crate::output::{Failure, Report, Style};
use crate::show;
use crate::signed::Caller;

/// Asks, waits if that is wanted, and shows.
pub fn run(args: &ShowStep, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let mut builder = caller.request(Method::GET, &step_path(&args.run, &args.step, ""));
    if let Some(seconds) = args.wait {
        builder = builder.header("prefer", format!("wait={seconds}"));
    }
    let timeout = TIMEOUT + Duration::from_secs(args.wait.unwrap_or_default());
    let answer = caller.call(Caller::without_body(builder)?, timeout)?;
    show::report(&answer, args.call.json, style, |body| show::status(body, style))
}
