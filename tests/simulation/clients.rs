//! What an orchestrator asks of the run.

use std::collections::BTreeMap;

use baton::manifest::{Notification, RetryPolicy};
use baton::run::RunName;
use baton::run::call::{Behalf, Call, StateSource};
use baton::run::delivery::{DeliveryState, Resend};
use baton::run::handoff::{HandOffRequest, Handed, HandedOff, Handoff};
use baton::run::ledger::{Claim, ClaimRequest};
use baton::run::record::{Forget, Use};
use baton::run::settlement::Takeover;
use baton::run::state::{Expected, Put, PutState, Read, ReadState};
use baton::run::status::{Cancel, Cursor, Watch};
use baton::run::work::Execution;
use serde_json::{Value, json};

use crate::model::answered;
use crate::world::{Job, World, body};

const DEADLINE_MS: u64 = 3_000;
const HOLD_MS: u64 = DEADLINE_MS + 5_000;

/// What the clients remember.
#[derive(Default)]
pub struct Clients {
    /// By step: how many attempts it was given, and the version that it is to work on.
    steps: BTreeMap<String, (u32, u64)>,
    /// By writer: the entity tag and the version that it has read last.
    seen: [(Option<String>, u64); 2],
    puts: u32,
    handoffs: u32,
}

impl Clients {
    pub fn invoke(&mut self, world: &mut World) {
        self.call_a_step(world, None);
    }

    /// The gateway coordinates the run from now on, and invokes the step by itself.
    pub fn take_over(&mut self, world: &mut World) {
        let takeover = Takeover {
            gateway: "gw".into(),
            reason: "timeout".into(),
            degraded: false,
            generation: Some(world.generation + world.random.between(0, 2)),
        };
        self.call_a_step(world, Some(takeover));
    }

    fn call_a_step(&mut self, world: &mut World, takeover: Option<Takeover>) {
        let step = format!("s{}", world.random.between(0, 5));
        let version = self.seen[0].1;
        let (attempts, version) = *self.steps.entry(step.clone()).or_insert((1, version));
        let attempt = match world.random.between(0, 10) {
            0..6 => attempts,
            6..8 => 1 + world.random.between(0, attempts.into()) as u32,
            _ => attempts + 1,
        };
        self.steps.insert(step.clone(), (attempts.max(attempt), version));
        let mut request = self.call(world, &step, attempt, version);
        request.background &= takeover.is_none();
        request.takeover = takeover;
        let is_refused = request.takeover.is_none() && world.model.is_taken_over();
        let attempts = world.model.attempts();
        let key = request.idempotency_key.clone();
        let (call, hold_ms, is_background) = (request.call.clone(), request.hold_ms, request.background);
        let claimant = world.claimant();
        world.note(|| format!("{claimant} invokes {key}, background: {is_background}"));
        let Ok(claim) = world.ask_as(&claimant, request, false) else {
            return;
        };
        let is_new = world.model.attempts() > attempts || matches!(claim, Claim::Granted { .. });
        assert!(!(is_refused && is_new), "{key} runs beside what the gateway took over");
        match claim {
            Claim::TakenOver => {
                assert!(is_refused);
                world.count("a step of a run that was taken over is refused");
            }
            Claim::Granted {
                ordinal,
                generation,
                kept,
                ..
            } => {
                assert!(!is_background, "who comes back for the answer is to execute it");
                world.model.begun(ordinal, &call, kept.as_deref());
                if generation > 1 {
                    world.count("a claim is taken over");
                }
                let (now_ms, incarnation) = (world.now_ms, world.model.incarnation);
                let others = world.workers.iter().find(|job| {
                    job.incarnation == incarnation && job.execution.ordinal == ordinal && job.ends_at_ms > now_ms
                });
                assert!(others.is_none(), "{key} is executed already");
                let execution = Execution {
                    ordinal,
                    generation,
                    call,
                    kept,
                    used_ms: 0,
                    accepted_at_ms: None,
                };
                let job = Job::new(claimant, incarnation, execution, now_ms + hold_ms);
                world.workers.push(job);
            }
            Claim::Accepted(status) => {
                assert!(is_background);
                assert_eq!(status.idempotency_key, key);
                world.count("accepted");
            }
            Claim::Answered(answer) => {
                world.count("answered from the ledger");
                world.model.told_answer(&step, &key, &body(&answer));
            }
            Claim::StateConflict(_) => world.count("a step's version is not current"),
            Claim::InFlight { .. } | Claim::AttemptOutdated { .. } => {}
            refused => panic!("{key}: {refused:?}"),
        }
    }

