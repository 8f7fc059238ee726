//! Long steps: say what and why, keep the output in a log, show the time, and the log's end on a failure.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{self, Ended};

/// How often a line is printed where there is no terminal to rewrite one on.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// How many lines of a failed step's log are shown.
const LOG_TAIL_LINES: usize = 25;

/// A step that takes seconds or minutes.
#[derive(Debug)]
pub struct Step {
    what: String,
    log: PathBuf,
    limit: Option<Duration>,
}

impl Step {
    /// `what` is said on the screen; the output of the commands goes to `log`.
    pub fn new(what: impl Into<String>, log: impl Into<PathBuf>) -> Self {
        let (what, log) = (what.into(), log.into());
        Self { what, log, limit: None }
    }

    /// Gives up after `limit`.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the command to its end and shows the time passing.
    pub fn run(self, command: &mut Command) -> Result<()> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        command.stdout(log.try_clone()?).stderr(log);

        let mut clock = Clock::start(&self.what);
        let ended = command::wait(&mut command::spawn(command)?, self.limit, |elapsed| clock.tick(elapsed))?;
        clock.end(ended.is_success());
        match ended {
            ended if ended.is_success() => Ok(()),
            Ended::Exited(status) => bail!(
                "{} failed ({status}):\n{}\nThe whole log: {}",
                self.what,
                tail(&self.log, LOG_TAIL_LINES),
                self.log.display()
            ),
            Ended::OutOfTime(limit) => bail!("{} did not end within {} s", self.what, limit.as_secs()),
        }
    }
}

/// The last lines of a file, indented, for a message.
pub fn tail(file: &Path, lines: usize) -> String {
    let content = fs::read(file).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let all: Vec<&str> = content.lines().filter(|line| !line.trim().is_empty()).collect();
    if all.is_empty() {
        return "  (its log is empty)".to_owned();
    }
    let shown: Vec<String> = all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect();
    shown.join("\n")
}

/// The line on the screen that says what is going on.
struct Clock<'a> {
    what: &'a str,
    started: Instant,
    printed_at: Duration,
    terminal: bool,
}

impl<'a> Clock<'a> {
    fn start(what: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("{what} ...");
        }
        Self {
            what,
            started: Instant::now(),
            printed_at: Duration::ZERO,
            terminal,
        }
    }

    fn tick(&mut self, elapsed: Duration) {
        let interval = if self.terminal {
            Duration::from_secs(1)
        } else {
            LINE_INTERVAL
        };
        if elapsed < self.printed_at + interval {
            return;
        }
        self.printed_at = elapsed;
        if self.terminal {
            eprint!("\r\x1b[K{} ... {} s", self.what, elapsed.as_secs());
            std::io::stderr().flush().ok();
        } else {
            eprintln!("  still at it: {} s", elapsed.as_secs());
        }
    }

    fn end(&self, succeeded: bool) {
        let outcome = if succeeded { "done in" } else { "failed after" };
        let seconds = self.started.elapsed().as_secs_f64();
        if self.terminal {
            eprintln!("\r\x1b[K{}: {outcome} {seconds:.1} s", self.what);
        } else {
            eprintln!("  {outcome} {seconds:.1} s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_of_the_log() -> Result<()> {
        let file = std::env::temp_dir().join(format!("baton-tail-{}", std::process::id()));
        fs::write(&file, "one\ntwo\n\nthree\n")?;
        assert_eq!(tail(&file, 2), "  two\n  three");
        fs::remove_file(&file)?;
        assert_eq!(tail(&file, 2), "  (its log is empty)");
        Ok(())
    }
}
