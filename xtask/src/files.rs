//! Files that must be whole or absent, folders that one process at a time may change, and fingerprints.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file by way of a temporary one, so that no reader ever sees half of it. `mode` as in chmod.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut name = path.file_name().context("no file name")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        fs::remove_file(&temporary).ok();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        drop(file);
        fs::rename(&temporary, path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Holds the lock file until dropped; `wait_message` is printed when another process has it now.
pub fn lock(path: &Path, wait_message: &str) -> Result<File> {
    let lock = || -> Result<File> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(path)?;
        if file.try_lock().is_err() {
            eprintln!("{wait_message}");
            file.lock()?;
        }
        Ok(file)
    };
    lock().with_context(|| format!("cannot lock {}", path.display()))
}

/// A short name for a content: changes when the content does. No security rests on it.
pub fn fingerprint<T: Hash + ?Sized>(content: &T) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whether `stamp` exists and says `expected`.
pub fn is_stamped(stamp: &Path, expected: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|content| content == expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_written_file_has_its_mode_and_replaces_the_old_one() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("baton-files-{}", std::process::id()));
        let path = folder.join("secret");
        write_whole(&path, b"one", 0o600)?;
        write_whole(&path, b"two", 0o600)?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder)?.count(), 1);
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[test]
    fn fingerprints_follow_the_content() {
        assert_eq!(fingerprint("a"), fingerprint("a"));
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
