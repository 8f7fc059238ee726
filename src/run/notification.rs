//! What channels are told when an attempt has ended: the rules of its agent, decided in the transaction of its end.
//!
//! A rule that cannot be decided, or a message that cannot be filled in, is told as such: silence would look like all is well.

use serde_json::{Map, Value, json};

use super::attempt::{Attempt, StoredAnswer};
use super::delivery::{self, Place};
use super::record;
use super::storage::Storage;
use crate::channel::{Notice, text_of};
use crate::manifest::{NOTIFICATION_NAMES, Notification, Template};

/// What an answer says.
struct Ended {
    outcome: String,
    output: Value,
    error: Value,
}

impl Ended {
    fn read(answer: &StoredAnswer) -> Self {
        // All answers are ours; one that is none is a failure without details.
        let mut body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        // A problem, such as a passed deadline, is an error by its own members.
        let mut member = |name: &str| body.get_mut(name).map(Value::take).unwrap_or_default();
        let error = match answer.status {
            200 => member("error"),
            _ => json!({ "code": member("code"), "message": member("title"), "retryable": false }),
        };
        Self {
            outcome: answer.ending(),
            output: member("output"),
            error,
        }
    }
}

/// An attempt has just ended with this answer.
pub(super) fn attempt_ended<S: Storage>(
    storage: &S,
    attempt: &Attempt,
    answer: &StoredAnswer,
    now_ms: u64,
) -> Result<(), S::Error> {
    if attempt.notifications.is_empty() {
        return Ok(());
    }
    let Some(run) = record::find(storage)? else {
        return Ok(());
    };
    let ended = Ended::read(answer);
    // The manifest's schema allows no more than a number of this size can count.
    for (rule, number) in attempt.notifications.iter().zip(0_u8..) {
        if let Some(text) = told(rule, attempt, &run.name.run, &ended) {
            let notice = |id| {
                notice_of(
                    rule,
                    attempt,
                    (&run.name.orchestrator, &run.name.run),
                    &ended,
                    (id, text, now_ms),
                )
            };
            delivery::create_notice(storage, Place::notice(attempt.ordinal, number), notice, now_ms)?;
        }
    }
    Ok(())
}