    /// A call is the same each time but for who executes it.
    fn call(&self, world: &mut World, step: &str, attempt: u32, version: u64) -> ClaimRequest {
        let state = match step {
            "s0" => StateSource::None,
            "s1" => StateSource::Version(version),
            _ => StateSource::Kept,
        };
        ClaimRequest {
            using: using(world),
            idempotency_key: format!("{step}/{attempt}"),
            fingerprint: format!("{step} on {state:?}"),
            call: Call {
                run: "r".into(),
                step: step.into(),
                attempt,
                agent: "a".into(),
                input: Value::Null,
                state,
                conversation: None,
                deadline_ms: DEADLINE_MS,
                follow_handoffs: false,
                tries_max: 1,
                text: None,
                traceparent: String::new(),
                request_id: String::new(),
                behalf: Behalf::default(),
            },
            agent_version: "1".into(),
            retry: RetryPolicy {
                max_attempts: world.random.between(1, 4) as u32,
                backoff_ms: 500,
                backoff_max_ms: 5_000,
            },
            notifications: (step != "s3").then(notification).into_iter().collect(),
            hold_ms: HOLD_MS,
            background: world.random.percent(60),
            callback_url: (step != "s2").then(|| "https://orchestrator.example/callback".into()),
            parent_span: None,
            workflow: false,
            hedge: false,
            takeover: None,
        }
    }

    pub fn cancel(&mut self, world: &mut World) {
        let step = format!("s{}", world.random.between(0, 5));
        world.note(|| format!("{step} is cancelled"));
        if let Ok(Some(status)) = world.ask(Cancel { step: step.clone() }) {
            let answer = status.answer.expect("it has ended");
            world.model.told_answer(&step, &status.idempotency_key, &answer.body);
            if answer.body["status"] == "cancelled" {
                world.count("cancelled");
            }
        }
    }

    /// One of two writers reads the state.
    pub fn read(&mut self, world: &mut World) {
        let writer = world.random.index(2);
        match world.ask(ReadState { version: None }) {
            Ok(Read::Kept(kept)) => {
                world.model.written(&kept.version, &kept.content);
                self.seen[writer] = (Some(kept.version.etag), kept.version.version);
            }
            Ok(_) => self.seen[writer] = (None, 0),
            Err(_) => {}
        }
    }

    /// One of two writers writes on top of what it has read.
    pub fn put(&mut self, world: &mut World) {
        let writer = world.random.index(2);
        self.puts += 1;
        let (etag, seen) = self.seen[writer].clone();
        let expected = etag.map_or(Expected::Nothing, |etag| Expected::OneOf(vec![etag]));
        let mut question = PutState {
            using: using(world),
            expected,
            content: format!("\"put {}\"", self.puts),
            idempotency_key: world.random.percent(50).then(|| format!("put {}", self.puts)),
            checked_for: None,
        };
        let mut claimant = world.claimant();
        let incarnation = world.model.incarnation;
        for _ in 0..4 {
            match world.ask_as(&claimant, question.clone(), false) {
                Ok(Put::Written { version, .. }) => {
                    world.count("a state is put");
                    world.model.written(&version, &question.content);
                    assert_eq!(version.version, seen + 1, "it was written on top of another version");
                    self.seen[writer] = (Some(version.etag), version.version);
                    return;
                }
                Ok(Put::Conflict(_)) => {
                    world.count("a put is refused");
                    if incarnation == world.model.incarnation {
                        world.model.not_written(&claimant);
                    }
                    return;
                }
                Ok(Put::CheckFor(agent)) => question.checked_for = Some(agent),
                Ok(Put::KeyMismatch) => panic!("its own key was used for another content"),
                // Asked again as another request where the key makes that safe.
                Err(_) if question.idempotency_key.is_some() => claimant = world.claimant(),
                Err(_) => return,
            }
        }
    }

