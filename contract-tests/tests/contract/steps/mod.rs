//! Steps: one effect each, whatever happens to the requests.

mod attempts;
mod bodies;
mod concurrency;
mod effects;
mod failures;
mod panics;
mod team;
