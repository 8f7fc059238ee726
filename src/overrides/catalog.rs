//! What an isolate knows of the overrides: the team that requests see. Each takes it once, and keeps it to its end.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::adjust::{Ignored, overridden};
use super::snapshot::Snapshot;
use crate::manifest::Team;

/// The copy in KV is looked at again after so long, in milliseconds.
pub const KNOWN_MS: u64 = 10_000;
/// Where the writer was not heard of for so long, it is asked in the place of the copy, in milliseconds: while KV takes no
/// writes, the copy alone would never tell of a change. So whatever KV does, and while the writer answers, an isolate is
/// behind by this and [`KNOWN_MS`] at most; one that has just begun, which took a copy first, by [`KNOWN_MS`].
pub const CONFIRM_MS: u64 = 60_000;
/// What the writer said goes without another question for so long, in milliseconds: requests that nobody signed can ask.
pub const HEARD_MS: u64 = 250;
/// While nothing is known and nothing answers, it is asked again after so long, in milliseconds.
pub const UNANSWERED_MS: u64 = 1_000;

/// The team in force.
#[derive(Clone)]
pub enum InForce {
    /// No override was ever made.
    AsBuilt(&'static Team),
    /// With overrides, or after some were taken back.
    Overridden(Rc<Team>),
}

impl Deref for InForce {
    type Target = Team;

    fn deref(&self) -> &Team {
        match self {
            Self::AsBuilt(team) => team,
            Self::Overridden(team) => team,
        }
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.overridden.version)
    }
}

/// Who says which version is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The copy in KV, which may be old.
    Copy,
    /// Whoever makes the versions.
    Writer,
}

/// What an isolate knows.
#[derive(Debug)]
pub struct Catalog {
    declared: &'static Team,
    known: Option<InForce>,
    /// When the copy is looked at again, in Unix milliseconds.
    look_at_ms: u64,
    /// When the writer was heard of last, in Unix milliseconds.
    heard_at_ms: Option<u64>,
    /// What was said of a copy that is missing or no good, so that it is said once; nothing since a good one.
    complaint: Option<String>,
}

impl Catalog {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(declared: &'static Team) -> Self {
        Self {
            declared,
            known: None,
            look_at_ms: 0,
            heard_at_ms: None,
            complaint: None,
        }
    }

