//! Processes that a test starts, and that never outlive it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How much of a log is shown when a test fails, in lines.
const TAIL_LINES: usize = 60;

/// Waits until the test's process has ended, in whatever way, and the pipe with it; then ends the group and removes the
/// folder. A process that still writes may bring the folder back once.
const WATCH: &str = r#"cat >/dev/null; kill -KILL "-$1"; rm -rf "$2" || { sleep 1; rm -rf "$2"; }"#;

/// A program with everything that it starts, as a process group.
///
/// It is killed when this is dropped; and by a watchdog when the test's process ends before that: killed, or with this in
/// a `static`, which is never dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it. Both outputs are appended to `log`. The watchdog removes `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path, folder: &Path) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        // In a group of its own: Ctrl-C in the terminal must not end it before it has done its work.
        let watchdog = Command::new("sh")
            .args(["-c", WATCH, "watchdog", &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Self {
            child,
            watchdog,
            log: log.to_owned(),
        }
    }

    /// Fails when it has ended by itself.
    ///
    /// # Panics
    /// Then, with the end of its log.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child") {
            panic!(
                "a process that should run ended by itself ({status}):\n{}",
                tail(&self.log)
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the child is waited for: until then no other process can have its number.
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        killpg(group, Signal::SIGKILL).ok();
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        self.child.wait().ok();
    }
}

/// The end of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("the end of {}:\n{}", log.display(), shown.join("\n"))
}
