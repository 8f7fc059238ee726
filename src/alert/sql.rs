//! The statements of the table `alerts`: SQLite's SQL. They are here and not in `edge`, so that the tests can run them.

/// The row of the alert `?1`.
pub const READ: &str = "SELECT version, state FROM alerts WHERE alert = ?1";

/// Keeps the state `?3` of the alert `?1` in the place of the one of the version `?2`, which is 0 where there is none. It
/// changes no row where another version is kept.
pub const KEEP: &str = "\
INSERT INTO alerts (alert, version, state) VALUES (?1, ?2 + 1, ?3)
ON CONFLICT (alert) DO UPDATE SET version = excluded.version, state = excluded.state WHERE alerts.version = ?2";

/// Removes the alerts that are none of a JSON array (`?1`) of ids.
pub const PRUNE: &str = "DELETE FROM alerts WHERE alert NOT IN (SELECT value FROM json_each(?1))";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn database() -> Connection {
        let database = Connection::open_in_memory().expect("SQLite");
        let migration = include_str!("../../migrations/0005_alerts.sql");
        database.execute_batch(migration).expect("a migration");
        database
    }

    fn read(database: &Connection, alert: &str) -> Option<(u64, String)> {
        let row = database.query_row(READ, [alert], |row| Ok((row.get(0)?, row.get(1)?)));
        row.ok()
    }

    #[test]
    fn of_two_writers_of_one_version_one_is_told() {
        let database = database();
        let keep = |version: u64, state: &str| {
            let changed = database.execute(KEEP, rusqlite::params!["a", version, state]);
            changed.expect("a statement")
        };
        assert_eq!(read(&database, "a"), None);
        assert_eq!((keep(0, "one"), keep(0, "other")), (1, 0));
        assert_eq!(read(&database, "a"), Some((1, "one".into())));
        assert_eq!((keep(1, "two"), keep(1, "other"), keep(2, "three")), (1, 0, 1));
        assert_eq!(read(&database, "a"), Some((3, "three".into())));
    }

    #[test]
    fn what_is_declared_no_more_is_removed() {
        let database = database();
        for alert in ["a", "b"] {
            database
                .execute(KEEP, rusqlite::params![alert, 0, "{}"])
                .expect("a row");
        }
        assert_eq!(database.execute(PRUNE, [r#"["b","c"]"#]), Ok(1));
        assert_eq!(
            (read(&database, "a"), read(&database, "b")),
            (None, Some((1, "{}".into())))
        );
    }
}
