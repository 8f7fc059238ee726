//! Developer commands of Baton: `cargo xtask help`.
//!
//! Each command brings the machine to the state it needs by itself: whoever has a Rust toolchain, Node's `npm`
//! and `python3` needs nothing else. What is installed, and where: [`setup`]. Exact versions: [`pins`].

mod bench;
mod build;
mod check;
mod cli;
mod command;
mod config;
mod dev;
mod files;
mod paths;
mod pins;
mod progress;
mod setup;
mod signals;
mod test;
mod wrangler;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match signals::install().and_then(|()| cli::run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
