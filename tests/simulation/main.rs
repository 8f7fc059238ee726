//! A thousand lives of a run, each of them determined by a seed, with everything that can go wrong: transactions that fail
//! or whose answer is lost, objects and Workers that are killed at any point, clients that ask again, several writers,
//! receivers that are down, and time that jumps. What must hold whatever happens is in [`model`].

mod clients;
mod model;
mod random;
mod world;

use std::collections::BTreeMap;

use clients::Clients;
use world::{Receiver, World};

/// Names the environment variable that has one schedule repeated.
const SEED: &str = "BATON_SIMULATION_SEED";
const SCHEDULES: u64 = 1_000;
const STEPS: u32 = 60;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch, not the core's configuration"
)]
fn a_thousand_lives_of_a_run() {
    if let Ok(seed) = std::env::var(SEED) {
        live(seed.parse().expect("the seed is a number"));
        return;
    }
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..SCHEDULES {
        for (what, times) in live(seed) {
            *counts.entry(what).or_default() += times;
        }
    }
    println!("{counts:#?}");
    for what in [
        "a captured request is refused",
        "a late call is refused",
        "a late call is told what is there",
        "a settlement was tried",
        "a step of a run that was taken over is refused",
        "a claim is taken over",
        "a commit is lost",
        "a cancelled step's commit is late",
        "a dead letter is listed",
        "a put is refused",
        "a step's version is not current",
        "an event is given up",
        "another writer was faster than a step",
        "answered from the ledger",
        "cancelled",
        "events are sent again",
        "everything is removed",
        "executed again",
        "forgotten",
        "handed off",
        "sent again",
    ] {
        let times = counts.get(what).copied().unwrap_or(0);
        assert!(times >= 50, "the schedules are too tame: {what}, {times} times only");
    }
}

/// One schedule, from the first request to when nothing of the run is left.
fn live(seed: u64) -> BTreeMap<&'static str, u32> {
    let mut world = World::new(seed);
    let mut clients = Clients::default();
    let is_taken_over = world.random.percent(30);
    for _ in 0..STEPS {
        if world.random.percent(3) {
            world.generation += 1;
        }
        if is_taken_over && world.random.percent(3) {
            clients.take_over(&mut world);
        }
        something_happens(&mut world, &mut clients);
    }
    heal(&mut world);
    quiesce(&mut world);
    world.model.is_settled();
    if world.random.percent(50) {
        // The receiver is repaired, and the operator has one of the dead letters sent again.
        world.receiver = Receiver::Up;
        clients.resend(&mut world);
        quiesce(&mut world);
        world.model.is_settled();
    }
    end(&mut world);
    std::mem::take(&mut world.counts)
}

fn something_happens(world: &mut World, clients: &mut Clients) {
    match world.random.between(0, 100) {
        0..18 => clients.invoke(world),
        18..21 => clients.cancel(world),
        21..25 => clients.read(world),
        25..30 => clients.put(world),
        30..33 => clients.hand_off(world),
        33 => clients.watch(world),
        34..37 => clients.resend(world),
        37..39 => clients.replay(world),
        39 => clients.forget(world),
        40..57 => while world.take_on().is_some() && world.random.percent(60) {},
        57..67 if !world.executing.is_empty() => {
            let index = world.random.index(world.executing.len());
            world.execute(index);
        }
        67..75 if !world.delivering.is_empty() => {
            let index = world.random.index(world.delivering.len());
            world.deliver(index);
        }
        75..78 if !world.reporting.is_empty() => {
            let index = world.random.index(world.reporting.len());
            world.report(index);
        }
        75..78 if !world.settling.is_empty() => {
            let index = world.random.index(world.settling.len());
            world.settle(index);
        }
        78..85 if !world.workers.is_empty() => {
            let index = world.random.index(world.workers.len());
            world.work(index);
        }
        85 if !world.workers.is_empty() => {
            let index = world.random.index(world.workers.len());
            world.workers.remove(index);
            world.count("a Worker dies");
        }
        86..89 => world.kill(),
        89..91 => {
            let receivers = [
                Receiver::Up,
                Receiver::Down,
                Receiver::Down,
                Receiver::Slow,
                Receiver::Gone,
            ];
            world.receiver = world.random.pick(&receivers);
            let receiver = world.receiver;
            world.orchestrator = receiver;
            world.note(|| format!("the receiver and the orchestrator are {receiver:?}"));
        }
        _ => {
            let ranges = [(0, 50), (50, 2_000), (2_000, 10_000), (10_000, 90_000)];
            let (from, to) = match world.random.between(0, 100) {
                0..3 => (3_600_000, 7_200_000),
                3..6 => (80_000_000, 100_000_000),
                6 => (600_000_000, 700_000_000),
                _ => world.random.pick(&ranges),
            };
            world.now_ms += world.random.between(from, to);
        }
    }
}

