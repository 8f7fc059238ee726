//! Runs: their state, their handoffs, and their end.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::preferences::query_parameter;
use super::reply::{Reply, has};
use super::{Acted, Gateway};
use crate::invocation::{Caller, Invocation, Mode, StepBody, check, read_json, read_message, refusal, satisfies};
use crate::manifest::AgentManifest;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::handoff::{HandOffRequest, Handed, HandedOff, Handoff};
use crate::run::record::Forget;
use crate::run::state::{Conflict, Expected, Kept, Put, PutState, Read, ReadState, STATE_MAX_BYTES};
use crate::run::status::StepStatus;
use crate::run::{Admit, RUN_ID_MAX_BYTES};
use crate::signature::digest::hex_digest;

/// How often a state that somebody else keeps changing is read anew.
const READS_MAX: usize = 5;

/// The body of a handoff, its shape checked by `handoff.schema.json`.
#[derive(Debug, Deserialize)]
struct HandoffBody {
    run: String,
    from: String,
    reason: String,
    version: Option<u64>,
    state: Option<Value>,
    step: Option<StepBody>,
}

impl Gateway<'_> {
    pub(super) async fn forget<P: Platform>(&self, caller: &Caller<'_, P>, run: &str) -> Result<Acted, Problem> {
        caller.ask(&caller.run(run), Forget).await?;
        Ok(Acted::Reply(Reply::no_content()))
    }

    pub(super) async fn read_state<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        run: &str,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        let invalid = || Problem::PathInvalid {
            reason: "the query's `version` must be one whole number from 1 on, such as ?version=3".into(),
        };
        let version = query_parameter(request.uri().query(), "version").map_err(|()| invalid())?;
        let version = match version {
            Some(text) => {
                let number = text.parse().ok().filter(|number| *number > 0);
                Some(number.ok_or_else(invalid)?)
            }
            None => None,
        };
        let Kept { version, content } = match caller.ask(&caller.run(run), ReadState { version }).await? {
            Read::Kept(kept) => *kept,
            Read::Gone => return Err(Problem::StateGone),
            Read::Unknown => return Err(Problem::StateUnknown),
        };
        if has(request.headers(), &version.etag) {
            return Ok(Acted::Reply(Reply::not_modified(&version.etag)));
        }
        Ok(Acted::Reply(Reply::text(content).with(ETAG, &version.etag)))
    }

    pub(super) async fn put_state<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        run: &str,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        check_run_id(run)?;
        let expected = expected(request.headers())?;
        let value = read_json(request.body(), self.team.gateway.limits.json_depth_max)?;
        let content = std::str::from_utf8(request.body()).map_err(|_| Problem::Internal)?;
        let mut question = PutState {
            using: caller.using(run),
            expected,
            // As it was sent: its digest is the one that its writer knows.
            content: content.to_owned(),
            idempotency_key: caller.verified()?.idempotency_key().map(str::to_owned),
            checked_for: None,
        };
        let (version, replayed) = loop {
            match caller.ask(&question.using.name, question.clone()).await? {
                Put::Written { version, replayed } => break (version, replayed),
                Put::Conflict(conflict) => return Err(Problem::StateConflict(conflict)),
                Put::KeyMismatch => return Err(Problem::IdempotencyMismatch),
                Put::CheckFor(agent) => {
                    // An agent that is no more checks nothing.
                    let schema = self.team.agent(&agent).and_then(|agent| agent.state.as_ref());
                    if let Some(schema) = schema {
                        satisfies(check(schema, &value, "")?)?;
                    }
                    question.checked_for = Some(agent);
                }
            }
        };
        let receipt = json!({
            "run": run,
            "version": version.version,
            "digest": version.digest,
            "bytes": version.bytes,
        });
        let status = if version.version == 1 {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let reply = Reply::json(&receipt).status(status).with(ETAG, &version.etag);
        Ok(Acted::Reply(reply.replayed(replayed)))
    }

    pub(super) async fn hand_off<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Caller<'_, P>,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        let value = read_message("handoff", request.body(), self.team.gateway.limits.json_depth_max)?;
        let canonical = serde_json_canonicalizer::to_vec(&json!({"agent": agent.id, "handoff": value}));
        let fingerprint = hex_digest(&canonical.map_err(|_| Problem::Internal)?);
        let body: HandoffBody = serde_json::from_value(value).map_err(|_| Problem::Internal)?;
        check_run_id(&body.run)?;
        let key = caller.verified()?.idempotency_key().ok_or(Problem::Internal)?;
        let first = match body.step {
            Some(step) => {
                let config = (self.team, self.config);
                let what = (body.run.as_str(), step, "/step");
                let claim = Invocation::prepare(agent, config, caller, what, key, Mode::Background)?;
                Some(Box::new(claim))
            }
            None => None,
        };
        let id = hex_digest(format!("{}\n{key}", caller.run(&body.run).object()).as_bytes());
        let mut question = HandOffRequest {
            using: caller.using(&body.run),
            parent_span: caller.parent_span(),
            handoff: Handoff {
                handoff: format!("hnd_{}", &id[..32]),
                idempotency_key: key.to_owned(),
                fingerprint,
                agent: agent.id.clone(),
                from: body.from,
                reason: body.reason,
                version: None,
                digest: None,
                accepted_at_ms: 0,
                traceparent: caller.traceparent(),
            },
            state: Handed::Kept(0),
            first,
        };
        // Whoever sends a captured handoff again is not told how the state is now.
        caller.ask(&question.using.name, Admit).await?;
        let slot = match &question.first {
            Some(first) => self.take_slot(caller, first).await?,
            None => None,
        };
        let accepted = self
            .accept(agent, caller, (&mut question, body.state.as_ref(), body.version))
            .await;
        // A first step that was accepted gives its slot back by itself, when it ends.
        let runs = matches!(accepted, Ok((_, _, false)));
        if let Some(slot) = slot.filter(|_| !runs) {
            slot.free(caller).await;
        }
        let (handoff, step, replayed) = accepted?;
        receipt(&body.run, &handoff, step.as_deref(), replayed)
    }

    /// Has the run accept a handoff, with a state that fits the agent's schema. Answers the handoff, its first step, and
    /// whether that was by an earlier request.
    async fn accept<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Caller<'_, P>,
        (question, state, version): (&mut HandOffRequest, Option<&Value>, Option<u64>),
    ) -> Result<(Box<Handoff>, Option<Box<StepStatus>>, bool), Problem> {
        let run = question.using.name.clone();
        for _ in 0..READS_MAX {
            question.state = match state {
                Some(state) => written(agent, state, version)?,
                None => self.kept(agent, caller, &run.run, version).await?,
            };
            match caller.ask(&run, question.clone()).await? {
                HandedOff::Accepted {
                    handoff,
                    step,
                    replayed,
                } => return Ok((handoff, step, replayed)),
                // The state was changed between the check and this: the new one is checked, unless the caller named one.
                HandedOff::Conflict(_) if state.is_none() && version.is_none() => {}
                HandedOff::Conflict(conflict) => return Err(Problem::StateConflict(conflict)),
                HandedOff::KeyMismatch => return Err(Problem::IdempotencyMismatch),
                HandedOff::StepRefused(claim) => return Err(refusal(*claim)),
                HandedOff::Full => return Err(Problem::RunFull),
            }
        }
        Err(Problem::StorageUnavailable)
    }

    /// The state that the run keeps, once it is known to fit the agent's schema.
    async fn kept<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Caller<'_, P>,
        run: &str,
        version: Option<u64>,
    ) -> Result<Handed, Problem> {
        match caller.ask(&caller.run(run), ReadState { version: None }).await? {
            Read::Kept(kept) if version.is_none_or(|version| version == kept.version.version) => {
                if let Some(schema) = &agent.state {
                    let state = read_json(kept.content.as_bytes(), usize::MAX)?;
                    satisfies(check(schema, &state, "/state")?)?;
                }
                Ok(Handed::Kept(kept.version.version))
            }
            Read::Kept(kept) => Err(Problem::StateConflict(Conflict {
                current_version: kept.version.version,
                current_etag: Some(kept.version.etag),
            })),
            Read::Gone | Read::Unknown if version.is_some() => Err(Problem::StateConflict(Conflict::default())),
            Read::Gone | Read::Unknown => Ok(Handed::Kept(0)),
        }
    }
}

