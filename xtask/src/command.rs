//! Commands that this program runs: each in a process group of its own, so that stopping it stops all it started.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::signals;

/// How often a running command is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a command may take to end after SIGTERM, before SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone, Copy)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It was stopped, after this time.
    OutOfTime(Duration),
}

impl Ended {
    /// Whether the command ended by itself, with success.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

/// Starts a command with no standard input, in a process group of its own.
pub fn spawn(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).process_group(0);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// Waits for a child of [`spawn`] to end, and calls `tick` with the time that has passed, many times a second.
///
/// Stops the child after `limit`. Fails, after stopping the child, when this process is asked to stop.
pub fn wait(child: &mut Child, limit: Option<Duration>, mut tick: impl FnMut(Duration)) -> Result<Ended> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        let elapsed = started.elapsed();
        if signals::stop_requested() {
            stop(&mut [child]);
            bail!("stopped");
        }
        if let Some(limit) = limit.filter(|limit| elapsed >= *limit) {
            stop(&mut [child]);
            return Ok(Ended::OutOfTime(limit));
        }
        tick(elapsed);
        thread::sleep(POLL_INTERVAL);
    }
}

/// Runs a command whose output goes to the screen; fails unless it succeeds.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let ended = wait(&mut spawn(command)?, None, |_| ())?;
    if !ended.is_success() {
        bail!("{what} failed");
    }
    Ok(())
}

/// What a short command prints, trimmed; `None` when it cannot be started or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Ends the process groups of these children: SIGTERM, then SIGKILL to what is left after a grace.
pub fn stop(children: &mut [&mut Child]) {
    for child in children.iter() {
        signal_group(child, Signal::SIGTERM);
    }
    let deadline = Instant::now() + STOP_GRACE;
    while Instant::now() < deadline && children.iter().any(|child| group_is_alive(child)) {
        for child in children.iter_mut() {
            child.try_wait().ok();
        }
        thread::sleep(POLL_INTERVAL);
    }
    for child in children.iter_mut() {
        signal_group(child, Signal::SIGKILL);
        child.wait().ok();
    }
}

fn signal_group(child: &Child, signal: Signal) {
    if let Ok(group) = i32::try_from(child.id()) {
        // The group may be gone already: that is what is wanted.
        killpg(Pid::from_raw(group), signal).ok();
    }
}

fn group_is_alive(child: &Child) -> bool {
    i32::try_from(child.id()).is_ok_and(|group| killpg(Pid::from_raw(group), None).is_ok())
}

/// Cargo as it runs this program, for native builds.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    remove_package_variables(&mut command);
    command
}

/// Cargo tells the program it runs about its package; a build started from here must not take that for its own.
pub fn remove_package_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let package = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|start| name.starts_with(start))
        });
        if package || name == "OUT_DIR" {
            command.env_remove(name);
        }
    }
}

/// The value of PATH with these folders first.
pub fn path_with(folders: impl IntoIterator<Item = PathBuf>) -> Result<std::ffi::OsString> {
    let present = env::var_os("PATH").unwrap_or_default();
    env::join_paths(folders.into_iter().chain(env::split_paths(&present)))
        .context("a folder's name has a colon in it, which PATH cannot hold")
}

/// Where a program is, by PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
