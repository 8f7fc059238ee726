//! The rows, and the statements on SQLite with the tables that the migrations make.

use rusqlite::{Connection, params_from_iter};

use super::query::Percentiles;
use super::*;
use crate::telemetry::event::{Ending, Hop, Route, Usage};

const HOUR_MS: u64 = 3_600_000;

pub(super) fn database() -> Connection {
    let database = Connection::open_in_memory().expect("SQLite");
    for migration in [
        include_str!("../../../migrations/0001_executions.sql"),
        include_str!("../../../migrations/0002_dead_letters.sql"),
        include_str!("../../../migrations/0003_api_keys.sql"),
        include_str!("../../../migrations/0004_history.sql"),
        include_str!("../../../migrations/0005_alerts.sql"),
        include_str!("../../../migrations/0006_totals.sql"),
        include_str!("../../../migrations/0007_cost.sql"),
    ] {
        database.execute_batch(migration).expect("a migration");
    }
    database
}

pub(super) fn write(database: &Connection, events: &[Event]) {
    let rows = rows_of(events);
    let json = |rows: serde_json::Result<String>| rows.expect("JSON");
    let executions = json(serde_json::to_string(&rows.executions));
    database.execute(WRITE_EXECUTIONS, [executions]).expect("executions");
    let attempts = json(serde_json::to_string(&rows.attempts));
    database.execute(WRITE_ATTEMPTS, [attempts]).expect("attempts");
}

fn event(run: &str, at_ms: u64, what: What) -> Event {
    Event {
        id: format!("evt_{run}_{at_ms}"),
        at_ms,
        orchestrator: "acme".into(),
        run: run.into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        parent_span: None,
        what,
    }
}

fn subject(route: Route) -> Subject {
    Subject {
        ordinal: 1,
        step: "s".into(),
        attempt: 1,
        agent: "triage".into(),
        agent_version: "1.0.0".into(),
        parent: None,
        route,
        background: false,
    }
}

pub(super) fn began(run: &str, at_ms: u64) -> Event {
    let what = What::ExecutionBegan {
        subject: subject(Route::Orchestrated),
        execution: 1,
        claimed_until_ms: at_ms + 9_000,
    };
    event(run, at_ms, what)
}

pub(super) fn ended(run: &str, started_at_ms: u64, duration_ms: u64, outcome: &str, route: Route) -> Event {
    let what = What::ExecutionEnded {
        subject: subject(route),
        execution: 1,
        claimed_until_ms: started_at_ms + 9_000,
        started_at_ms,
        ending: Ending {
            outcome: outcome.into(),
            error_code: (outcome == "failed").then(|| "boom".into()),
        },
        hops: Vec::new(),
        usage: Usage {
            input_tokens: Some(3),
            output_tokens: None,
            cost_micros: Some(40),
            cached: false,
        },
        operations: Vec::new(),
    };
    event(run, started_at_ms + duration_ms, what)
}

fn attempted(run: &str, at_ms: u64, executions: u32) -> Event {
    let what = What::AttemptEnded {
        subject: subject(Route::Orchestrated),
        accepted_at_ms: at_ms,
        executions,
        status: 200,
        ending: Ending {
            outcome: "completed".into(),
            error_code: None,
        },
    };
    event(run, at_ms + 5, what)
}

/// A row of this run.
pub(super) fn execution_named(run: &str) -> ExecutionRow {
    let rows = rows_of([&ended(run, 100, 50, "completed", Route::Orchestrated)]);
    rows.executions.into_iter().next().expect("a row")
}

fn bound(parameter: &Parameter) -> rusqlite::types::Value {
    match parameter {
        Parameter::Text(text) => text.clone().into(),
        Parameter::Number(number) => i64::try_from(*number).expect("a time").into(),
    }
}

