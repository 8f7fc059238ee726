//! Registrations and their leases.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError, json_column};
use crate::model::{Registration, RegistrationStatus};

/// Registrations that ended or lapsed are shown this long, in milliseconds: a week.
const ENDED_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// At most this many registrations are listed, the newest first.
const LISTED_MAX: usize = 200;

/// A registration whose origin and manifest are proved.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    /// The id for it, random.
    pub registration: String,
    /// The gateway's id.
    pub gateway: String,
    /// Its origin.
    pub origin: String,
    /// Its manifest's digest.
    pub manifest_digest: String,
    /// Its agents.
    pub agents: Vec<String>,
    /// The request's idempotency key.
    pub idempotency_key: String,
    /// Digest of the request's body.
    pub body_digest: String,
}

/// What a registration came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Registered {
    /// A new one, with the next generation.
    New(Registration),
    /// The same request was carried out before: its registration, the lease renewed.
    Known(Registration),
    /// The idempotency key belongs to another request.
    KeyReused,
    /// The gateway is live at another origin.
    Elsewhere {
        /// That origin.
        origin: String,
    },
}

/// What a renewal came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Renewed {
    /// The lease runs anew.
    Renewed(Registration),
    /// No such registration.
    Unknown,
    /// It lapsed or was ended before.
    Ended(RegistrationStatus),
    /// The gateway speaks of another generation.
    OtherGeneration,
    /// The gateway's manifest is another by now.
    OtherManifest,
}

