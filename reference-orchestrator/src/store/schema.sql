-- Version 1. Times are Unix milliseconds where a name ends in _ms, Unix seconds where it ends in _s.

-- Apart from the registrations, so that a forgotten registration does not take the fence with it.
CREATE TABLE generations (
  gateway    TEXT PRIMARY KEY,
  generation INTEGER NOT NULL
) STRICT;

CREATE TABLE registrations (
  registration        TEXT PRIMARY KEY,
  gateway             TEXT NOT NULL,
  origin              TEXT NOT NULL,
  manifest_digest     TEXT NOT NULL,
  generation          INTEGER NOT NULL,
  agents              TEXT NOT NULL, -- JSON array
  health              TEXT,
  idempotency_key     TEXT NOT NULL,
  body_digest         TEXT NOT NULL,
  registered_at_ms    INTEGER NOT NULL,
  lease_expires_at_ms INTEGER NOT NULL,
  ended               TEXT CHECK (ended IN ('deregistered', 'lapsed', 'replaced'))
) STRICT;
CREATE UNIQUE INDEX one_current_registration ON registrations (gateway) WHERE ended IS NULL;

CREATE TABLE nonces (
  key_id       TEXT NOT NULL,
  nonce        TEXT NOT NULL,
  expires_at_s INTEGER NOT NULL,
  PRIMARY KEY (key_id, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (expires_at_s);

CREATE TABLE runs (
  number         INTEGER PRIMARY KEY, -- the order in which they came
  run            TEXT NOT NULL UNIQUE,
  status         TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
  created_at_ms  INTEGER NOT NULL,
  deadline_at_ms INTEGER NOT NULL,
  finished_at_ms INTEGER
) STRICT;

CREATE TABLE steps (
  run      TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  step     TEXT NOT NULL,
  agent    TEXT NOT NULL,
  input    TEXT NOT NULL, -- JSON
  attempt  INTEGER NOT NULL,
  members  TEXT NOT NULL, -- of the request's body, all but the attempt: text, so that a retry repeats its bytes
  status   TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'skipped')),
  verified INTEGER NOT NULL,
  outcome  TEXT, -- JSON
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE invocations (
  number  INTEGER PRIMARY KEY,
  run     TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  step    TEXT NOT NULL,
  details TEXT NOT NULL -- JSON, the struct Invocation
) STRICT;
CREATE INDEX invocations_by_run ON invocations (run, step);
