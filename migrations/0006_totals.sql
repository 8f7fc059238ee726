-- What executions came to since the database was made, for a scraper: counters that never go back, whatever the retention
-- of the executions removes. Triggers count an execution in the very statement that gives it its outcome, which happens once
-- however often its event arrives.

-- The upper bounds of the durations that are counted together, in milliseconds. The last one is longer than all.
CREATE TABLE duration_bounds (le_ms INTEGER PRIMARY KEY) STRICT;

INSERT INTO duration_bounds (le_ms) VALUES (10), (20), (40), (80), (160), (320), (640), (1280), (2560), (5120), (10240),
  (20480), (40960), (81920), (163840), (327680), (9007199254740991);

CREATE TABLE execution_totals (
  agent         TEXT    NOT NULL,
  route         TEXT    NOT NULL,
  outcome       TEXT    NOT NULL,
  le_ms         INTEGER NOT NULL, -- of duration_bounds: the smallest that the duration does not exceed
  count         INTEGER NOT NULL,
  duration_ms   INTEGER NOT NULL, -- of all of them together, as the tokens below
  input_tokens  INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (agent, route, outcome, le_ms)
) STRICT, WITHOUT ROWID;

INSERT INTO execution_totals
SELECT agent, route, outcome, (SELECT min(le_ms) FROM duration_bounds WHERE le_ms >= duration_ms) AS bound,
  count(*), sum(duration_ms), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
FROM executions WHERE outcome IS NOT NULL GROUP BY agent, route, outcome, bound;

CREATE TRIGGER executions_that_came_with_their_end AFTER INSERT ON executions WHEN NEW.outcome IS NOT NULL
BEGIN
  INSERT INTO execution_totals
  VALUES (NEW.agent, NEW.route, NEW.outcome, (SELECT min(le_ms) FROM duration_bounds WHERE le_ms >= NEW.duration_ms),
    1, NEW.duration_ms, coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0))
  ON CONFLICT DO UPDATE SET count = count + 1, duration_ms = duration_ms + excluded.duration_ms,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens;
END;

CREATE TRIGGER executions_that_ended AFTER UPDATE OF outcome ON executions
WHEN OLD.outcome IS NULL AND NEW.outcome IS NOT NULL
BEGIN
  INSERT INTO execution_totals
  VALUES (NEW.agent, NEW.route, NEW.outcome, (SELECT min(le_ms) FROM duration_bounds WHERE le_ms >= NEW.duration_ms),
    1, NEW.duration_ms, coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0))
  ON CONFLICT DO UPDATE SET count = count + 1, duration_ms = duration_ms + excluded.duration_ms,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens;
END;