/// What a rule tells; nothing where it does not apply.
fn told(rule: &Notification, attempt: &Attempt, run: &str, ended: &Ended) -> Option<String> {
    if !rule.outcomes.iter().any(|outcome| outcome.name() == ended.outcome) {
        return None;
    }
    let texts = [
        ended.outcome.as_str(),
        attempt.agent.as_str(),
        run,
        attempt.step.as_str(),
    ]
    .map(Value::from);
    let [outcome, agent, run, step] = &texts;
    let number = Value::from(attempt.attempt);
    let names: [(&'static str, &Value); 7] = [
        ("output", &ended.output),
        ("error", &ended.error),
        ("outcome", outcome),
        ("agent", agent),
        ("run", run),
        ("step", step),
        ("attempt", &number),
    ];
    match rule.condition.as_ref().map(|condition| condition.holds(&names)) {
        Some(Ok(false)) => return None,
        Some(Ok(true)) | None => {}
        Some(Err(reason)) => {
            return Some(format!(
                "Whether this is to be told could not be decided: its condition {reason}."
            ));
        }
    }
    let template = Template::compile_over(NOTIFICATION_NAMES, &rule.message.as_str().into());
    let filled = template.map_err(|error| error.reason).and_then(|template| {
        let filled = template.render_over(&names);
        filled.map_err(|error| error.reason)
    });
    Some(match filled {
        Ok(Value::String(text)) => text_of(&text),
        Ok(_) => rule.message.clone(),
        Err(reason) => format!("The message could not be filled in: it {reason}."),
    })
}

fn notice_of(
    rule: &Notification,
    attempt: &Attempt,
    (orchestrator, run): (&str, &str),
    ended: &Ended,
    (id, text, now_ms): (String, String, u64),
) -> Notice {
    let mut data = Map::new();
    for (name, value) in [
        ("rule", Value::from(rule.name.as_str())),
        ("orchestrator", orchestrator.into()),
        ("run", run.into()),
        ("step", attempt.step.as_str().into()),
        ("attempt", attempt.attempt.into()),
        ("agent", attempt.agent.as_str().into()),
        ("outcome", ended.outcome.as_str().into()),
    ] {
        data.insert(name.to_owned(), value);
    }
    Notice {
        id,
        channel: rule.channel.clone(),
        kind: "notification".to_owned(),
        at_ms: now_ms,
        title: format!("{}: {}", attempt.agent, rule.name),
        text,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{DeliveryState, Parcel, Resend, Sent, reported, sent};
    use super::super::ledger::{ClaimRequest, CommitRequest};
    use super::super::testing::{Bench, background, calling_back, retrying};
    use super::super::work::Work;
    use super::*;

    fn rule(rule: Value) -> Notification {
        let mut all =
            json!({"name": "critical", "channel": "ops", "outcomes": ["completed"], "message": "{{ output.text }}"});
        json_patch::merge(&mut all, &rule);
        serde_json::from_value(all).expect("a rule")
    }

    fn notifying(rules: &[Value], request: ClaimRequest) -> ClaimRequest {
        ClaimRequest {
            notifications: rules.iter().cloned().map(rule).collect(),
            ..request
        }
    }

    /// A run whose only step has ended with this answer.
    fn ended(rules: &[Value], status: u16, body: &Value) -> Bench {
        let bench = Bench {
            now_ms: 1_000,
            ..Bench::default()
        };
        bench.ask("c", notifying(rules, background("k", 1)));
        let execution = bench.execution();
        let commit = CommitRequest {
            ordinal: execution.ordinal,
            generation: execution.generation,
            answer: StoredAnswer {
                status,
                body: body.to_string(),
            },
            retryable: false,
            retry_after_ms: 0,
            state: None,
            operations: Vec::new(),
        };
        bench.ask("instance", commit.clone());
        // Once, also where the commit is repeated.
        bench.ask("instance", commit);
        bench
    }

    fn texts(bench: &Bench) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(work) = bench.work() {
            match work {
                Work::Deliver(parcel) => texts.push(parcel.notice.expect("a notice").text),
                other => panic!("{other:?}"),
            }
        }
        texts
    }

    fn completed(text: &str) -> Value {
        json!({"status": "completed", "output": {"text": text, "secret": "s3cret"}})
    }

    #[test]
    fn rules_decide_what_is_told() {
        let failed = json!({"status": "failed", "error": {"code": "boom", "message": "It broke", "retryable": false}});
        let problem = json!({"status": 504, "code": "deadline-exceeded", "title": "Too late"});
        let cancelled = json!({"status": "cancelled"});
        let contains = json!({"condition": "'CRITICAL' in output.text"});
        for (rules, status, body, expected) in [
            (vec![json!({})], 200, completed("all well"), vec!["all well"]),
            (vec![contains.clone()], 200, completed("all well"), vec![]),
            (
                vec![contains.clone()],
                200,
                completed("a CRITICAL one"),
                vec!["a CRITICAL one"],
            ),
            (
                vec![contains.clone(), json!({"message": "twice"})],
                200,
                completed("CRITICAL"),
                vec!["CRITICAL", "twice"],
            ),
            (vec![contains], 200, failed.clone(), vec![]),
            (
                vec![json!({"outcomes": ["failed"], "message": "{{ error.code }}: {{ error.message }}"})],
                200,
                failed.clone(),
                vec!["boom: It broke"],
            ),
            (
                vec![json!({"outcomes": ["failed"], "message": "{{ error.code }}: {{ error.message }}"})],
                504,
                problem,
                vec!["deadline-exceeded: Too late"],
            ),
            (
                vec![
                    json!({"outcomes": ["failed", "cancelled"], "message": "{{ agent }} {{ run }} {{ step }} {{ attempt }} {{ outcome }}"}),
                ],
                200,
                cancelled,
                vec!["echo r s 1 cancelled"],
            ),
            (
                vec![json!({"condition": "output.none > 1"})],
                200,
                completed("x"),
                vec![
                    "Whether this is to be told could not be decided: its condition refers to something that is not there; use `is defined` or the filter `default`.",
                ],
            ),
            (
                vec![json!({"message": "{{ output.none }}"})],
                200,
                completed("x"),
                vec![
                    "The message could not be filled in: it refers to something that is not there; use `is defined` or the filter `default`.",
                ],
            ),
        ] {
            assert_eq!(texts(&ended(&rules, status, &body)), expected, "{rules:?} {body}");
        }
    }

    #[test]
    fn nothing_of_an_output_is_told_but_what_the_message_names() {
        let bench = ended(&[json!({"message": "see the run"})], 200, &completed("t0p"));
        let parcel = serde_json::to_string(&bench.parcel()).expect("JSON");
        assert!(parcel.contains("see the run"));
        assert!(!parcel.contains("t0p") && !parcel.contains("s3cret"), "{parcel}");
    }

    #[test]
    fn an_attempt_that_is_lost_or_cancelled_is_told_as_well() {
        let any = json!({"outcomes": ["failed", "cancelled"], "message": "{{ outcome }}"});
        let mut bench = Bench::default();
        bench.ask("c", notifying(std::slice::from_ref(&any), background("k", 1)));
        let _ = bench.execution();
        bench.now_ms += 1_000_000;
        let Some(Work::Deliver(parcel)) = bench.work() else {
            panic!("nothing is told");
        };
        assert_eq!(parcel.notice.expect("a notice").text, "failed");
        let bench = Bench::default();
        bench.ask("c", notifying(&[any], background("k", 1)));
        bench.cancel("s");
        assert_eq!(texts(&bench), ["cancelled"]);
    }

    #[test]
    fn what_is_executed_again_is_not_told_yet() {
        let bench = Bench::default();
        let failing = json!({"outcomes": ["completed", "failed"], "message": "told"});
        bench.ask("c", notifying(&[failing], retrying(2, background("k", 1))));
        let execution = bench.execution();
        bench.commit(&execution, "one", true);
        assert_eq!(bench.work(), None);
    }

    #[test]
    fn a_callback_and_notices_are_apart() {
        let bench = Bench::default();
        bench.ask(
            "c",
            notifying(
                &[json!({"message": "m"}), json!({"message": "n"})],
                calling_back(background("k", 1)),
            ),
        );
        let execution = bench.execution();
        bench.commit(&execution, "one", false);
        let parcels: Vec<Parcel> = (0..3).map(|_| bench.parcel()).collect();
        let mut ids: Vec<_> = parcels.iter().map(|parcel| parcel.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        for parcel in &parcels {
            let how = match parcel.notice {
                Some(_) => Sent::Refused("410".into()),
                None => Sent::Delivered,
            };
            bench.transact(|storage| sent(storage, parcel, how, bench.moment("instance")).unwrap());
        }
        assert_eq!(
            bench.status("s").callback.expect("a callback").status,
            DeliveryState::Delivered
        );
        // Both are given up, listed for the operator, and sent again.
        let letters = [(); 2].map(|()| match bench.work() {
            Some(Work::Report(place, letter)) => (place, letter),
            other => panic!("no report, but {other:?}"),
        });
        for (place, letter) in letters {
            assert_eq!(letter.url, "channel:ops");
            bench.transact(|storage| reported(storage, place, &letter).unwrap());
            let delivery = letter.delivery.clone();
            let status = bench.ask("operator", Resend { delivery }).expect("a delivery");
            assert_eq!(status.status, DeliveryState::Pending);
        }
        assert_eq!(texts(&bench), ["m", "n"]);
    }
}
