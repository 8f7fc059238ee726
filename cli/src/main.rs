//! `baton`: the command line of Baton.
//!
//! It makes keys, checks manifests, shows what a gateway offers, explains routes, says what a deployment lacks, sends
//! signed steps and customers' calls, looks after runs and says what is wrong with a signature. Every command returns a
//! [`Report`] or a [`Failure`]; only this file writes them out.

mod args;
mod capture;
mod commands;
mod config;
mod doctor;
mod environment;
mod explain;
mod follow;
mod id;
mod input;
mod listen;
mod output;
mod show;
mod signed;
mod sse;
mod transport;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, Keys, Manifest, Route};
use output::{Failure, Report, Style};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) => {
            // A reader that has seen enough, such as `head`, closes the pipe: that is no failure of ours.
            let _ = std::io::stdout().write_all(report.text.as_bytes());
            let _ = std::io::stderr().write_all(report.notes.as_bytes());
            report.exit.into()
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            failure.exit.into()
        }
    }
}

fn run(args: &Args) -> Result<Report, Failure> {
    let style = Style::detect();
    match &args.command {
        Command::Keys(Keys::New(new)) => commands::keys::new(new),
        Command::Keys(Keys::WebhookSecret(secret)) => commands::keys::webhook_secret(secret),
        Command::Manifest(Manifest::Check { directory }) => commands::manifest::check(directory),
        Command::Manifest(Manifest::Graph { workflow, manifests }) => commands::manifest::graph(workflow, manifests),
        Command::Route(Route::Explain(explain)) => commands::route::explain(explain, style),
        Command::Discover(discover) => commands::discover::run(discover, style),
        Command::Doctor(doctor) => commands::doctor::run(doctor, style),
        Command::Step(step) => commands::step::run(step, style),
        Command::Query(query) => commands::query::run(query, style),
        Command::Run(command) => commands::run::run(command, style),
        Command::DeadLetters(command) => commands::dead_letters::run(command, style),
        Command::Executions(args) => commands::history::executions(args, style),
        Command::Metrics(args) => commands::history::metrics(args, style),
        Command::Alerts(args) => commands::alerts::run(args, style),
        Command::Outbox(command) => commands::outbox::run(command, style),
        Command::Conversation(command) => commands::conversation::run(command, style),
        Command::ApiKeys(command) => commands::api_keys::run(command, style),
        Command::Overrides(command) => commands::overrides::run(command, style),
        Command::Link(command) => commands::link::run(command, style),
        Command::Verify(verify) => commands::verify::run(verify, style),
        Command::Completions { shell } => Ok(commands::completions::run(*shell)),
    }
}
