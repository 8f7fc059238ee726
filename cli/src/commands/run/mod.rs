//! `baton run`: what a gateway keeps of a run. One module per command.

mod cancel;
mod delete;
mod handoff;
mod put_state;
mod show;
mod state;
mod step;
mod steps;
mod watch;

use std::time::Duration;

use crate::args::RunCommand;
use crate::output::{Failure, Report, Style};

/// A call that waits for no step is answered within this time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &RunCommand, style: Style) -> Result<Report, Failure> {
    match command {
        RunCommand::Show(args) => show::run(args, style),
        RunCommand::State(args) => state::run(args, style),
        RunCommand::PutState(args) => put_state::run(args, style),
        RunCommand::Steps(args) => steps::run(args, style),
        RunCommand::Step(args) => step::run(args, style),
        RunCommand::Cancel(args) => cancel::run(args, style),
        RunCommand::Watch(args) => watch::run(args, style),
        RunCommand::Handoff(args) => handoff::run(args, style),
        RunCommand::Delete(args) => delete::run(args, style),
    }
}
