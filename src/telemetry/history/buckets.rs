//! An agent's executions by time: a window in parts of the same length, as a chart draws it.

use serde::{Deserialize, Serialize};

use super::query::{Outcomes, Percentiles, Window};

/// So many parts can be asked for.
pub const BUCKETS_MAX: u32 = 96;

/// What the executions of an agent (`?1`) that began from `?2` on and before `?3` come to, by which of `?4` parts of that
/// time they began in: a [`BucketCount`] for each part that has any, in their order. One look at the index, whatever the
/// number of parts. The casts are for D1, which hands numbers over as floats.
pub const BUCKETS: &str = "\
WITH within AS (
  SELECT outcome, duration_ms,
    CAST((started_at_ms - ?2) * CAST(?4 AS INTEGER) / CAST(?3 - ?2 AS INTEGER) AS INTEGER) AS bucket
  FROM executions WHERE agent = ?1 AND started_at_ms >= ?2 AND started_at_ms < ?3
), ranked AS (
  SELECT bucket, outcome, duration_ms,
    row_number() OVER (PARTITION BY bucket, outcome IS NULL ORDER BY duration_ms) AS place,
    count(*) OVER (PARTITION BY bucket, outcome IS NULL) AS places
  FROM within
)
SELECT bucket,
  count(*) FILTER (WHERE outcome = 'completed') AS completed,
  count(*) FILTER (WHERE outcome = 'handed_off') AS handed_off,
  count(*) FILTER (WHERE outcome = 'failed') AS failed,
  count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
  count(*) FILTER (WHERE outcome = 'lost') AS lost,
  count(*) FILTER (WHERE outcome IS NULL) AS running,
  max(duration_ms) FILTER (WHERE outcome IS NOT NULL AND place = (places * 50 + 99) / 100) AS p50_ms,
  max(duration_ms) FILTER (WHERE outcome IS NOT NULL AND place = (places * 95 + 99) / 100) AS p95_ms,
  max(duration_ms) FILTER (WHERE outcome IS NOT NULL AND place = (places * 99 + 99) / 100) AS p99_ms
FROM ranked GROUP BY bucket ORDER BY bucket";

/// A part of the window, as [`BUCKETS`] answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct BucketCount {
    /// Which part, from 0.
    pub bucket: u32,
    pub completed: u64,
    pub handed_off: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub lost: u64,
    /// How many are under way, as far as is known.
    pub running: u64,
    /// Half of those that ended took no longer, in milliseconds; nothing where none ended.
    pub p50_ms: Option<u64>,
    /// 95 in 100 took no longer, in milliseconds.
    pub p95_ms: Option<u64>,
    /// 99 in 100 took no longer, in milliseconds.
    pub p99_ms: Option<u64>,
}

/// A part of the window, in the message `agent-metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// When it begins, in Unix milliseconds; it ends where the next one begins.
    pub from_ms: u64,
    /// How many of the executions that began in it ended.
    pub count: u64,
    /// By how they ended.
    pub outcomes: Outcomes,
    /// How many of them are under way, as far as is known.
    pub running: u64,
    /// How long those took that ended.
    pub duration_ms: Percentiles,
}

impl Bucket {
    /// All parts of the window, also those in which nothing began.
    #[must_use]
    pub fn all(window: Window, parts: u32, counted: &[BucketCount]) -> Vec<Self> {
        let span_ms = window.to_ms.saturating_sub(window.from_ms);
        let mut counted = counted.iter().peekable();
        (0..parts)
            .map(|bucket| {
                // The first moment that the statement counts there.
                let from_ms = window.from_ms + (u64::from(bucket) * span_ms).div_ceil(u64::from(parts));
                let found = counted.next_if(|count| count.bucket == bucket);
                Self::of(from_ms, found.copied().unwrap_or_default())
            })
            .collect()
    }

