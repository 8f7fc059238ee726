-- The history of executions, for people to query: it is written after the fact and never in a request's way. The table of
-- 0001 had no way to tell a row that is written twice, and nothing was ever written to it.
-- Milliseconds are since 1970-01-01T00:00:00Z, UTC.
DROP TABLE executions;

-- An agent's work on an attempt: an attempt in the background may have several.
CREATE TABLE executions (
  id               TEXT    PRIMARY KEY, -- made from the run, the attempt, the number and the beginning
  orchestrator     TEXT    NOT NULL,
  run              TEXT    NOT NULL,
  step             TEXT    NOT NULL,
  attempt          INTEGER NOT NULL CHECK (attempt >= 1),
  execution        INTEGER NOT NULL CHECK (execution >= 1),
  agent            TEXT    NOT NULL,
  agent_version    TEXT    NOT NULL,
  route            TEXT    NOT NULL CHECK (route IN ('orchestrated', 'fallback', 'local')),
  outcome          TEXT,                -- completed, handed_off, failed, cancelled, lost; nothing while it is under way
  error_code       TEXT,
  started_at_ms    INTEGER NOT NULL,
  duration_ms      INTEGER CHECK (duration_ms >= 0),
  claimed_until_ms INTEGER NOT NULL,    -- without an outcome after this, whoever made it is gone
  input_tokens     INTEGER,
  output_tokens    INTEGER,
  trace_id         TEXT    NOT NULL,
  span_id          TEXT    NOT NULL,
  CHECK ((outcome IS NULL) = (duration_ms IS NULL))
) STRICT, WITHOUT ROWID;

-- In the order in which lists are read: newest first, the id where two began in the same millisecond.
CREATE INDEX executions_by_time ON executions (started_at_ms, id);
CREATE INDEX executions_by_agent ON executions (agent, started_at_ms, id);
CREATE INDEX executions_by_run ON executions (run, started_at_ms, id);
-- Few are asked for by these, and they are few: those that went wrong, and those of a bad day.
CREATE INDEX executions_by_outcome ON executions (outcome, started_at_ms, id) WHERE outcome <> 'completed';
CREATE INDEX executions_under_way ON executions (started_at_ms, id) WHERE outcome IS NULL;
CREATE INDEX executions_by_route ON executions (route, started_at_ms, id) WHERE route <> 'orchestrated';

-- An attempt with its answer, as its caller got it.
CREATE TABLE attempts (
  id             TEXT    PRIMARY KEY, -- the event that told of it
  orchestrator   TEXT    NOT NULL,
  run            TEXT    NOT NULL,
  step           TEXT    NOT NULL,
  attempt        INTEGER NOT NULL CHECK (attempt >= 1),
  agent          TEXT    NOT NULL,
  agent_version  TEXT    NOT NULL,
  route          TEXT    NOT NULL CHECK (route IN ('orchestrated', 'fallback', 'local')),
  outcome        TEXT    NOT NULL,
  error_code     TEXT,
  status         INTEGER NOT NULL,    -- of the answer, in HTTP
  executions     INTEGER NOT NULL CHECK (executions >= 0),
  accepted_at_ms INTEGER NOT NULL,
  ended_at_ms    INTEGER NOT NULL,
  trace_id       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_by_time ON attempts (accepted_at_ms);
CREATE INDEX attempts_by_agent ON attempts (agent, accepted_at_ms, executions);

-- Runs whose events a destination does not take: a run is here while it waits, and is taken off when it has caught up.
CREATE TABLE outbox_lags (
  destination  TEXT    NOT NULL,
  orchestrator TEXT    NOT NULL,
  run          TEXT    NOT NULL,
  health       TEXT    NOT NULL CHECK (health IN ('failing', 'paused')),
  waiting      INTEGER NOT NULL, -- events, when it was written
  oldest_at_ms INTEGER NOT NULL, -- since when the oldest of them waits
  last_error   TEXT,
  dropped      INTEGER NOT NULL, -- events of the run that were lost so far
  PRIMARY KEY (destination, orchestrator, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_lags_by_age ON outbox_lags (destination, oldest_at_ms);

-- Events that a destination will never take, or did not take for a day: an operator may send them again.
CREATE TABLE outbox_dead_letters (
  letter       TEXT    PRIMARY KEY, -- the event and the destination
  destination  TEXT    NOT NULL,
  orchestrator TEXT    NOT NULL,
  run          TEXT    NOT NULL,
  event        TEXT    NOT NULL,    -- JSON
  reason       TEXT    NOT NULL,
  dead_at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_dead_letters_by_age ON outbox_dead_letters (dead_at_ms, letter);