/// A state that is handed over with the run.
fn written(agent: &AgentManifest, state: &Value, base: Option<u64>) -> Result<Handed, Problem> {
    if let Some(schema) = &agent.state {
        satisfies(check(schema, state, "/state")?)?;
    }
    let content = state.to_string();
    if content.len() > STATE_MAX_BYTES {
        return Err(Problem::BodyTooLarge {
            max_bytes: STATE_MAX_BYTES,
        });
    }
    Ok(Handed::Written { base, content })
}

fn receipt(run: &str, handoff: &Handoff, step: Option<&StepStatus>, replayed: bool) -> Result<Acted, Problem> {
    let mut receipt = json!({
        "handoff": handoff.handoff,
        "run": run,
        "agent": handoff.agent,
        "from": handoff.from,
        "reason": handoff.reason,
        "accepted_at_ms": handoff.accepted_at_ms,
        "traceparent": handoff.traceparent,
    });
    if let Some(version) = handoff.version {
        receipt["version"] = version.into();
        receipt["digest"] = handoff.digest.clone().into();
    }
    if let Some(step) = step {
        receipt["step"] = serde_json::to_value(step).map_err(|_| Problem::Internal)?;
    }
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Acted::Reply(Reply::json(&receipt).status(status).replayed(replayed)))
}