impl Store {
    /// Where the gateway is live, if that is another origin than this one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn live_elsewhere(&self, gateway: &str, origin: &str, now_ms: u64) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            let live = current(connection, gateway, now_ms)?;
            Ok(live.map(|live| live.origin).filter(|other| other != origin))
        })
    }

    /// Registers, and ends the registration that the gateway had.
    ///
    /// # Errors
    /// When the database fails.
    pub fn register(&self, new: &NewRegistration, lease_ms: u64, now_ms: u64) -> Result<Registered, StoreError> {
        self.write(|transaction| {
            if let Some(live) = current(transaction, &new.gateway, now_ms)? {
                if live.origin != new.origin {
                    return Ok(Registered::Elsewhere { origin: live.origin });
                }
                let same: Option<bool> = transaction
                    .query_row(
                        "SELECT body_digest = ?3 FROM registrations WHERE registration = ?1 AND idempotency_key = ?2",
                        params![live.registration, new.idempotency_key, new.body_digest],
                        |row| row.get(0),
                    )
                    .optional()?;
                match same {
                    Some(true) => {
                        let renewed = extend(transaction, live, None, lease_ms, now_ms)?;
                        return Ok(Registered::Known(renewed));
                    }
                    Some(false) => return Ok(Registered::KeyReused),
                    None => {}
                }
            }
            transaction.execute(
                "DELETE FROM registrations WHERE lease_expires_at_ms < ?1",
                [now_ms.saturating_sub(ENDED_KEPT_MS)],
            )?;
            transaction.execute(
                "UPDATE registrations SET ended = CASE WHEN lease_expires_at_ms > ?2 THEN 'replaced' ELSE 'lapsed' END
                 WHERE gateway = ?1 AND ended IS NULL",
                params![new.gateway, now_ms],
            )?;
            let generation: u64 = transaction.query_row(
                "INSERT INTO generations (gateway, generation) VALUES (?1, 1)
                 ON CONFLICT DO UPDATE SET generation = generation + 1 RETURNING generation",
                [&new.gateway],
                |row| row.get(0),
            )?;
            let registration = Registration {
                registration: new.registration.clone(),
                gateway: new.gateway.clone(),
                origin: new.origin.clone(),
                manifest_digest: new.manifest_digest.clone(),
                generation,
                agents: new.agents.clone(),
                health: None,
                registered_at_ms: now_ms,
                lease_expires_at_ms: now_ms + lease_ms,
                status: RegistrationStatus::Live,
            };
            transaction.execute(
                "INSERT INTO registrations (registration, gateway, origin, manifest_digest, generation, agents,
                   idempotency_key, body_digest, registered_at_ms, lease_expires_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    registration.registration,
                    registration.gateway,
                    registration.origin,
                    registration.manifest_digest,
                    registration.generation,
                    serde_json::json!(registration.agents).to_string(),
                    new.idempotency_key,
                    new.body_digest,
                    registration.registered_at_ms,
                    registration.lease_expires_at_ms,
                ],
            )?;
            Ok(Registered::New(registration))
        })
    }

    /// Renews a lease. A lease that lapsed stays lapsed, however late its renewal is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn renew(
        &self,
        registration: &str,
        (generation, manifest_digest): (u64, &str),
        health: &str,
        lease_ms: u64,
        now_ms: u64,
    ) -> Result<Renewed, StoreError> {
        self.write(|transaction| {
            let Some(known) = by_id(transaction, registration, now_ms)? else {
                return Ok(Renewed::Unknown);
            };
            if known.status != RegistrationStatus::Live {
                return Ok(Renewed::Ended(known.status));
            }
            if known.generation != generation {
                return Ok(Renewed::OtherGeneration);
            }
            if known.manifest_digest != manifest_digest {
                return Ok(Renewed::OtherManifest);
            }
            extend(transaction, known, Some(health), lease_ms, now_ms).map(Renewed::Renewed)
        })
    }

    /// Ends a registration; says whether it had not ended yet. Doing so twice is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub fn deregister(&self, registration: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let ended = transaction.execute(
                "UPDATE registrations SET ended = 'deregistered' WHERE registration = ?1 AND ended IS NULL",
                [registration],
            )?;
            Ok(ended == 1)
        })
    }

    /// Removes a registration as if it had never been, all but its generation; says whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget(&self, registration: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let removed = transaction.execute("DELETE FROM registrations WHERE registration = ?1", [registration])?;
            Ok(removed == 1)
        })
    }

    /// All registrations that are still shown, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn registrations(&self, now_ms: u64) -> Result<Vec<Registration>, StoreError> {
        self.read(|connection| {
            connection
                .prepare("SELECT * FROM registrations ORDER BY registered_at_ms DESC, generation DESC LIMIT ?1")?
                .query_map([LISTED_MAX], |row| from_row(row, now_ms))?
                .collect()
        })
    }

    /// The live registration to invoke this agent on for this run: the newest where there are several. A run that was
    /// handed on stays on the gateway that did. A gateway that drains takes no new steps.
    ///
    /// # Errors
    /// When the database fails.
    pub fn live_with_agent(&self, agent: &str, run: &str, now_ms: u64) -> Result<Option<Registration>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT * FROM registrations WHERE ended IS NULL AND lease_expires_at_ms > ?2
                       AND EXISTS (SELECT 1 FROM json_each(agents) WHERE value = ?1)
                       AND coalesce(health, '') <> 'draining'
                       AND gateway = coalesce((SELECT gateway FROM handed_runs WHERE run = ?3), gateway)
                     ORDER BY registered_at_ms DESC LIMIT 1",
                    params![agent, now_ms, run],
                    |row| from_row(row, now_ms),
                )
                .optional()
        })
    }

    /// The live registration of this gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub fn live_gateway(&self, gateway: &str, now_ms: u64) -> Result<Option<Registration>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT * FROM registrations WHERE ended IS NULL AND lease_expires_at_ms > ?2 AND gateway = ?1",
                    params![gateway, now_ms],
                    |row| from_row(row, now_ms),
                )
                .optional()
        })
    }

    /// The registrations whose leases have lapsed, each answered once: who asks is to tell of it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn newly_lapsed(&self, now_ms: u64) -> Result<Vec<Registration>, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare(
                    "UPDATE registrations SET lapse_told = TRUE
                     WHERE NOT lapse_told AND lease_expires_at_ms <= ?1 AND coalesce(ended, 'lapsed') = 'lapsed'
                     RETURNING *",
                )?
                .query_map([now_ms], |row| from_row(row, now_ms))?
                .collect()
        })
    }

    /// Whether a gateway that may come back offers the agent: live, or lapsed and not ended.
    ///
    /// # Errors
    /// When the database fails.
    pub fn knows_agent(&self, agent: &str) -> Result<bool, StoreError> {
        self.read(|connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM registrations, json_each(agents) WHERE ended IS NULL AND value = ?1)",
                [agent],
                |row| row.get(0),
            )
        })
    }
}

fn by_id(connection: &Connection, registration: &str, now_ms: u64) -> rusqlite::Result<Option<Registration>> {
    let sql = "SELECT * FROM registrations WHERE registration = ?1";
    connection
        .query_row(sql, [registration], |row| from_row(row, now_ms))
        .optional()
}

/// The gateway's live registration.
fn current(connection: &Connection, gateway: &str, now_ms: u64) -> rusqlite::Result<Option<Registration>> {
    let sql = "SELECT * FROM registrations WHERE gateway = ?1 AND ended IS NULL AND lease_expires_at_ms > ?2";
    connection
        .query_row(sql, params![gateway, now_ms], |row| from_row(row, now_ms))
        .optional()
}

