//! Workflows on a run in memory, under a clock that moves only when everybody waits, with a ledger that can die at any point.

mod kills;
mod nodes;
mod stage;
mod stand_ins;