/// The runs that a filter selects, in their order.
fn runs(
    database: &Connection,
    filter: &Filter,
    before: Option<(u64, &str)>,
    limit: usize,
) -> Vec<(u64, String, String)> {
    let (statement, parameters) = select(filter, before, limit);
    let mut statement = database.prepare(&statement).expect("a statement");
    let rows = statement.query_map(params_from_iter(parameters.iter().map(bound)), |row| {
        Ok((row.get("started_at_ms")?, row.get("id")?, row.get("run")?))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn names(rows: &[(u64, String, String)]) -> Vec<&str> {
    rows.iter().map(|(_, _, run)| run.as_str()).collect()
}

#[test]
fn an_execution_is_one_row_however_often_and_in_whatever_order_it_is_told() {
    let (begin, end) = (began("r", 100), ended("r", 100, 50, "completed", Route::Orchestrated));
    let late = ended("r", 100, 90, "lost", Route::Orchestrated);
    for order in [
        vec![&begin, &end, &begin],
        vec![&end, &begin, &end],
        vec![&begin, &begin, &end, &late],
    ] {
        let database = database();
        for event in order {
            write(&database, std::slice::from_ref(event));
        }
        let found: (u64, String, u64, u64, u64) = database
            .query_row(
                "SELECT count(*), outcome, duration_ms, input_tokens, cost_micros FROM executions",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
            )
            .expect("a row");
        assert_eq!(found, (1, "completed".to_owned(), 50, 3, 40));
    }
    // Told together, there is no need for the beginning.
    assert_eq!(rows_of([&begin, &end]).executions.len(), 1);
    // A run of the same name, later, is another one.
    assert_eq!(rows_of([&begin, &began("r", 101)]).executions.len(), 2);
}

#[test]
fn an_attempt_is_one_row() {
    let database = database();
    let attempt = attempted("r", 100, 2);
    write(&database, &[attempt.clone(), attempt.clone()]);
    write(&database, &[attempt]);
    let found: (u64, u64) = database
        .query_row("SELECT count(*), max(executions) FROM attempts", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("a row");
    assert_eq!(found, (1, 2));
}

#[test]
fn lists_are_filtered_and_paged() {
    let database = database();
    write(
        &database,
        &[
            ended("a", 100, 1, "completed", Route::Orchestrated),
            ended("b", 200, 1, "failed", Route::Fallback),
            ended("c", 200, 1, "completed", Route::Local),
            began("d", 300),
        ],
    );
    let check = |filter: Filter, expected: &[&str]| {
        let found = runs(&database, &filter, None, 9);
        let mut names = names(&found);
        // Two began in the same millisecond.
        names.sort_unstable();
        assert_eq!(names, expected, "{filter:?}");
    };
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    check(all(), &["a", "b", "c", "d"]);
    check(
        Filter {
            agent: text("triage"),
            ..all()
        },
        &["a", "b", "c", "d"],
    );
    check(
        Filter {
            agent: text("redact"),
            ..all()
        },
        &[],
    );
    check(
        Filter {
            run: text("b"),
            ..all()
        },
        &["b"],
    );
    check(
        Filter {
            orchestrator: text("other"),
            ..all()
        },
        &[],
    );
    check(
        Filter {
            route: text("fallback"),
            ..all()
        },
        &["b"],
    );
    check(
        Filter {
            outcome: text("completed"),
            ..all()
        },
        &["a", "c"],
    );
    check(
        Filter {
            outcome: text("running"),
            ..all()
        },
        &["d"],
    );
    check(
        Filter {
            from_ms: Some(200),
            to_ms: Some(300),
            ..all()
        },
        &["b", "c"],
    );
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = runs(
            &database,
            &all(),
            before.as_ref().map(|(at_ms, id): &(u64, String)| (*at_ms, id.as_str())),
            1,
        );
        let Some((at_ms, id, run)) = page.into_iter().next() else {
            break;
        };
        paged.push(run);
        before = Some((at_ms, id));
    }
    assert_eq!((paged.len(), paged[0].as_str(), paged[3].as_str()), (4, "d", "a"));
}

#[test]
fn metrics_are_of_what_ended_in_the_window() {
    let database = database();
    let mut events: Vec<_> = (1..=100_u64)
        .map(|number| {
            let outcome = if number <= 10 { "failed" } else { "completed" };
            let route = if number <= 25 {
                Route::Fallback
            } else {
                Route::Orchestrated
            };
            ended(&format!("r{number}"), HOUR_MS, number, outcome, route)
        })
        .collect();
    events.push(ended("before", HOUR_MS - 1, 7_000, "completed", Route::Orchestrated));
    events.push(ended("after", 2 * HOUR_MS, 7_000, "completed", Route::Orchestrated));
    events.push(began("under-way", HOUR_MS));
    events.extend([attempted("r1", HOUR_MS, 1), attempted("r2", HOUR_MS, 3)]);
    write(&database, &events);
    let window = Window {
        from_ms: HOUR_MS,
        to_ms: 2 * HOUR_MS,
    };
    let count = |agent: &str| {
        let mut statement = database.prepare(METRICS).expect("a statement");
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let row = statement.query_row(rusqlite::params![agent, window.from_ms, window.to_ms], |row| {
            let value = |place: usize| row.get::<_, Option<u64>>(place);
            names
                .iter()
                .enumerate()
                .map(|(place, name)| Ok((name.clone(), value(place)?.into())))
                .collect()
        });
        let row: serde_json::Map<String, serde_json::Value> = row.expect("a row");
        serde_json::from_value::<Count>(row.into()).expect("a count")
    };
    let metrics = Metrics::of("triage", window, &count("triage"));
    assert_eq!(
        (metrics.count, metrics.outcomes.completed, metrics.outcomes.failed),
        (100, 90, 10)
    );
    assert_eq!((metrics.success_rate, metrics.error_rate), (Some(0.9), Some(0.1)));
    assert_eq!((metrics.fallback_share, metrics.running), (Some(0.25), 1));
    let Percentiles { p50, p95, p99 } = metrics.duration_ms;
    assert_eq!((p50, p95, p99), (Some(50), Some(95), Some(99)));
    assert_eq!((metrics.tokens.input, metrics.tokens.output), (Some(300), None));
    assert_eq!(metrics.cost_micros, Some(4_000));
    assert_eq!((metrics.attempts.count, metrics.attempts.retried), (2, 1));
    let ended = |agent: Option<&str>| {
        let mut statement = database.prepare(&super::ended(agent.is_some())).expect("a statement");
        let mut parameters = vec![
            bound(&Parameter::Number(window.from_ms)),
            bound(&Parameter::Number(window.to_ms)),
        ];
        parameters.extend(agent.map(|agent| bound(&Parameter::Text(agent.to_owned()))));
        let row = statement.query_row(params_from_iter(parameters), |row| {
            Ok(Ended {
                count: row.get("count")?,
                wrong: row.get("wrong")?,
                p95_ms: row.get("p95_ms")?,
                p99_ms: row.get("p99_ms")?,
            })
        });
        row.expect("a row")
    };
    let all = Ended {
        count: 100,
        wrong: 10,
        p95_ms: Some(95),
        p99_ms: Some(99),
    };
    assert_eq!(
        (ended(None), ended(Some("triage")), ended(Some("redact"))),
        (all, all, Ended::default())
    );
    let last = |agent: &str| database.query_row(LAST_EXECUTION, [agent], |row| row.get::<_, Option<u64>>(0));
    assert_eq!((last("triage"), last("redact")), (Ok(Some(2 * HOUR_MS)), Ok(None)));
    let none = Metrics::of("redact", window, &count("redact"));
    assert_eq!((none.count, none.success_rate, none.duration_ms.p50), (0, None, None));
    assert_eq!(none.cost_micros, None);
}

#[test]
fn every_question_has_its_index() {
    let database = database();
    let plan = |statement: &str, parameters: &[Parameter]| -> String {
        let mut statement = database
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .expect("a plan");
        let rows = statement.query_map(params_from_iter(parameters.iter().map(bound)), |row| {
            row.get::<_, String>("detail")
        });
        rows.expect("rows")
            .map(|row| row.expect("a row"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    for (filter, index) in [
        (all(), "executions_by_time"),
        (
            Filter {
                from_ms: Some(1),
                to_ms: Some(2),
                ..all()
            },
            "executions_by_time",
        ),
        (
            Filter {
                agent: text("triage"),
                ..all()
            },
            "executions_by_agent",
        ),
        (
            Filter {
                run: text("r"),
                ..all()
            },
            "executions_by_run",
        ),
        (
            Filter {
                outcome: text("running"),
                ..all()
            },
            "executions_under_way",
        ),
    ] {
        let (statement, parameters) = select(&filter, Some((9, "x")), 10);
        let plan = plan(&statement, &parameters);
        assert!(plan.contains(index), "{filter:?}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{filter:?} is sorted: {plan}");
    }
    let window = [
        Parameter::Text("triage".into()),
        Parameter::Number(1),
        Parameter::Number(2),
    ];
    let metrics = plan(METRICS, &window);
    assert!(
        metrics.contains("executions_by_agent") && metrics.contains("attempts_by_agent"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("SCAN executions") && !metrics.contains("SCAN attempts"),
        "{metrics}"
    );
    for (statement, parameters, index) in [
        (super::ended(false), &window[1..], "executions_by_time"),
        (
            super::ended(true),
            &[Parameter::Number(1), Parameter::Number(2), Parameter::Text("a".into())],
            "executions_by_agent",
        ),
        (LAST_EXECUTION.to_owned(), &window[..1], "executions_by_agent"),
    ] {
        let plan = plan(&statement, parameters);
        assert!(plan.contains(index) && !plan.contains("SCAN executions"), "{plan}");
    }
    for (statement, index) in [
        (DELETE_OLD_EXECUTIONS, "executions_by_time"),
        (DELETE_OLD_ATTEMPTS, "attempts_by_time"),
    ] {
        let plan = plan(statement, &[Parameter::Number(1), Parameter::Number(2)]);
        assert!(plan.contains(index), "{plan}");
    }
}

#[test]
fn what_is_old_goes_a_part_at_a_time() {
    let database = database();
    let old: Vec<_> = (0..3)
        .map(|number| ended(&format!("r{number}"), number, 1, "completed", Route::Local))
        .collect();
    write(&database, &old);
    write(&database, &[attempted("r", 1, 1)]);
    let delete =
        |statement, before_ms: u64, limit: u64| database.execute(statement, [before_ms, limit]).expect("deletes");
    assert_eq!(delete(DELETE_OLD_EXECUTIONS, 2, 1), 1);
    assert_eq!(delete(DELETE_OLD_EXECUTIONS, 2, 9), 1);
    assert_eq!(delete(DELETE_OLD_EXECUTIONS, 2, 9), 0);
    assert_eq!(delete(DELETE_OLD_ATTEMPTS, 2, 9), 1);
    assert_eq!(names(&runs(&database, &Filter::default(), None, 9)), ["r2"]);
}

#[test]
fn rows_that_are_refused_are_divided_and_all_else_is_waited_for() {
    let check = |error: &str, is_refused: bool| {
        let verdict = verdict_on_rows(error);
        let divided = matches!(verdict, Verdict::Refused { divisible: true, .. });
        assert_eq!(divided, is_refused, "{verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Retry { .. }), !is_refused, "{verdict:?}");
    };
    check(
        "D1_ERROR: CHECK constraint failed: attempt >= 1: SQLITE_CONSTRAINT",
        true,
    );
    check(
        "D1_ERROR: cannot store TEXT value in INTEGER column: SQLITE_CONSTRAINT",
        true,
    );
    check("D1_ERROR: datatype mismatch: SQLITE_MISMATCH", true);
    check("D1_ERROR: string or blob too big: SQLITE_TOOBIG", true);
    check("D1_ERROR: no such table: executions: SQLITE_ERROR", false);
    check("D1_ERROR: Network connection lost.", false);
}

#[test]
fn who_stands_in_does_not_make_up_for_the_failure_of_the_agent_that_was_asked() {
    let mut stood_in = ended("r", 100, 50, "completed", Route::Orchestrated);
    if let What::ExecutionEnded { hops, .. } = &mut stood_in.what {
        let hop = |error: Option<&str>| Hop {
            error: error.map(str::to_owned),
            ..Hop::default()
        };
        *hops = vec![hop(None), hop(Some("first")), hop(Some("second"))];
    }
    let row = rows_of([&stood_in]).executions.remove(0);
    assert_eq!(
        (row.outcome.as_deref(), row.error_code.as_deref()),
        (Some("failed"), Some("first"))
    );
    assert!(stood_in.is_notable(), "told whatever the sampling");
}

#[test]
fn the_queues_line_says_since_when_the_oldest_waits_and_a_runs_line_what_it_says_last() {
    let database = database();
    let write = |run: &str, oldest_at_ms: i64| {
        let row = ("otlp", "", run, "failing", 1, oldest_at_ms, "status 503", 0);
        database.execute(WRITE_LAG, row).expect("a line");
    };
    for run in ["", "r"] {
        write(run, 100);
        // A later batch of the queue sees fresh events alone.
        write(run, 200);
    }
    let oldest = |run: &str| -> i64 {
        let query = "SELECT oldest_at_ms FROM outbox_lags WHERE run = ?";
        database.query_row(query, [run], |row| row.get(0)).expect("a line")
    };
    assert_eq!((oldest(""), oldest("r")), (100, 200));
}

#[test]
fn old_letters_go_the_oldest_first_and_notices_are_no_callbacks() {
    let database = database();
    for (delivery, url, dead_at_ms) in [
        ("a", "https://o.example/", 1),
        ("b", "channel:ops", 2),
        ("c", "https://o.example/", 3),
    ] {
        let row = (delivery, "o", "r", "s", url, 1, "410", dead_at_ms);
        let query = "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        database.execute(query, row).expect("a letter");
    }
    let count = || -> u64 {
        database
            .query_row(DEAD_CALLBACKS, [], |row| row.get(0))
            .expect("a count")
    };
    assert_eq!(count(), 2);
    assert_eq!(database.execute(DELETE_OLD_LETTERS, (3, 1)).expect("a statement"), 1);
    assert_eq!(count(), 1, "the oldest, which was a callback");
    assert_eq!(database.execute(DELETE_OLD_LETTERS, (3, 9)).expect("a statement"), 1);
}
