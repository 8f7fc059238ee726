//! Totals for a scraper: what executions came to since the database was made, and what the operator's lists hold now.

use serde::Deserialize;

/// The upper bounds of the durations that are counted together, in milliseconds: those of `migrations/0006_totals.sql`,
/// but for the last, [`LONGER_MS`].
pub const DURATION_BOUNDS_MS: [u64; 16] = [
    10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920, 163_840, 327_680,
];
/// The bound of what took longer than any of [`DURATION_BOUNDS_MS`].
pub const LONGER_MS: u64 = (1 << 53) - 1;

/// All [`ExecutionTotal`]s: at most 255 for each agent that there ever was. None is left out, so that no counter seems to go
/// back.
pub const EXECUTION_TOTALS: &str = "SELECT * FROM execution_totals";

/// The [`OutboxTotal`]s.
pub const OUTBOX_TOTALS: &str = "\
SELECT destination, sum(runs) AS runs, sum(waiting) AS waiting, min(oldest_at_ms) AS oldest_at_ms,
  sum(dropped) AS dropped, sum(dead) AS dead
FROM (
  SELECT destination, 1 AS runs, waiting, oldest_at_ms, dropped, 0 AS dead FROM outbox_lags
  UNION ALL SELECT destination, 0, 0, NULL, 0, 1 FROM outbox_dead_letters
) GROUP BY destination ORDER BY destination";

/// How many callbacks were given up and are on the operator's list, which has notices for channels as well: a
/// [`DeadCallbacks`].
pub const DEAD_CALLBACKS: &str = "SELECT count(*) AS count FROM dead_letters WHERE url NOT LIKE 'channel:%'";

/// All totals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// What executions came to.
    pub executions: Vec<ExecutionTotal>,
    /// What the operator's list of the outbox holds.
    pub outbox: Vec<OutboxTotal>,
    /// How many callbacks were given up and not sent again.
    pub dead_callbacks: u64,
}

/// Executions that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExecutionTotal {
    /// The agent that was asked for.
    pub agent: String,
    /// Who coordinated them.
    pub route: String,
    /// How they ended.
    pub outcome: String,
    /// The bound that their durations do not exceed, in milliseconds.
    pub le_ms: u64,
    /// How many.
    pub count: u64,
    /// How long they took together, in milliseconds.
    pub duration_ms: u64,
    /// Tokens that the models read, as far as agents told.
    pub input_tokens: u64,
    /// Tokens that the models wrote, as far as agents told.
    pub output_tokens: u64,
}

/// What waits for a destination, and what it will never have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct OutboxTotal {
    /// Its name.
    pub destination: String,
    /// How many runs wait for it: those on the list, which are the ones whose last try failed.
    pub runs: u64,
    /// How many of their events waited when it was written.
    pub waiting: u64,
    /// Since when the oldest of them does, in Unix milliseconds.
    pub oldest_at_ms: Option<u64>,
    /// How many events these runs have lost.
    pub dropped: u64,
    /// How many events were given up and not sent again.
    pub dead: u64,
}