fn extend(
    connection: &Connection,
    mut live: Registration,
    health: Option<&str>,
    lease_ms: u64,
    now_ms: u64,
) -> rusqlite::Result<Registration> {
    live.lease_expires_at_ms = now_ms + lease_ms;
    live.health = health.map(str::to_owned).or(live.health);
    connection.execute(
        "UPDATE registrations SET lease_expires_at_ms = ?2, health = ?3 WHERE registration = ?1",
        params![live.registration, live.lease_expires_at_ms, live.health],
    )?;
    Ok(live)
}

fn from_row(row: &Row<'_>, now_ms: u64) -> rusqlite::Result<Registration> {
    let ended: Option<String> = row.get("ended")?;
    let lease_expires_at_ms: u64 = row.get("lease_expires_at_ms")?;
    let status = match ended.as_deref() {
        Some("deregistered") => RegistrationStatus::Deregistered,
        Some("replaced") => RegistrationStatus::Replaced,
        Some(_) => RegistrationStatus::Lapsed,
        None if lease_expires_at_ms > now_ms => RegistrationStatus::Live,
        None => RegistrationStatus::Lapsed,
    };
    Ok(Registration {
        registration: row.get("registration")?,
        gateway: row.get("gateway")?,
        origin: row.get("origin")?,
        manifest_digest: row.get("manifest_digest")?,
        generation: row.get("generation")?,
        agents: json_column(row, "agents")?,
        health: row.get("health")?,
        registered_at_ms: row.get("registered_at_ms")?,
        lease_expires_at_ms,
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_MS: u64 = 1_000;

    fn new(id: &str, gateway: &str, origin: &str) -> NewRegistration {
        NewRegistration {
            registration: id.into(),
            gateway: gateway.into(),
            origin: origin.into(),
            manifest_digest: "d1".into(),
            agents: vec!["triage".into(), "redact".into()],
            idempotency_key: format!("key-{id}"),
            body_digest: "b1".into(),
        }
    }

    fn register(store: &Store, new: &NewRegistration, now_ms: u64) -> Registered {
        store.register(new, LEASE_MS, now_ms).expect("an answer")
    }

    fn generation(registered: &Registered) -> Option<u64> {
        match registered {
            Registered::New(registration) => Some(registration.generation),
            _ => None,
        }
    }

    fn statuses(store: &Store, now_ms: u64) -> Vec<(String, RegistrationStatus)> {
        let all = store.registrations(now_ms).expect("a list");
        all.into_iter().map(|one| (one.registration, one.status)).collect()
    }

    #[test]
    fn generations_grow_with_each_registration_of_a_gateway() {
        let store = Store::in_memory().expect("a store");
        assert_eq!(generation(&register(&store, &new("r1", "g", "http://a"), 0)), Some(1));
        assert_eq!(generation(&register(&store, &new("r2", "g", "http://a"), 1)), Some(2));
        assert_eq!(
            generation(&register(&store, &new("r3", "other", "http://b"), 2)),
            Some(1)
        );
        assert_eq!(
            statuses(&store, 3),
            [
                ("r3".into(), RegistrationStatus::Live),
                ("r2".into(), RegistrationStatus::Live),
                ("r1".into(), RegistrationStatus::Replaced)
            ]
        );
        // A forgotten registration does not take the fence with it.
        assert!(store.forget("r2").expect("an answer"));
        assert!(!store.forget("r2").expect("an answer"));
        assert_eq!(generation(&register(&store, &new("r4", "g", "http://a"), 4)), Some(3));
    }

    #[test]
    fn the_same_request_registers_once() {
        let store = Store::in_memory().expect("a store");
        let first = new("r1", "g", "http://a");
        register(&store, &first, 0);
        let again = NewRegistration {
            registration: "r2".into(),
            ..first.clone()
        };
        match register(&store, &again, 500) {
            Registered::Known(known) => {
                assert_eq!((known.registration.as_str(), known.generation), ("r1", 1));
                assert_eq!(known.lease_expires_at_ms, 1_500);
            }
            other => panic!("{other:?}"),
        }
        let reused = NewRegistration {
            body_digest: "b2".into(),
            ..again
        };
        assert_eq!(register(&store, &reused, 500), Registered::KeyReused);
    }

    #[test]
    fn another_origin_waits_for_the_lease() {
        let store = Store::in_memory().expect("a store");
        register(&store, &new("r1", "g", "http://a"), 0);
        let elsewhere = |now_ms| store.live_elsewhere("g", "http://b", now_ms).expect("an answer");
        assert_eq!(elsewhere(999), Some("http://a".into()));
        assert_eq!(store.live_elsewhere("g", "http://a", 999).expect("an answer"), None);
        let refused = register(&store, &new("r2", "g", "http://b"), 999);
        assert_eq!(
            refused,
            Registered::Elsewhere {
                origin: "http://a".into()
            }
        );
        assert_eq!(elsewhere(1_000), None);
        assert_eq!(
            generation(&register(&store, &new("r2", "g", "http://b"), 1_000)),
            Some(2)
        );
    }

    #[test]
    fn leases() {
        let store = Store::in_memory().expect("a store");
        register(&store, &new("r1", "g", "http://a"), 0);
        let renew = |id: &str, generation, digest: &str, now_ms| {
            store
                .renew(id, (generation, digest), "ok", LEASE_MS, now_ms)
                .expect("an answer")
        };
        assert_eq!(renew("r0", 1, "d1", 1), Renewed::Unknown);
        assert_eq!(renew("r1", 2, "d1", 1), Renewed::OtherGeneration);
        assert_eq!(renew("r1", 1, "d2", 1), Renewed::OtherManifest);
        match renew("r1", 1, "d1", 999) {
            Renewed::Renewed(renewed) => {
                assert_eq!(renewed.lease_expires_at_ms, 1_999);
                assert_eq!(renewed.health.as_deref(), Some("ok"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(statuses(&store, 1_999), [("r1".into(), RegistrationStatus::Lapsed)]);
        assert_eq!(renew("r1", 1, "d1", 1_999), Renewed::Ended(RegistrationStatus::Lapsed));
        // Neither asking nor a successor changes what became of it.
        assert_eq!(statuses(&store, 1_999), [("r1".into(), RegistrationStatus::Lapsed)]);
        register(&store, &new("r2", "g", "http://a"), 2_000);
        assert_eq!(statuses(&store, 2_000)[1], ("r1".into(), RegistrationStatus::Lapsed));
    }

    #[test]
    fn each_lapse_is_answered_once() {
        let store = Store::in_memory().expect("a store");
        let lapsed = |now_ms| {
            let lapsed = store.newly_lapsed(now_ms).expect("an answer");
            lapsed.into_iter().map(|one| one.registration).collect::<Vec<_>>()
        };
        register(&store, &new("r1", "g", "http://a"), 0);
        register(&store, &new("gone", "other", "http://b"), 0);
        assert!(store.deregister("gone").expect("an answer"));
        assert_eq!(lapsed(999), [""; 0]);
        assert_eq!(lapsed(1_000), ["r1"]);
        assert_eq!(lapsed(1_000), [""; 0]);
        // One that lapsed unseen, before its successor came, and one that was replaced in time.
        for (id, now_ms) in [("r2", 1_000), ("r3", 2_000), ("r4", 2_500)] {
            register(&store, &new(id, "g", "http://a"), now_ms);
        }
        assert_eq!(lapsed(3_000), ["r2"]);
        assert_eq!(lapsed(3_500), ["r4"]);
    }

    #[test]
    fn deregistering_is_idempotent_and_final() {
        let store = Store::in_memory().expect("a store");
        register(&store, &new("r1", "g", "http://a"), 0);
        assert!(store.deregister("r1").expect("an answer"));
        assert!(!store.deregister("r1").expect("an answer"));
        assert!(!store.deregister("r0").expect("an answer"));
        let renewed = store.renew("r1", (1, "d1"), "ok", LEASE_MS, 2).expect("an answer");
        assert_eq!(renewed, Renewed::Ended(RegistrationStatus::Deregistered));
    }

    #[test]
    fn steps_go_to_live_gateways_with_the_agent() {
        let store = Store::in_memory().expect("a store");
        register(&store, &new("r1", "g", "http://a"), 0);
        let found = |agent: &str, now_ms| {
            let live = store.live_with_agent(agent, "r", now_ms).expect("an answer");
            live.map(|live| live.registration)
        };
        assert_eq!(found("redact", 999), Some("r1".into()));
        assert_eq!(found("red", 999), None);
        assert_eq!(found("redact", 1_000), None);
        assert!(store.knows_agent("redact").expect("an answer"));
        assert!(!store.knows_agent("red").expect("an answer"));
        register(&store, &new("r2", "newer", "http://b"), 10);
        assert_eq!(found("redact", 999), Some("r2".into()));
    }
}