    fn of(from_ms: u64, count: BucketCount) -> Self {
        let outcomes = Outcomes {
            completed: count.completed,
            handed_off: count.handed_off,
            failed: count.failed,
            cancelled: count.cancelled,
            lost: count.lost,
        };
        Self {
            from_ms,
            count: outcomes.completed + outcomes.handed_off + outcomes.failed + outcomes.cancelled + outcomes.lost,
            outcomes,
            running: count.running,
            duration_ms: Percentiles {
                p50: count.p50_ms,
                p95: count.p95_ms,
                p99: count.p99_ms,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;
    use rusqlite::{Connection, params};

    use super::super::tests::{began, database, ended, write};
    use super::*;
    use crate::telemetry::event::Route;

    const WINDOW: Window = Window {
        from_ms: 1_000,
        to_ms: 2_000,
    };

    /// What the statement answers; as floats the numbers are what D1 binds.
    fn counted(database: &Connection, window: Window, parts: u32, as_floats: bool) -> Vec<BucketCount> {
        let number = |number: u64| match as_floats {
            #[expect(clippy::cast_precision_loss, reason = "as JavaScript has it")]
            true => Value::Real(number as f64),
            false => Value::Integer(i64::try_from(number).expect("a time")),
        };
        let parameters = params![
            "triage",
            number(window.from_ms),
            number(window.to_ms),
            number(u64::from(parts))
        ];
        let mut statement = database.prepare(BUCKETS).expect("a statement");
        let rows = statement.query_map(parameters, |row| {
            Ok(BucketCount {
                bucket: row.get("bucket")?,
                completed: row.get("completed")?,
                handed_off: row.get("handed_off")?,
                failed: row.get("failed")?,
                cancelled: row.get("cancelled")?,
                lost: row.get("lost")?,
                running: row.get("running")?,
                p50_ms: row.get("p50_ms")?,
                p95_ms: row.get("p95_ms")?,
                p99_ms: row.get("p99_ms")?,
            })
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }

    #[test]
    fn executions_are_counted_in_the_part_that_they_began_in() {
        let database = database();
        let mut events: Vec<_> = (1..=100_u64)
            .map(|number| {
                let outcome = if number <= 10 { "failed" } else { "completed" };
                ended(&format!("r{number}"), 1_100, number, outcome, Route::Local)
            })
            .collect();
        // At the edges: the first and the last moment of the window and of a part, and those beside it.
        for (run, at_ms) in [
            ("a", 999),
            ("b", 1_000),
            ("c", 1_249),
            ("d", 1_250),
            ("e", 1_999),
            ("f", 2_000),
        ] {
            events.push(ended(run, at_ms, 7, "lost", Route::Local));
        }
        events.push(began("under-way", 1_500));
        write(&database, &events);
        let lost = |bucket: u32| BucketCount {
            bucket,
            lost: 1,
            p50_ms: Some(7),
            p95_ms: Some(7),
            p99_ms: Some(7),
            ..BucketCount::default()
        };
        let expected = [
            BucketCount {
                completed: 90,
                failed: 10,
                lost: 2,
                p50_ms: Some(49),
                p95_ms: Some(95),
                p99_ms: Some(99),
                ..BucketCount::default()
            },
            lost(1),
            BucketCount {
                bucket: 2,
                running: 1,
                ..BucketCount::default()
            },
            lost(3),
        ];
        for as_floats in [false, true] {
            assert_eq!(
                counted(&database, WINDOW, 4, as_floats),
                expected,
                "as floats: {as_floats}"
            );
        }
    }

    #[test]
    fn a_part_begins_at_the_first_moment_that_is_counted_in_it() {
        let database = database();
        let events: Vec<_> = (1_000..2_000)
            .map(|at_ms| ended(&format!("r{at_ms}"), at_ms, 1, "completed", Route::Local))
            .collect();
        write(&database, &events);
        for parts in [1, 7, 24, BUCKETS_MAX] {
            for as_floats in [false, true] {
                let counted = counted(&database, WINDOW, parts, as_floats);
                let all = Bucket::all(WINDOW, parts, &counted);
                assert_eq!(all.len(), parts as usize);
                let ends = all.iter().skip(1).map(|part| part.from_ms).chain([WINDOW.to_ms]);
                for (part, to_ms) in all.iter().zip(ends) {
                    assert_eq!(part.count, to_ms - part.from_ms, "{parts} parts: {part:?}");
                }
            }
        }
    }

    #[test]
    fn parts_in_which_nothing_began_are_told_as_well() {
        let counted = [BucketCount {
            bucket: 1,
            failed: 2,
            p50_ms: Some(5),
            ..BucketCount::default()
        }];
        let all = Bucket::all(WINDOW, 3, &counted);
        let told: Vec<_> = all
            .iter()
            .map(|part| (part.from_ms, part.count, part.duration_ms.p50))
            .collect();
        assert_eq!(told, [(1_000, 0, None), (1_334, 2, Some(5)), (1_667, 0, None)]);
        // More parts than the window has moments.
        let short = Window { from_ms: 5, to_ms: 6 };
        let begins: Vec<_> = Bucket::all(short, 3, &[]).iter().map(|part| part.from_ms).collect();
        assert_eq!(begins, [5, 6, 6]);
    }

    #[test]
    fn the_index_of_the_agent_is_used() {
        let database = database();
        let mut statement = database
            .prepare(&format!("EXPLAIN QUERY PLAN {BUCKETS}"))
            .expect("a plan");
        let rows = statement.query_map(params!["triage", 1, 2, 3], |row| row.get::<_, String>("detail"));
        let plan: Vec<_> = rows.expect("rows").map(|row| row.expect("a row")).collect();
        let plan = plan.join("; ");
        assert!(
            plan.contains("executions_by_agent") && !plan.contains("SCAN executions"),
            "{plan}"
        );
    }
}
