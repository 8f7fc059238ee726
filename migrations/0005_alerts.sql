-- What is kept of the alerts that the gateway declares: how each stands, and the notices that it still has to tell. A row
-- is written under its version alone: of two writers at once the second one is told, and reads again.
CREATE TABLE alerts (
  alert   TEXT    PRIMARY KEY, -- its id in gateway.json
  version INTEGER NOT NULL CHECK (version >= 1),
  state   TEXT    NOT NULL     -- JSON
) STRICT, WITHOUT ROWID;
