-- Version 2: steps that are accepted first and end later, and state that a run carries.

-- 1 where the step is invoked with `Prefer: respond-async`.
ALTER TABLE steps ADD COLUMN in_background INTEGER NOT NULL DEFAULT 0;
-- The gateway that accepted the current attempt: while it stands here, the step waits for its outcome.
ALTER TABLE steps ADD COLUMN accepted_by TEXT;
-- How a verified outcome came; steps that ended before this version have none.
ALTER TABLE steps ADD COLUMN via TEXT CHECK (via IN ('answer', 'callback', 'poll'));

-- The state that the run brings along, JSON text: a retry repeats its bytes. Then what the gateway called it.
ALTER TABLE runs ADD COLUMN state TEXT;
ALTER TABLE runs ADD COLUMN state_version INTEGER;
ALTER TABLE runs ADD COLUMN state_digest TEXT;

-- What gateways delivered. The id is the same over a delivery's retries.
CREATE TABLE callbacks (
  id             TEXT PRIMARY KEY, -- webhook-id
  run            TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  step           TEXT NOT NULL,
  attempt        INTEGER NOT NULL,
  type           TEXT NOT NULL,
  status         INTEGER NOT NULL, -- of the answer, as in HTTP
  body           TEXT NOT NULL, -- of the answer, JSON
  received_at_ms INTEGER NOT NULL, -- when it came first
  receipts       INTEGER NOT NULL -- how often it came
) STRICT, WITHOUT ROWID;
CREATE INDEX callbacks_by_step ON callbacks (run, step, attempt);