/// From now on nothing goes wrong, but that the receiver may be gone for good.
fn heal(world: &mut World) {
    world.note(|| "nothing goes wrong from now on".into());
    world.faults = false;
    world.receiver = match world.random.between(0, 10) {
        0..7 => Receiver::Up,
        7..9 => Receiver::Gone,
        _ => Receiver::Down,
    };
    // One that is down for a week is tried for a week.
    world.orchestrator = world.random.pick(&[Receiver::Up, Receiver::Up, Receiver::Gone]);
}

/// Lets everything come to its end. Only the end of the run itself is left to wait for.
fn quiesce(world: &mut World) {
    for _ in 0..5_000 {
        while world.take_on().is_some() {}
        if let Some(index) = world.executing.len().checked_sub(1) {
            world.execute(index);
        } else if let Some(index) = world.delivering.len().checked_sub(1) {
            world.deliver(index);
        } else if let Some(index) = world.reporting.len().checked_sub(1) {
            world.report(index);
        } else if let Some(index) = world.settling.len().checked_sub(1) {
            world.settle(index);
        } else if let Some(index) = world.workers.len().checked_sub(1) {
            world.work(index);
        } else if timers(world).iter().all(|timer| timer == "expire") {
            let keys = world.storage.keys();
            let left = keys
                .iter()
                .find(|key| key.starts_with("open/") || key.starts_with("call/"));
            assert_eq!(left, None, "it is neither executed nor ended");
            return;
        } else {
            let next_at_ms = world.next_at_ms().expect("a timer is set");
            world.now_ms = world.now_ms.max(next_at_ms);
        }
    }
    panic!("it comes to no end: {:?}", timers(world));
}

/// Waits for the end of the run.
fn end(world: &mut World) {
    for _ in 0..100 {
        let Some(next_at_ms) = world.next_at_ms() else { break };
        world.now_ms = world.now_ms.max(next_at_ms);
        while world.take_on().is_some() {}
    }
    let keys = world.storage.keys();
    assert!(keys.is_empty(), "it is never removed: {keys:?}");
    // One that ended in the transaction that forgot it the model has not seen.
    let (told, ended) = (world.ends_told(), world.model.ended());
    assert!(
        told.is_superset(&ended),
        "an attempt's end was never told: {told:?}, {ended:?}"
    );
}

/// The timers that are set, each of which is in the index by time.
fn timers(world: &World) -> Vec<String> {
    let keys = world.storage.keys();
    let names = |prefix: &'static str| keys.iter().filter_map(move |key| key.strip_prefix(prefix));
    let mut timers: Vec<_> = names("timer/").map(str::to_owned).collect();
    let mut due: Vec<_> = names("due/")
        .filter_map(|key| key.split_once('/').map(|(_, name)| name.to_owned()))
        .collect();
    timers.sort();
    due.sort();
    assert_eq!(timers, due, "a timer never rings");
    timers
}
