//! The step ledger: who may execute an attempt, and which answer counts.
//!
//! A step has one effect. The idempotency key names an attempt, and a repeated one gets the stored
//! answer. A step whose answer is final is never executed again, whatever the attempt's number. A claim whose owner
//! died ends at its deadline, and the next request takes it over under a higher generation, so that
//! a late commit of the first owner is refused.

use super::message::{Claim, ClaimRequest, Commit, CommitRequest};
use super::storage::{Attempt, Storage};

/// A caller is never told to wait longer than this before it asks again, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 5_000;

/// Decides a claim, and writes what it decided.
///
/// # Errors
/// When the storage fails.
pub fn claim<S: Storage>(storage: &S, request: &ClaimRequest, now_ms: u64) -> Result<Claim, S::Error> {
    if let Some(nonce) = &request.nonce {
        match storage.nonce_claimant(&nonce.value)? {
            Some(claimant) if claimant == request.claimant => {}
            Some(_) => return Ok(Claim::NonceReplayed),
            None => storage.remember_nonce(nonce, &request.claimant, now_ms)?,
        }
    }
    if let Some(known) = storage.attempt(&request.idempotency_key)? {
        return claim_again(storage, known, request, now_ms);
    }
    match storage.latest_attempt(&request.step)? {
        Some(latest) => claim_next(storage, &latest, request, now_ms),
        None => grant(storage, request, 1, now_ms),
    }
}

/// The idempotency key is known: the same attempt, or a mistake.
fn claim_again<S: Storage>(
    storage: &S,
    known: Attempt,
    request: &ClaimRequest,
    now_ms: u64,
) -> Result<Claim, S::Error> {
    let same =
        known.step == request.step && known.attempt == request.attempt && known.fingerprint == request.fingerprint;
    if !same {
        return Ok(Claim::KeyMismatch);
    }
    if let Some(answer) = known.answer {
        return Ok(Claim::Answered(answer));
    }
    if known.claimant == request.claimant {
        return Ok(Claim::Granted {
            generation: known.generation,
        });
    }
    if known.claimed_until_ms > now_ms {
        return Ok(in_flight(&known, now_ms));
    }
    // An attempt that a later one has overtaken must not come back to life.
    match storage.latest_attempt(&request.step)? {
        Some(latest) if latest.attempt > known.attempt => Ok(Claim::AttemptOutdated { latest: latest.attempt }),
        _ => grant(storage, request, known.generation + 1, now_ms),
    }
}

/// The step is known under another idempotency key: a further attempt.
fn claim_next<S: Storage>(
    storage: &S,
    latest: &Attempt,
    request: &ClaimRequest,
    now_ms: u64,
) -> Result<Claim, S::Error> {
    if latest.fingerprint != request.fingerprint {
        return Ok(Claim::StepMismatch);
    }
    match &latest.answer {
        Some(answer) if !latest.retryable => return Ok(Claim::Answered(answer.clone())),
        None if latest.claimed_until_ms > now_ms => return Ok(in_flight(latest, now_ms)),
        _ => {}
    }
    if request.attempt <= latest.attempt {
        return Ok(Claim::AttemptOutdated { latest: latest.attempt });
    }
    grant(storage, request, 1, now_ms)
}

fn in_flight(attempt: &Attempt, now_ms: u64) -> Claim {
    Claim::InFlight {
        retry_after_ms: (attempt.claimed_until_ms - now_ms).min(RETRY_AFTER_MAX_MS),
    }
}

fn grant<S: Storage>(storage: &S, request: &ClaimRequest, generation: u32, now_ms: u64) -> Result<Claim, S::Error> {
    storage.put_attempt(&Attempt {
        idempotency_key: request.idempotency_key.clone(),
        step: request.step.clone(),
        attempt: request.attempt,
        fingerprint: request.fingerprint.clone(),
        claimant: request.claimant.clone(),
        generation,
        claimed_until_ms: now_ms + request.hold_ms,
        answer: None,
        retryable: false,
    })?;
    Ok(Claim::Granted { generation })
}

