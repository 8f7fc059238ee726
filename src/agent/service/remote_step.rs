//! The step on the other gateway: its ids, and the requests about it.
//!
//! Its ids are made of ours, so that whoever executes our step once more asks for the same step there, and gets its answer:
//! one effect over both gateways. They are digests, since ours may be as long as those may be.

use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use super::super::{Context, Failure, misconfigured};
use crate::gateway::{WAIT_MAX_S, segment};
use crate::manifest::{DEADLINE_MAX_MS, RemoteAgent};
use crate::run::RunName;
use crate::signature::digest::hex_digest;
use crate::signature::profile::{DEPTH, DEPTH_MAX, IDEMPOTENCY_KEY};

/// An id has so many hexadecimal digits: it is unique, and short enough for a workflow to make longer ones of it.
const ID_CHARS: usize = 32;

/// A step on another gateway.
pub(super) struct RemoteStep<'a> {
    origin: &'a str,
    agent: &'a str,
    input: &'a Value,
    run: String,
    step: String,
    depth: u32,
    traceparent: Option<&'a str>,
}

impl<'a> RemoteStep<'a> {
    /// The step by which our agent's step on this input is done.
    ///
    /// # Errors
    /// When the call went through too many gateways already.
    pub(super) fn of(
        agent: &str,
        (remote, origin): (&'a RemoteAgent, &'a str),
        input: &'a Value,
        context: &Context<'a>,
    ) -> Result<Self, Failure> {
        let depth = context.behalf.depth + 1;
        if depth > DEPTH_MAX {
            let message = format!(
                "the call went through {DEPTH_MAX} gateways already, which is the most: do they call each other in a circle?"
            );
            return Err(Failure::terminal("gateway-depth-exceeded", message));
        }
        // A model may use an agent several times within its step, and handoffs lead to several agents.
        let work = serde_json_canonicalizer::to_vec(&json!([context.step, agent, input]));
        let work = work.map_err(|_| misconfigured("the input is no plain JSON"))?;
        let run = RunName::new(&context.behalf.orchestrator, context.run).object();
        Ok(Self {
            origin,
            agent: &remote.agent,
            input,
            run: id_of(run.as_bytes()),
            step: id_of(&work),
            depth,
            traceparent: context.traceparent,
        })
    }

    /// Asks for an attempt, and to wait for its end: it goes on there when we do not.
    pub(super) fn invocation(&self, attempt: u32, left_ms: u64) -> http::Result<http::Request<Vec<u8>>> {
        let Self { origin, run, step, .. } = self;
        let body = json!({
            "run": run,
            "step": step,
            "attempt": attempt,
            "input": self.input,
            "deadline_ms": left_ms.clamp(1, DEADLINE_MAX_MS),
            "follow_handoffs": true,
        });
        let wait_s = left_ms.div_ceil(1_000).clamp(1, WAIT_MAX_S);
        self.request(format!("{origin}/agents/{}/steps", segment(self.agent)))
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, format!("\"{run}/{step}/{attempt}\""))
            .header("prefer", format!("respond-async, wait={wait_s}"))
            .body(body.to_string().into_bytes())
    }

    /// Asks to cancel it.
    pub(super) fn cancellation(&self) -> http::Result<http::Request<Vec<u8>>> {
        let Self { origin, run, step, .. } = self;
        self.request(format!("{origin}/runs/{run}/steps/{step}/cancel"))
            .body(Vec::new())
    }

    fn request(&self, url: String) -> http::request::Builder {
        let request = http::Request::post(url)
            .header(ACCEPT, "application/json, application/problem+json")
            .header(DEPTH, self.depth);
        match self.traceparent {
            Some(span) => request.header("traceparent", span),
            None => request,
        }
    }
}

fn id_of(bytes: &[u8]) -> String {
    hex_digest(bytes)[..ID_CHARS].to_owned()
}