/// The row of [`DEAD_CALLBACKS`].
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct DeadCallbacks {
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::DELETE_OLD_EXECUTIONS;
    use super::super::tests::{began, database, ended, write};
    use super::*;
    use crate::telemetry::event::Route;

    /// Route, outcome, bound, count, duration and tokens.
    type Row = (String, String, u64, u64, u64, u64);

    fn totals(database: &Connection) -> Vec<Row> {
        let mut statement = database.prepare(EXECUTION_TOTALS).expect("a statement");
        let rows = statement.query_map([], |row| {
            let (count, duration_ms, tokens) = (row.get("count")?, row.get("duration_ms")?, row.get("input_tokens")?);
            Ok((
                row.get("route")?,
                row.get("outcome")?,
                row.get("le_ms")?,
                count,
                duration_ms,
                tokens,
            ))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }

    fn row(route: &str, outcome: &str, (le_ms, count, duration_ms, tokens): (u64, u64, u64, u64)) -> Row {
        (route.into(), outcome.into(), le_ms, count, duration_ms, tokens)
    }

    #[test]
    fn an_execution_is_counted_once_however_often_and_in_whatever_order_it_is_told() {
        let (begin, end) = (began("r", 100), ended("r", 100, 50, "completed", Route::Orchestrated));
        let late = ended("r", 100, 90, "lost", Route::Orchestrated);
        for order in [
            vec![&begin, &end, &end, &begin],
            vec![&end, &begin, &end],
            vec![&begin, &end, &late],
            vec![&end],
        ] {
            let database = database();
            for event in order {
                write(&database, std::slice::from_ref(event));
            }
            assert_eq!(totals(&database), [row("orchestrated", "completed", (80, 1, 50, 3))]);
        }
        let database = database();
        write(&database, &[begin]);
        assert_eq!(totals(&database), [], "it has not ended");
    }

    #[test]
    fn executions_are_counted_by_route_outcome_and_bound() {
        let database = database();
        let long = DURATION_BOUNDS_MS[15];
        for (run, duration_ms, outcome, route) in [
            ("a", 0, "completed", Route::Local),
            ("b", 10, "completed", Route::Local),
            ("c", 11, "completed", Route::Local),
            ("d", long, "failed", Route::Fallback),
            ("e", long + 1, "failed", Route::Fallback),
        ] {
            write(&database, &[ended(run, 100, duration_ms, outcome, route)]);
        }
        assert_eq!(
            totals(&database),
            [
                row("fallback", "failed", (long, 1, long, 3)),
                row("fallback", "failed", (LONGER_MS, 1, long + 1, 3)),
                row("local", "completed", (10, 2, 10, 6)),
                row("local", "completed", (20, 1, 11, 3)),
            ]
        );
    }

    #[test]
    fn no_total_goes_back_when_its_executions_are_removed() {
        let database = database();
        let end = |run: &str| ended(run, 100, 50, "completed", Route::Local);
        write(&database, &[end("a"), end("b")]);
        database.execute(DELETE_OLD_EXECUTIONS, [1_000, 9]).expect("deleted");
        assert_eq!(totals(&database), [row("local", "completed", (80, 2, 100, 6))]);
        write(&database, &[end("c")]);
        assert_eq!(totals(&database), [row("local", "completed", (80, 3, 150, 9))]);
    }

    #[test]
    fn what_was_there_before_is_counted() {
        let database = Connection::open_in_memory().expect("SQLite");
        let apply = |migration| database.execute_batch(migration).expect("a migration");
        apply(include_str!("../../../migrations/0001_executions.sql"));
        apply(include_str!("../../../migrations/0004_history.sql"));
        // Today's statement names its column, which the totals do not know.
        apply(include_str!("../../../migrations/0007_cost.sql"));
        write(
            &database,
            &[ended("a", 100, 50, "completed", Route::Local), began("b", 100)],
        );
        apply(include_str!("../../../migrations/0006_totals.sql"));
        assert_eq!(totals(&database), [row("local", "completed", (80, 1, 50, 3))]);
    }

    #[test]
    fn the_bounds_are_those_of_the_migration() {
        let database = database();
        let mut statement = database
            .prepare("SELECT le_ms FROM duration_bounds")
            .expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        let bounds: Vec<u64> = rows.map(|bound| bound.expect("a number")).collect();
        assert_eq!(bounds, [&DURATION_BOUNDS_MS[..], &[LONGER_MS]].concat());
    }

    #[test]
    fn what_waits_is_summed_by_destination() {
        let database = database();
        database
            .execute_batch(
                "INSERT INTO outbox_lags VALUES ('otlp', 'acme', 'a', 'failing', 3, 700, NULL, 1),
                   ('otlp', 'acme', 'b', 'paused', 4, 500, NULL, 2);
                 INSERT INTO outbox_dead_letters VALUES ('e1.otlp', 'otlp', 'acme', 'a', '{}', 'x', 9),
                   ('e1.orchestrator', 'orchestrator', 'acme', 'a', '{}', 'x', 9);",
            )
            .expect("rows");
        let mut statement = database.prepare(OUTBOX_TOTALS).expect("a statement");
        let rows = statement.query_map([], |row| {
            Ok(OutboxTotal {
                destination: row.get("destination")?,
                runs: row.get("runs")?,
                waiting: row.get("waiting")?,
                oldest_at_ms: row.get("oldest_at_ms")?,
                dropped: row.get("dropped")?,
                dead: row.get("dead")?,
            })
        });
        let found: Vec<_> = rows.expect("rows").map(|row| row.expect("a row")).collect();
        let expected = [
            OutboxTotal {
                destination: "orchestrator".into(),
                dead: 1,
                ..OutboxTotal::default()
            },
            OutboxTotal {
                destination: "otlp".into(),
                runs: 2,
                waiting: 7,
                oldest_at_ms: Some(500),
                dropped: 3,
                dead: 1,
            },
        ];
        assert_eq!(found, expected);
    }
}
