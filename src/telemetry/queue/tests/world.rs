//! Many batches, with everything that may go wrong: destinations that fail, a queue that takes nothing back, a list that
//! does not answer, and consumers that die. No event is lost, and none is sent twice to where it has arrived.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::run::outbox_report::Report;

const POISON: &str = "poison";
/// Batches of so many messages at most.
const BATCH: usize = 4;
/// After so many batches in which nothing fails, all must have arrived.
const SETTLING: usize = 400;

/// What goes wrong with a batch. Each number decides one thing.
#[derive(Debug, Clone)]
struct Fate {
    /// How each place answers.
    places: [u8; 4],
    /// Whether the operator's list answers.
    is_listed: bool,
    /// Whether the queue takes something back.
    is_taken_back: bool,
    /// Whether the consumer dies at its end, and everything it had is delivered again.
    dies: bool,
    /// Whether what a consumer remembers is gone.
    is_fresh: bool,
}

impl Fate {
    const GOOD: Self = Self {
        places: [0; 4],
        is_listed: true,
        is_taken_back: true,
        dies: false,
        is_fresh: false,
    };

    /// The same, but for what makes a queue deliver again what has arrived: only destinations and the list fail.
    fn without_repeats(self) -> Self {
        Self {
            places: self.places.map(|answer| if answer == LOST_ANSWER { 1 } else { answer }),
            is_taken_back: true,
            dies: false,
            ..self
        }
    }
}

/// It takes what it is sent, but its answer is lost.
const LOST_ANSWER: u8 = 3;

fn fates() -> impl Strategy<Value = Fate> {
    let one_in = |count: u8| (0..count).prop_map(|number| number == 0);
    let places = prop::array::uniform4(
        prop_oneof![4 => Just(0_u8), 3 => Just(1), 1 => Just(2), 1 => Just(LOST_ANSWER), 1 => Just(4)],
    );
    (places, one_in(4), one_in(8), one_in(8), one_in(4)).prop_map(|(places, unlisted, refuses, dies, is_fresh)| Fate {
        places,
        is_listed: !unlisted,
        is_taken_back: !refuses,
        dies,
        is_fresh,
    })
}

#[derive(Default)]
struct World {
    now_ms: u64,
    /// When each is due, in Unix milliseconds, and what it says.
    queue: Vec<(u64, String)>,
    standings: Standings,
    /// How often each event was taken by a place.
    taken: BTreeMap<(Place, String), usize>,
    letters: BTreeSet<String>,
    lags: BTreeSet<String>,
}

impl World {
    fn batch(&mut self, fate: &Fate) {
        let (mut due, rest): (Vec<_>, Vec<_>) = self.queue.drain(..).partition(|(at_ms, _)| *at_ms <= self.now_ms);
        self.queue = rest;
        self.queue.extend(due.drain(due.len().min(BATCH)..));
        if fate.is_fresh {
            self.standings = Standings::default();
        }
        let messages: Vec<_> = due.iter().map(|(_, text)| Message::read(text).unwrap()).collect();
        let mut shipments = shipments(&messages, everything, &self.standings, self.now_ms);
        for (shipment, answer) in shipments.iter_mut().zip(fate.places.iter().cycle()) {
            while let Some(entries) = shipment.next(self.now_ms) {
                let verdict = self.answer(shipment.place(), entries, *answer);
                shipment.told(&verdict, 7);
            }
        }
        let mut settled = settle(shipments, &mut self.standings, self.now_ms);
        if let Some(report) = settled.report(self.now_ms) {
            match fate.is_listed {
                true => self.list(&report),
                false => settled.keep_unlisted(),
            }
        }
        let mut refused = Vec::new();
        for (number, again) in settled.again.iter().enumerate() {
            // The first is taken back even then: a queue may fail between two sends.
            if !fate.is_taken_back && number > 0 {
                refused.push(again);
                continue;
            }
            let at_ms = self.now_ms + u64::from(again.wait_s()) * 1_000;
            let sends = pack(again.message()).expect("small events");
            self.queue.extend(sends.into_iter().flatten().map(|text| (at_ms, text)));
        }
        let open = unsettled(&messages, &refused);
        for (message, is_open) in due.into_iter().zip(open) {
            if is_open || fate.dies {
                self.queue.push((self.now_ms + 1_000, message.1));
            }
        }
    }

