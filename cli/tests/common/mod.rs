//! What the tests of the binary share.
#![allow(dead_code, reason = "each test file uses its part of it")]

pub mod gateway;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How a run of the binary ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Fails the test, with everything that was said, unless the run ended so.
    #[track_caller]
    pub fn expect(self, code: i32, said: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{all}");
        for part in said {
            assert!(all.contains(part), "expected `{part}` in:\n{all}");
        }
        assert!(!all.contains("panicked"), "{all}");
        self
    }
}

/// Runs `baton` away from every configuration of the machine.
pub fn baton(arguments: &[&str]) -> Run {
    baton_with(arguments, "")
}

/// Runs `baton` with this text on standard input.
pub fn baton_with(arguments: &[&str], input: &str) -> Run {
    // Not in the repository: its `.dev/baton.json` would be found from there.
    baton_in(&std::env::temp_dir(), arguments, input)
}

/// Runs `baton` in this folder.
pub fn baton_in(folder: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = start(folder, arguments);
    // A command that reads no input may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts `baton` in this folder, for a test that looks on while it runs.
pub fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("BATON_GATEWAY")
        .env_remove("BATON_KEY_FILE")
        .env_remove("BATON_API_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// A new key's record, of the id `k1`.
pub fn key() -> String {
    baton(&["keys", "new", "--id", "k1", "--json"]).stdout
}

/// An empty folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Writes a file and gives its path.
pub fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("a UTF-8 path").to_owned()
}
