//! What the run tells by itself: settlements, callbacks, dead letters.

use baton::run::Moment;
use baton::run::delivery::{self, Sent};
use baton::run::settlement;

use super::{Receiver, World};

impl World {
    /// A settlement goes on: to the orchestrator, and what that said is taken down.
    pub fn settle(&mut self, index: usize) {
        let (incarnation, notice) = self.settling.remove(index);
        let told = match self.orchestrator {
            Receiver::Up => settlement::Told::Acknowledged,
            Receiver::Down | Receiver::Slow => settlement::Told::Failed("no answer".into()),
            Receiver::Gone => settlement::Told::Conflict("it went on".into()),
        };
        if told == settlement::Told::Acknowledged {
            self.model.acknowledged(incarnation, &notice);
        }
        let (now_ms, random, claimant) = (self.now_ms, self.random.next() as u32, self.instance());
        let moment = Moment {
            now_ms,
            random,
            claimant: &claimant,
        };
        if self
            .transact(|storage| settlement::told(storage, &notice, told, moment))
            .is_ok()
        {
            self.count("a settlement was tried");
        }
    }

    /// A callback goes on: to its receiver, or what that said is taken down.
    pub fn deliver(&mut self, index: usize) {
        let mut shipment = self.delivering.remove(index);
        let Some(sent) = shipment.sent.clone() else {
            let accepts = matches!(self.receiver, Receiver::Up | Receiver::Slow);
            if self.receiver != Receiver::Down {
                self.model.received(shipment.incarnation, &shipment.parcel, accepts);
            }
            let failed = |retry_after_ms| Sent::Failed {
                reason: "no answer".into(),
                retry_after_ms,
            };
            shipment.sent = Some(match self.receiver {
                Receiver::Up => Sent::Delivered,
                Receiver::Down => failed(self.random.pick(&[None, Some(5_000), Some(u64::MAX)])),
                Receiver::Slow => failed(None),
                Receiver::Gone => Sent::Refused("410".into()),
            });
            self.delivering.push(shipment);
            return;
        };
        let (now_ms, random, instance) = (self.now_ms, self.random.next() as u32, self.instance());
        let parcel = shipment.parcel;
        let taken_down = self.transact(|storage| {
            let moment = Moment {
                now_ms,
                random,
                claimant: &instance,
            };
            delivery::sent(storage, &parcel, sent, moment)
        });
        if taken_down.is_ok() {
            self.count("a callback's try is taken down");
        }
    }

    /// A report goes on: onto the operator's list, and that it is there is taken down.
    pub fn report(&mut self, index: usize) {
        let (incarnation, place, letter, is_listed) = self.reporting.remove(index);
        if !is_listed {
            self.count("a dead letter is listed");
            self.model.listed(incarnation, place, &letter);
            self.reporting.push((incarnation, place, letter, true));
            return;
        }
        // Should it be lost, it is reported again.
        let _ = self.transact(|storage| delivery::reported(storage, place, &letter));
    }
}