    fn answer(&mut self, place: &Place, entries: &[&Entry], answer: u8) -> Verdict {
        let is_poisoned = place.destination == RECEIVER && ids(entries).iter().any(|id| id.starts_with(POISON));
        let verdict = match answer {
            1 => return retry(None),
            2 => return paused(),
            _ if is_poisoned => return refused(true),
            // It takes little at once.
            4 if entries.len() > 2 && place.destination != HISTORY => return refused(true),
            LOST_ANSWER => retry(Some(2_000)),
            _ => delivered(),
        };
        for id in ids(entries) {
            *self.taken.entry((place.clone(), id)).or_default() += 1;
        }
        verdict
    }

    fn list(&mut self, report: &Report) {
        self.letters.extend(report.dead.iter().map(|dead| dead.letter.clone()));
        for lag in &report.lags {
            let name = format!("{} {}", lag.destination, lag.orchestrator);
            match lag.health {
                Health::Passing => self.lags.remove(&name),
                Health::Failing | Health::Paused => self.lags.insert(name),
            };
        }
        self.standings.listed();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_event_is_lost_and_none_is_sent_again_to_where_it_arrived(
        fates in prop::collection::vec(fates(), 1..24),
        runs in prop::collection::vec((1..6_usize, any::<bool>()), 1..10),
        may_repeat in any::<bool>(),
    ) {
        let fates: Vec<_> = match may_repeat {
            true => fates,
            false => fates.into_iter().map(Fate::without_repeats).collect(),
        };
        let mut world = World { now_ms: NOW_MS, ..World::default() };
        let mut expected = BTreeSet::new();
        let mut culprits = BTreeSet::new();
        for (run, (count, is_poisoned)) in runs.iter().enumerate() {
            let orchestrator = ["acme", "other"][run % 2];
            let events: Vec<_> = (0..*count).map(|number| {
                let kind = if *is_poisoned && number == 0 { POISON } else { "event" };
                event(&format!("{kind}-{run}-{number}"), &format!("run-{run}"), orchestrator)
            }).collect();
            for event in &events {
                for destination in [HISTORY, RECEIVER, ORCHESTRATOR] {
                    let own = (destination == ORCHESTRATOR).then(|| orchestrator.to_owned());
                    let place = Place { destination: destination.into(), orchestrator: own };
                    if destination == RECEIVER && event.id.starts_with(POISON) {
                        culprits.insert(format!("{}.{RECEIVER}", event.id));
                    } else {
                        expected.insert((place, event.id.clone()));
                    }
                }
            }
            let to = [HISTORY, RECEIVER, ORCHESTRATOR].map(str::to_owned).to_vec();
            let sends = hand_over(to, &events, 0).expect("small events");
            world.queue.extend(sends.into_iter().flatten().map(|text| (NOW_MS, text)));
        }
        for fate in &fates {
            world.batch(fate);
            world.now_ms += 3_000;
        }
        for _ in 0..SETTLING {
            world.batch(&Fate::GOOD);
            world.now_ms += EXPORT_BACKOFF_MAX_MS / 8;
        }
        prop_assert!(world.queue.is_empty(), "{} messages are left", world.queue.len());
        prop_assert_eq!(world.taken.keys().cloned().collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(&world.letters, &culprits);
        // A list that did not answer is told with the next events for the place, and there may be none. What is delivered
        // again as it was does not say that it failed before. Such a line goes with its age.
        if !may_repeat && fates.iter().all(|fate| fate.is_listed) {
            prop_assert!(world.lags.is_empty(), "the operator's list still says {:?}", world.lags);
        }
        if !may_repeat {
            for (place, count) in &world.taken {
                prop_assert_eq!(*count, 1, "{:?}", place);
            }
        }
    }
}
