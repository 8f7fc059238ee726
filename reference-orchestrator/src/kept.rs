//! What a gateway keeps for a run: how far a step has come that it executes in the background, and the run's state.

use std::time::Duration;

use baton::signature::KeyRecord;
use baton::signature::profile::GENERATION;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::invoke::{Reply, Verified, is_of_step, note, open, read_stored, refused, transport};
use crate::model::{Invocation, KeptState, Registration};
use crate::store::{Pending, StoredAnswer};

/// Asks how far a step has come: [`Reply::Accepted`] while it has not ended, and then what it ended with.
pub fn poll(
    client: &Client,
    key: &KeyRecord,
    gateway: &Registration,
    (run, step): (&str, &Pending),
    time_out: Duration,
) -> (Invocation, Reply) {
    let url = format!("{}/runs/{run}/steps/{}", gateway.origin, step.step);
    let call = Call {
        method: "GET",
        url: &url,
        body: "",
        idempotency_key: None,
        headers: &[],
    };
    let (mut invocation, opened) = open(&client.send_signed(call, key, time_out));
    let reply = opened.map_or_else(|reply| reply, |verified| read_status(verified, run, step));
    note(&mut invocation, &reply);
    (invocation, reply)
}

fn read_status(verified: Verified, run: &str, step: &Pending) -> Reply {
    if verified.status != 200 {
        return refused(verified);
    }
    let status = verified.body;
    if !is_of_step(&status, run, step) {
        return transport(
            "answer-invalid",
            "the status names another run, step, attempt or agent".into(),
        );
    }
    if status["status"] != "ended" {
        return Reply::Accepted;
    }
    match read_answer(&status["answer"]) {
        Some(answer) => read_stored(answer, run, step),
        None => transport("answer-invalid", "an ended step without the answer to it".into()),
    }
}

/// Reads `{"status":200,"body":{...}}`, as a step-status and a callback carry it.
#[must_use]
pub fn read_answer(answer: &Value) -> Option<StoredAnswer> {
    let status = answer["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())?;
    let body = answer.get("body")?.clone();
    Some(StoredAnswer { status, body })
}

/// Gives a gateway the state to keep for a run that has none yet.
pub fn put_state(
    client: &Client,
    key: &KeyRecord,
    gateway: &Registration,
    (run, state): (&str, &str),
    time_out: Duration,
) -> (Invocation, Result<KeptState, Reply>) {
    let url = format!("{}/runs/{run}/state", gateway.origin);
    // With a key, so that a retry after a lost answer gets the receipt again and not a conflict with itself.
    let idempotency_key = format!("{run}/state");
    let call = Call {
        method: "PUT",
        url: &url,
        body: state,
        idempotency_key: Some(&idempotency_key),
        headers: &[("if-none-match", "*"), (GENERATION, &gateway.generation.to_string())],
    };
    let (mut invocation, opened) = open(&client.send_signed(call, key, time_out));
    let kept = opened.and_then(|verified| read_receipt(verified, run));
    if let Err(reply) = &kept {
        note(&mut invocation, reply);
    }
    invocation.idempotency_key = idempotency_key;
    (invocation, kept)
}

fn read_receipt(verified: Verified, run: &str) -> Result<KeptState, Reply> {
    if verified.status != 200 && verified.status != 201 {
        return Err(refused(verified));
    }
    let receipt = &verified.body;
    match receipt["version"].as_u64().filter(|_| receipt["run"] == run) {
        Some(version) => Ok(KeptState {
            version,
            digest: receipt["digest"].as_str().map(str::to_owned),
        }),
        None => Err(transport(
            "answer-invalid",
            "the receipt names another run, or no version".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Mode;

    fn verified(status: u16, body: Value) -> Verified {
        Verified {
            status,
            body,
            retry_after_ms: None,
            replayed: false,
        }
    }

    fn check_status(more: Value, expected: &str) {
        let step = Pending {
            step: "s1".into(),
            agent: "triage".into(),
            attempt: 2,
            mode: Mode::Async,
            accepted_by: Some("g".into()),
            members: String::new(),
            traceparent: None,
        };
        let mut status = json!({ "run": "r", "step": "s1", "attempt": 2, "agent": "triage", "status": "running" });
        for (name, value) in more.as_object().into_iter().flatten() {
            status[name] = value.clone();
        }
        let found = match read_status(verified(200, status), "r", &step) {
            Reply::Outcome(outcome) => outcome["status"].as_str().unwrap_or_default().to_owned(),
            Reply::Accepted => "accepted".into(),
            Reply::Refused { code, replayed, .. } => format!("{code} replayed={replayed}"),
            Reply::Transport { code, .. } => code,
        };
        assert_eq!(found, expected, "{more}");
    }

    #[test]
    fn a_step_s_status() {
        let outcome = json!({ "run": "r", "step": "s1", "attempt": 2, "agent": "triage", "status": "completed" });
        let mut other = outcome.clone();
        other["attempt"] = 1.into();
        let ended =
            |status: u16, body: Value| json!({ "status": "ended", "answer": { "status": status, "body": body } });
        check_status(json!({}), "accepted");
        check_status(json!({ "status": "accepted" }), "accepted");
        check_status(json!({ "attempt": 1 }), "answer-invalid");
        check_status(json!({ "status": "ended" }), "answer-invalid");
        check_status(ended(200, outcome), "completed");
        check_status(ended(200, other), "answer-invalid");
        check_status(
            ended(504, json!({ "code": "deadline-exceeded" })),
            "deadline-exceeded replayed=true",
        );
    }

    #[test]
    fn a_receipt() {
        let read = |status, body| read_receipt(verified(status, body), "r").map(|kept| kept.version).ok();
        assert_eq!(read(201, json!({ "run": "r", "version": 1, "digest": "d" })), Some(1));
        assert_eq!(read(201, json!({ "run": "x", "version": 1 })), None);
        assert_eq!(read(200, json!({ "run": "r" })), None);
        assert_eq!(
            read(412, json!({ "code": "state-conflict", "run": "r", "version": 1 })),
            None
        );
    }
}
