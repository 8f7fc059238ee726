-- Version 4: the traces that handed runs are part of.

-- The `traceparent` of the call that handed the run on; NULL where it named none.
ALTER TABLE handed_runs ADD COLUMN traceparent TEXT;
