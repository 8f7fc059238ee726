//! Runs: state, handoffs, and steps that take time.

mod background;
mod callbacks;
mod calls;
mod generations;
mod handoffs;
mod kills;
mod orchestrated;
mod retention;
mod state;
mod steps;
mod streams;
mod workflows;
