//! `baton completions`: what the shell needs to complete this command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::output::{Exit, Report};

/// The script for this shell.
pub fn run(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "baton", &mut script);
    Report::new(Exit::Done, String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = run(shell).text;
            assert!(script.contains("webhook-secret"), "{shell}");
        }
    }
}
