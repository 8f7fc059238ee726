-- The history of executions, for people to query. It is written after the fact and never in a request's way.
-- Milliseconds are since 1970-01-01T00:00:00Z, UTC.
CREATE TABLE executions (
  run           TEXT    NOT NULL,
  step          TEXT    NOT NULL,
  attempt       INTEGER NOT NULL CHECK (attempt >= 1),
  agent         TEXT    NOT NULL,
  orchestrator  TEXT    NOT NULL,
  outcome       TEXT    NOT NULL CHECK (outcome IN ('completed', 'failed')),
  error_code    TEXT    CHECK ((error_code IS NULL) = (outcome = 'completed')),
  started_at_ms INTEGER NOT NULL,
  duration_ms   INTEGER NOT NULL CHECK (duration_ms >= 0),
  PRIMARY KEY (orchestrator, run, step, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX executions_by_time ON executions (started_at_ms);
CREATE INDEX executions_by_agent ON executions (agent, started_at_ms);