/// Decides a commit, and writes the answer if it counts. A commit whose answer was lost may be repeated.
///
/// # Errors
/// When the storage fails.
pub fn commit<S: Storage>(storage: &S, request: &CommitRequest) -> Result<Commit, S::Error> {
    let Some(mut attempt) = storage.attempt(&request.idempotency_key)? else {
        return Ok(Commit::Lost);
    };
    if attempt.generation != request.generation {
        return Ok(Commit::Lost);
    }
    if attempt.answer.is_some() {
        return Ok(Commit::Stored);
    }
    let overtaken = storage
        .latest_attempt(&attempt.step)?
        .is_some_and(|latest| latest.attempt > attempt.attempt);
    if overtaken {
        return Ok(Commit::Lost);
    }
    attempt.answer = Some(request.answer.clone());
    attempt.retryable = request.retryable;
    storage.put_attempt(&attempt)?;
    Ok(Commit::Stored)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Nonce, StoredAnswer};
    use super::super::storage::MemoryStorage;
    use super::*;
    use proptest::prelude::*;

    const HOLD_MS: u64 = 1_000;

    fn request(claimant: &str, key: &str, attempt: u32) -> ClaimRequest {
        ClaimRequest {
            claimant: claimant.into(),
            step: "s".into(),
            attempt,
            idempotency_key: key.into(),
            fingerprint: "f".into(),
            nonce: Some(Nonce {
                value: format!("nonce of {claimant}"),
                expires_at_ms: 500_000,
            }),
            hold_ms: HOLD_MS,
        }
    }

    fn answer(body: &str) -> StoredAnswer {
        StoredAnswer {
            status: 200,
            body: body.into(),
        }
    }

    fn claimed(storage: &MemoryStorage, request: &ClaimRequest, now_ms: u64) -> Claim {
        let Ok(claim) = claim(storage, request, now_ms);
        claim
    }

    fn committed(storage: &MemoryStorage, key: &str, generation: u32, body: &str, retryable: bool) -> Commit {
        let request = CommitRequest {
            idempotency_key: key.into(),
            generation,
            answer: answer(body),
            retryable,
        };
        let Ok(commit) = commit(storage, &request);
        commit
    }

    #[test]
    fn a_duplicate_gets_the_stored_answer() {
        let storage = MemoryStorage::default();
        assert_eq!(
            claimed(&storage, &request("c1", "k", 1), 0),
            Claim::Granted { generation: 1 }
        );
        assert_eq!(committed(&storage, "k", 1, "one", false), Commit::Stored);
        assert_eq!(
            claimed(&storage, &request("c2", "k", 1), 0),
            Claim::Answered(answer("one"))
        );
        // Also as a further attempt: the answer is final.
        assert_eq!(
            claimed(&storage, &request("c3", "k2", 2), 0),
            Claim::Answered(answer("one"))
        );
    }

    #[test]
    fn a_nonce_is_used_once() {
        let storage = MemoryStorage::default();
        claimed(&storage, &request("c1", "k", 1), 0);
        let mut replay = request("c2", "k", 1);
        replay.nonce = request("c1", "k", 1).nonce;
        assert_eq!(claimed(&storage, &replay, 0), Claim::NonceReplayed);
        // Under Standard Webhooks there is no nonce: the key alone decides.
        replay.nonce = None;
        assert_eq!(
            claimed(&storage, &replay, 0),
            Claim::InFlight {
                retry_after_ms: HOLD_MS
            }
        );
    }

    #[test]
    fn a_claim_whose_answer_was_lost_can_be_asked_for_again() {
        let storage = MemoryStorage::default();
        let first = request("c1", "k", 1);
        assert_eq!(claimed(&storage, &first, 0), claimed(&storage, &first, 0));
        assert_eq!(committed(&storage, "k", 1, "one", false), Commit::Stored);
        assert_eq!(committed(&storage, "k", 1, "one", false), Commit::Stored);
    }

    #[test]
    fn in_flight_until_the_claim_ends() {
        let storage = MemoryStorage::default();
        claimed(&storage, &request("c1", "k", 1), 0);
        assert_eq!(
            claimed(&storage, &request("c2", "k", 1), HOLD_MS - 1),
            Claim::InFlight { retry_after_ms: 1 }
        );
        assert_eq!(
            claimed(&storage, &request("c3", "k2", 2), HOLD_MS - 1),
            Claim::InFlight { retry_after_ms: 1 }
        );
        assert_eq!(
            claimed(&storage, &request("c4", "k", 1), HOLD_MS),
            Claim::Granted { generation: 2 }
        );
        assert_eq!(committed(&storage, "k", 1, "late", false), Commit::Lost);
        assert_eq!(committed(&storage, "k", 2, "taken over", false), Commit::Stored);
    }

    #[test]
    fn a_caller_is_not_told_to_wait_for_minutes() {
        let storage = MemoryStorage::default();
        let mut long = request("c1", "k", 1);
        long.hold_ms = 300_000;
        claimed(&storage, &long, 0);
        let told = claimed(&storage, &request("c2", "k", 1), 0);
        assert_eq!(
            told,
            Claim::InFlight {
                retry_after_ms: RETRY_AFTER_MAX_MS
            }
        );
    }

    #[test]
    fn another_call_under_a_known_key_or_step() {
        let storage = MemoryStorage::default();
        claimed(&storage, &request("c1", "k", 1), 0);
        let mut other = request("c2", "k", 1);
        other.fingerprint = "g".into();
        assert_eq!(claimed(&storage, &other, 0), Claim::KeyMismatch);
        assert_eq!(claimed(&storage, &request("c3", "k", 2), 0), Claim::KeyMismatch);
        let mut other = request("c4", "k2", 2);
        other.fingerprint = "g".into();
        assert_eq!(claimed(&storage, &other, 0), Claim::StepMismatch);
    }

    #[test]
    fn a_retryable_answer_lets_a_later_attempt_run() {
        let storage = MemoryStorage::default();
        claimed(&storage, &request("c1", "k1", 1), 0);
        committed(&storage, "k1", 1, "busy", true);
        assert_eq!(
            claimed(&storage, &request("c2", "k2", 1), 0),
            Claim::AttemptOutdated { latest: 1 }
        );
        assert_eq!(
            claimed(&storage, &request("c3", "k2", 2), 0),
            Claim::Granted { generation: 1 }
        );
        assert_eq!(
            claimed(&storage, &request("c4", "k1", 1), 0),
            Claim::Answered(answer("busy"))
        );
    }

    #[test]
    fn an_overtaken_attempt_stays_dead() {
        let storage = MemoryStorage::default();
        claimed(&storage, &request("c1", "k1", 1), 0);
        claimed(&storage, &request("c2", "k2", 2), HOLD_MS);
        assert_eq!(committed(&storage, "k1", 1, "late", false), Commit::Lost);
        let back = claimed(&storage, &request("c3", "k1", 1), 3 * HOLD_MS);
        assert_eq!(back, Claim::AttemptOutdated { latest: 2 });
    }

    #[test]
    fn a_commit_without_a_claim_is_lost() {
        assert_eq!(committed(&MemoryStorage::default(), "k", 1, "one", false), Commit::Lost);
    }

    proptest! {
        /// Whatever the order of claims, commits and time: at most one final answer per step, and every answer
        /// that is given out for it is that one.
        #[test]
        fn one_final_answer_per_step(
            events in proptest::collection::vec((0_u32..3, 0_u64..1_500, any::<bool>(), any::<bool>()), 1..60)
        ) {
            let storage = MemoryStorage::default();
            let mut now_ms = 0;
            let mut owners: Vec<(String, u32)> = Vec::new();
            let mut last = None;
            for (index, (attempt, passes_ms, commits, retryable)) in events.into_iter().enumerate() {
                now_ms += passes_ms;
                if commits && !owners.is_empty() {
                    let (key, generation) = owners[index % owners.len()].clone();
                    let before = storage.attempt(&key).expect("infallible");
                    let fresh = before.is_some_and(|attempt| attempt.answer.is_none());
                    let body = format!("{key}/{generation}");
                    if committed(&storage, &key, generation, &body, retryable) == Commit::Stored && fresh && !retryable {
                        prop_assert_eq!(last.replace(body), None, "two final answers");
                    }
                } else {
                    let key = format!("k{attempt}");
                    match claimed(&storage, &request(&format!("c{index}"), &key, attempt + 1), now_ms) {
                        Claim::Granted { generation } => {
                            prop_assert!(last.is_none(), "executed after a final answer");
                            owners.push((key, generation));
                        }
                        Claim::Answered(stored) => {
                            let attempt = storage.attempt(&key).expect("infallible");
                            if attempt.is_none_or(|attempt| !attempt.retryable) {
                                prop_assert_eq!(Some(&stored.body), last.as_ref());
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
