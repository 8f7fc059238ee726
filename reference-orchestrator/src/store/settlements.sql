-- Version 3: runs that gateways hand on, and what gateways tell of runs that they routed by themselves.

CREATE TABLE handed_runs (
  run         TEXT PRIMARY KEY REFERENCES runs (run) ON DELETE CASCADE, -- the idempotency key, too
  gateway     TEXT NOT NULL, -- its steps are invoked on this one
  body_digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settlements (
  idempotency_key TEXT PRIMARY KEY,
  run             TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  gateway         TEXT NOT NULL,
  body_digest     TEXT NOT NULL,
  reason          TEXT NOT NULL,
  routed_at_ms    INTEGER NOT NULL,
  received_at_ms  INTEGER NOT NULL,
  conflict        TEXT, -- why the run is not settled by it; NULL where it is
  steps           TEXT NOT NULL, -- JSON array
  state           TEXT NOT NULL -- JSON array
) STRICT;
CREATE INDEX settlements_by_run ON settlements (run);
