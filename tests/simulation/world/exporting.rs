//! The run's events on their way to their destination, and what has arrived of them.

use std::collections::BTreeSet;

use baton::run::outbox::{self, Destination};
use baton::run::{Moment, outbox_report};
use baton::telemetry::event::{Event, What};
use baton::telemetry::otlp::Verdict;

use super::World;

impl World {
    /// The object sends events and reports those that it gives up: either may fail, and either's answer may be lost.
    pub(super) fn export(&mut self, instance: &str, now_ms: u64) {
        let receiver = |_: &str| {
            vec![Destination {
                name: outbox::RECEIVER,
                timeout_ms: 10_000,
            }]
        };
        let random = self.random.next() as u32;
        let moment = Moment {
            now_ms,
            random,
            claimant: instance,
        };
        let Ok(batches) = self.transact(|storage| outbox::take(storage, receiver, moment)) else {
            return;
        };
        for batch in batches {
            let verdict = match self.faults && self.random.percent(40) {
                true => Verdict::Retry {
                    reason: "503".into(),
                    retry_after_ms: None,
                },
                false => Verdict::Delivered { rejected: None },
            };
            if verdict != (Verdict::Delivered { rejected: None }) {
                self.count("events are sent again");
            }
            if verdict == (Verdict::Delivered { rejected: None }) || self.random.percent(50) {
                batch.events.iter().for_each(|(_, event)| self.arrived(event));
            }
            if self
                .transact(|storage| outbox::told(storage, &batch, &verdict, moment))
                .is_err()
            {
                return;
            }
        }
        let Ok(Some(report)) = self.transact(|storage| outbox_report::report(storage, now_ms)) else {
            return;
        };
        if self.faults && self.random.percent(30) {
            return;
        }
        for dead in &report.dead {
            self.count("an event is given up");
            self.arrived(&dead.event);
        }
        let _ = self.transact(|storage| outbox_report::reported(storage, &report, moment));
    }

    /// An event is at its destination, or on the operator's list: the same whenever it comes.
    fn arrived(&mut self, event: &Event) {
        let known = self.history.insert(event.id.clone(), event.clone());
        assert!(
            known.is_none_or(|known| known == *event),
            "an event's id was used again"
        );
    }

    /// The attempts whose end was told, by their places and when they were accepted.
    pub fn ends_told(&self) -> BTreeSet<(u32, u64)> {
        let ends = self.history.values().filter_map(|event| match &event.what {
            What::AttemptEnded {
                subject,
                accepted_at_ms,
                ..
            } => Some((subject.ordinal, *accepted_at_ms)),
            _ => None,
        });
        ends.collect()
    }
}
