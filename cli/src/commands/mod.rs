//! One module per command.

pub mod alerts;
pub mod api_keys;
pub mod completions;
pub mod conversation;
pub mod dead_letters;
pub mod discover;
pub mod doctor;
pub mod export;
pub mod history;
pub mod keys;
pub mod link;
pub mod manifest;
pub mod outbox;
pub mod overrides;
pub mod query;
pub mod route;
pub mod run;
pub mod step;
pub mod verify;
