-- Callbacks that were given up, for the operator. The run's Durable Object keeps the callback itself.

CREATE TABLE dead_letters (
  delivery     TEXT PRIMARY KEY, -- the webhook-id
  orchestrator TEXT NOT NULL,
  run          TEXT NOT NULL,
  step         TEXT NOT NULL,
  url          TEXT NOT NULL,
  tries        INTEGER NOT NULL,
  last_error   TEXT NOT NULL,
  dead_at_ms   INTEGER NOT NULL  -- Unix milliseconds
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_by_age ON dead_letters (dead_at_ms, delivery);