/// The id of a run that is to be made: what a body's schema says of it, said of a path.
fn check_run_id(run: &str) -> Result<(), Problem> {
    let fits = (1..=RUN_ID_MAX_BYTES).contains(&run.len()) && !run.chars().any(char::is_control);
    if fits && !matches!(run, "." | "..") {
        return Ok(());
    }
    Err(Problem::PathInvalid {
        reason: format!("a run's id has 1 to {RUN_ID_MAX_BYTES} bytes of text without control characters"),
    })
}

/// What a write expects to be current. It must say so, and in one way.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let field = |name| match headers.get(name) {
        Some(field) => field.to_str().map(Some).map_err(|_| Problem::PreconditionInvalid),
        None => Ok(None),
    };
    match (field(IF_MATCH)?, field(IF_NONE_MATCH)?) {
        (None, None) => Err(Problem::PreconditionRequired),
        (None, Some(none)) if none.trim() == "*" => Ok(Expected::Nothing),
        (Some(tags), None) if tags.trim() == "*" => Ok(Expected::Anything),
        (Some(tags), None) => {
            // Strong comparison (RFC 9110 section 13.1.1): a weak tag never matches. No tag of ours has a comma.
            let tags: Vec<_> = tags.split(',').map(|tag| tag.trim().to_owned()).collect();
            let strong = |tag: &String| tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
            if tags.iter().all(strong) {
                Ok(Expected::OneOf(tags))
            } else {
                Err(Problem::PreconditionInvalid)
            }
        }
        _ => Err(Problem::PreconditionInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn a_write_says_what_it_replaces_in_one_way() {
        let check = |fields: &[(HeaderName, &str)], expected_now: Result<Expected, Problem>| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(expected(&headers), expected_now, "{fields:?}");
        };
        let one_of = |tags: &[&str]| Ok(Expected::OneOf(tags.iter().map(|&tag| tag.into()).collect()));
        check(&[], Err(Problem::PreconditionRequired));
        check(&[(IF_NONE_MATCH, "*")], Ok(Expected::Nothing));
        check(&[(IF_NONE_MATCH, "\"1-a\"")], Err(Problem::PreconditionInvalid));
        check(&[(IF_MATCH, "*")], Ok(Expected::Anything));
        check(&[(IF_MATCH, "\"1-a\"")], one_of(&["\"1-a\""]));
        check(&[(IF_MATCH, "\"1-a\", \"2-b\"")], one_of(&["\"1-a\"", "\"2-b\""]));
        check(&[(IF_MATCH, "W/\"1-a\"")], Err(Problem::PreconditionInvalid));
        check(&[(IF_MATCH, "1-a")], Err(Problem::PreconditionInvalid));
        check(&[(IF_MATCH, "\"")], Err(Problem::PreconditionInvalid));
        check(
            &[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")],
            Err(Problem::PreconditionInvalid),
        );
    }

    #[test]
    fn ids_of_runs() {
        let check = |run: &str, fits: bool| assert_eq!(check_run_id(run).is_ok(), fits, "{run:?}");
        check("a b/c?ä", true);
        check(&"ä".repeat(64), true);
        check(&"ä".repeat(65), false);
        check("", false);
        check(".", false);
        check("..", false);
        check("a\nb", false);
    }
}
