//! What a run tells of itself. For now: the trace context that a step is executed in.

pub mod trace_context;
