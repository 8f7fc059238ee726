//! What is compiled from a manifest once.

use std::fmt;
use std::sync::OnceLock;

/// Something made from the manifest when it is first needed. It is no part of what the manifest says: clones start
/// empty and comparisons pass over it.
pub(super) struct Kept<T, E = super::TemplateError>(OnceLock<Result<T, E>>);

impl<T, E> Kept<T, E> {
    /// What was made, or is made now.
    pub(super) fn get(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, &E> {
        self.0.get_or_init(make).as_ref()
    }
}

impl<T, E> Default for Kept<T, E> {
    fn default() -> Self {
        Kept(OnceLock::new())
    }
}

impl<T, E> Clone for Kept<T, E> {
    fn clone(&self) -> Self {
        Kept::default()
    }
}

impl<T, E> PartialEq for Kept<T, E> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T, E> fmt::Debug for Kept<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "made" } else { "not made yet" })
    }
}