    /// The team in force, as far as is known: as it was built where nothing is.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        self.known.clone().unwrap_or(InForce::AsBuilt(self.declared))
    }

    /// Whether anything is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Whether the copy is to be looked at now. Where something is known, one request does and the others go on with that.
    /// Where nothing is, each does: none is to be answered by what an operator has changed.
    pub fn must_look(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.look_at_ms;
        if due && self.known.is_some() {
            self.look_at_ms = now_ms + KNOWN_MS;
        }
        due
    }

    /// Takes a version in. Answers the overrides of it that are not followed.
    pub fn learn(&mut self, snapshot: &Snapshot, source: Source, now_ms: u64) -> Vec<Ignored> {
        self.look_at_ms = now_ms + KNOWN_MS;
        if source == Source::Copy {
            self.complaint = None;
        }
        let is_old = source == Source::Copy && self.is_older(snapshot.version);
        let is_known = self.known.as_ref().map(|team| team.overridden.version) == Some(snapshot.version);
        if is_old || is_known {
            return Vec::new();
        }
        let (team, ignored) = match snapshot.version {
            0 => (InForce::AsBuilt(self.declared), Vec::new()),
            _ => {
                let (team, ignored) = overridden(self.declared, snapshot);
                (InForce::Overridden(Rc::new(team)), ignored)
            }
        };
        self.known = Some(team);
        ignored
    }

    /// Whether this version came before the known one: only the writer can say that it is in force all the same.
    #[must_use]
    pub fn is_older(&self, version: u64) -> bool {
        self.known
            .as_ref()
            .is_some_and(|team| version < team.overridden.version)
    }

    /// The writer has said which version is the current one.
    pub const fn heard(&mut self, now_ms: u64) {
        self.heard_at_ms = Some(now_ms);
    }

    /// Whether that was a moment ago.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        self.heard_at_ms
            .is_some_and(|heard_at_ms| now_ms < heard_at_ms + HEARD_MS)
    }

    /// Whether the writer is to be asked whether what is known is in force still.
    #[must_use]
    pub fn must_confirm(&self, now_ms: u64) -> bool {
        let is_due = |heard_at_ms: u64| now_ms >= heard_at_ms + CONFIRM_MS;
        self.is_known() && self.heard_at_ms.is_none_or(is_due)
    }

    /// Nobody answered: what is known stays. Where nothing is, requests go on with the team as it was built, and do not ask
    /// for a moment.
    pub fn unanswered(&mut self, now_ms: u64) {
        let wait_ms = if self.is_known() { KNOWN_MS } else { UNANSWERED_MS };
        self.look_at_ms = now_ms + wait_ms;
    }

    /// The copy is missing or no good. Answers whether that is new.
    pub fn complain(&mut self, reason: &str) -> bool {
        let is_news = self.complaint.as_deref() != Some(reason);
        self.complaint = Some(reason.to_owned());
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::snapshot::{Change, Overrides, digest};
    use serde_json::{Value, json};

    fn snapshot(version: u64, override_of_triage: Value) -> Snapshot {
        let overrides = Overrides::from([("triage".to_owned(), override_of_triage)]);
        Snapshot {
            version,
            at_ms: 0,
            by: "k".into(),
            change: Some(Change::Set { agent: "triage".into() }),
            digest: digest(&overrides),
            overrides,
        }
    }

    fn deadline(catalog: &Catalog) -> u64 {
        catalog.in_force().agent("triage").expect("an agent").deadline_ms
    }

    #[test]
    fn a_request_keeps_what_it_took() {
        let mut catalog = Catalog::new(Team::embedded());
        assert!(
            catalog
                .learn(&snapshot(1, json!({"deadline_ms": 1_000})), Source::Copy, 0)
                .is_empty()
        );
        let taken = catalog.in_force();
        assert!(
            catalog
                .learn(&snapshot(2, json!({"deadline_ms": 2_000})), Source::Copy, 1)
                .is_empty()
        );
        assert_eq!(taken.agent("triage").map(|agent| agent.deadline_ms), Some(1_000));
        assert_eq!((deadline(&catalog), catalog.in_force().overridden.version), (2_000, 2));
    }

    #[test]
    fn the_copy_is_looked_at_by_one_request_in_a_while() {
        let mut catalog = Catalog::new(Team::embedded());
        assert!(catalog.must_look(5));
        assert!(catalog.must_look(5), "nothing is known yet: each has to");
        catalog.learn(&Snapshot::none(), Source::Copy, 5);
        for (now_ms, expected) in [
            (5, false),
            (4 + KNOWN_MS, false),
            (5 + KNOWN_MS, true),
            (5 + KNOWN_MS, false),
            (5 + 2 * KNOWN_MS, true),
        ] {
            assert_eq!(catalog.must_look(now_ms), expected, "{now_ms}");
        }
    }

    #[test]
    fn without_an_answer_what_is_known_stays() {
        let mut catalog = Catalog::new(Team::embedded());
        let as_built = deadline(&catalog);
        catalog.unanswered(0);
        assert_eq!(deadline(&catalog), as_built);
        assert!(!catalog.must_look(UNANSWERED_MS - 1));
        assert!(
            catalog.must_look(UNANSWERED_MS),
            "it could not be told what an operator changed"
        );
        catalog.learn(&snapshot(1, json!({"deadline_ms": 1_000})), Source::Copy, 0);
        catalog.unanswered(0);
        assert_eq!(deadline(&catalog), 1_000);
        assert!(!catalog.must_look(KNOWN_MS - 1));
    }

    #[test]
    fn an_older_version_counts_only_if_the_writer_says_so() {
        let learn = |source, expected: u64| {
            let mut catalog = Catalog::new(Team::embedded());
            catalog.learn(&snapshot(7, json!({"deadline_ms": 7_000})), Source::Copy, 0);
            assert!(catalog.is_older(6) && !catalog.is_older(7));
            catalog.learn(&snapshot(6, json!({"deadline_ms": 6_000})), source, u64::MAX / 2);
            assert_eq!(deadline(&catalog), expected, "{source:?}");
        };
        learn(Source::Copy, 7_000);
        learn(Source::Writer, 6_000);
    }

    #[test]
    fn what_the_writer_said_goes_for_a_moment() {
        let mut catalog = Catalog::new(Team::embedded());
        assert!(!catalog.is_fresh(0));
        catalog.heard(5);
        assert!(catalog.is_fresh(4 + HEARD_MS));
        assert!(!catalog.is_fresh(5 + HEARD_MS));
    }

    #[test]
    fn the_writer_is_asked_once_in_a_while_whatever_the_copy_says() {
        let mut catalog = Catalog::new(Team::embedded());
        assert!(!catalog.must_confirm(0), "nothing is known that could be confirmed");
        catalog.learn(&snapshot(1, json!({"deadline_ms": 1_000})), Source::Copy, 5);
        assert!(
            catalog.must_confirm(5),
            "a copy was taken, and the writer never heard of"
        );
        catalog.heard(6);
        assert!(!catalog.must_confirm(5 + CONFIRM_MS));
        catalog.learn(&snapshot(1, json!({"deadline_ms": 1_000})), Source::Copy, 7);
        assert!(
            catalog.must_confirm(6 + CONFIRM_MS),
            "another look at the copy puts nothing off"
        );
    }

    #[test]
    fn an_override_that_does_not_hold_is_ignored_and_the_others_are_followed() {
        let mut catalog = Catalog::new(Team::embedded());
        let as_built = deadline(&catalog);
        let mut stored = snapshot(1, json!({"deadline_ms": 1_000, "prompt": "Be kind."}));
        stored.overrides.insert("redact".into(), json!({"enabled": false}));
        stored.overrides.insert("nobody".into(), json!({"enabled": false}));
        let ignored = catalog.learn(&stored, Source::Copy, 0);
        let agents: Vec<_> = ignored.iter().map(|ignored| ignored.agent.as_str()).collect();
        assert_eq!(agents, ["nobody", "triage"]);
        assert_eq!(deadline(&catalog), as_built, "nothing of it, not even what would hold");
        assert!(catalog.in_force().agent("redact").is_none());
        assert_eq!(catalog.learn(&stored, Source::Copy, 1), [], "it is told once");
    }

    #[test]
    fn a_complaint_is_made_once() {
        let mut catalog = Catalog::new(Team::embedded());
        assert!(catalog.complain("a"));
        assert!(!catalog.complain("a"));
        assert!(catalog.complain("b"));
        catalog.learn(&snapshot(1, json!({"enabled": false})), Source::Writer, 0);
        assert!(!catalog.complain("b"), "the writer says nothing of the copy");
        catalog.learn(&Snapshot::none(), Source::Copy, 0);
        assert!(catalog.complain("b"));
    }
}
