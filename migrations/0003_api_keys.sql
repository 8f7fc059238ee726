-- API keys of customers, for the operator. What admits a call is the key's Durable Object: here is nothing secret, and no
-- digest of a secret either.

CREATE TABLE api_keys (
  id            TEXT PRIMARY KEY,
  name          TEXT NOT NULL,
  agents        TEXT NOT NULL,    -- a JSON array of ids; ["*"] is all
  created_at_ms INTEGER NOT NULL, -- Unix milliseconds, as the other two
  expires_at_ms INTEGER,
  revoked_at_ms INTEGER,
  burst         INTEGER NOT NULL,
  per_minute    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_age ON api_keys (created_at_ms, id);
