//! `baton run watch`: a step followed until its outcome.

use baton::signature::Purpose;
use http::Method;

use crate::args::WatchStep;
use crate::follow::follow;
use crate::id::{quoted, step_path};
use crate::output::{Failure, Report, Style};
use crate::show;
use crate::signed::Caller;

/// Follows, and shows the outcome as `baton step` does.
pub fn run(args: &WatchStep, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let target = step_path(&args.run, &args.step, "");
    let request = || Caller::without_body(caller.request(Method::GET, &target));
    let command = format!("baton run watch {} {}", quoted(&args.run), quoted(&args.step));
    let answer = follow(&caller, request, args.last_event_id.clone(), &command)?;
    show::step(&answer, args.call.json, style)
}