    pub fn hand_off(&mut self, world: &mut World) {
        // The last one again, or another one.
        self.handoffs += u32::from(world.random.percent(60));
        let number = self.handoffs;
        let key = format!("h{number}");
        let version = self.seen[0].1;
        let state = match number % 3 {
            0 => Handed::Kept(version),
            1 => Handed::Written {
                base: None,
                content: format!("\"handoff {number}\""),
            },
            _ => Handed::Written {
                base: Some(version),
                content: format!("\"handoff {number}\""),
            },
        };
        let first = number.is_multiple_of(2).then(|| {
            Box::new(ClaimRequest {
                idempotency_key: key.clone(),
                background: true,
                ..self.call(world, &format!("first of {key}"), 1, 0)
            })
        });
        let request = HandOffRequest {
            using: using(world),
            parent_span: None,
            handoff: Handoff {
                handoff: format!("hnd_{key}"),
                idempotency_key: key.clone(),
                fingerprint: key.clone(),
                agent: "b".into(),
                from: "me".into(),
                reason: "because".into(),
                version: None,
                digest: None,
                accepted_at_ms: 0,
                traceparent: String::new(),
            },
            state,
            first,
        };
        match world.ask(request) {
            Ok(HandedOff::Accepted { handoff, .. }) => {
                world.count("handed off");
                world.model.handed_off(&key, format!("{handoff:?}"));
            }
            Ok(HandedOff::Conflict(_)) | Err(_) => {}
            Ok(HandedOff::StepRefused(claim)) if *claim == Claim::TakenOver => assert!(world.model.is_taken_over()),
            Ok(other) => panic!("{other:?}"),
        }
    }

    /// A stream is read to where it is.
    pub fn watch(&mut self, world: &mut World) {
        let step = format!("s{}", world.random.between(0, 5));
        let mut cursor = Cursor::default();
        loop {
            let watch = Watch {
                step: step.clone(),
                idempotency_key: None,
                cursor,
                follows: false,
                ends_only: false,
            };
            let Some(watched) = watch.ask(world.storage.as_ref()).unwrap() else {
                return;
            };
            for (event, seq) in watched.events.iter().zip(cursor.seq + 1..) {
                assert_eq!(event.seq, seq, "an event was left out");
            }
            if let Some(answer) = &watched.answer {
                let attempt = world.model.attempt(watched.ordinal).expect("it was seen");
                let key = attempt.idempotency_key.clone();
                world.model.told_answer(&step, &key, &body(answer));
            }
            let Some(last) = watched.events.last() else { return };
            cursor = Cursor {
                ordinal: watched.ordinal,
                seq: last.seq,
            };
        }
    }

    pub fn forget(&mut self, world: &mut World) {
        let claimant = world.claimant();
        world.note(|| "the run is forgotten".into());
        if world.ask_as(&claimant, Forget, true).is_ok() {
            world.count("forgotten");
            assert_eq!(
                answered(world.storage.as_ref(), &ReadState { version: None }),
                Read::Unknown
            );
        }
    }

    /// The operator has a dead letter sent again.
    pub fn resend(&mut self, world: &mut World) {
        let ids: Vec<_> = world.model.letters.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let delivery = ids[world.random.index(ids.len())].clone();
        if let Ok(status) = world.ask(Resend {
            delivery: delivery.clone(),
        }) {
            world.count("sent again");
            if status.is_none_or(|status| status.status != DeliveryState::Dead) {
                world.model.letters.remove(&delivery);
            }
        }
    }

    /// Somebody who has captured a request sends it again.
    pub fn replay(&mut self, world: &mut World) {
        if world.captured.is_empty() {
            return;
        }
        let index = world.random.index(world.captured.len());
        let nonce = world.captured[index].clone();
        let request = self.call(world, "captured", 1, 0);
        world.replay(nonce, request);
    }
}

fn using(world: &World) -> Use {
    Use {
        name: RunName::new("o", "r"),
        retention_ms: world.retention_ms,
    }
}

/// Tells a channel of every end.
fn notification() -> Notification {
    let rule = json!({
        "name": "any", "channel": "ops", "outcomes": ["completed", "handed_off", "failed", "cancelled"],
        "message": "{{ outcome }}",
    });
    serde_json::from_value(rule).expect("a notification")
}
