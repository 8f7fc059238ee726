//! What the check of manifests says.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as its folder was given to [`super::load`].
    pub file: PathBuf,
    /// JSON Pointer to the place; empty for the file as a whole.
    pub pointer: String,
    /// What is wrong and what would be right, as a sentence.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}: {}", self.file.display(), self.pointer, self.reason)
    }
}

impl std::error::Error for Finding {}
