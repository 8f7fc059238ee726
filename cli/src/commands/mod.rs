//! One module per command.

pub mod completions;
pub mod discover;
pub mod keys;
pub mod manifest;
pub mod step;
pub mod verify;
