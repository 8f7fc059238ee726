//! `baton step`: a signed step, and its answer as far as it can be trusted.

use std::time::Duration;

use baton::signature::{Purpose, path};
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::args::Step;
use crate::follow::follow;
use crate::id::{in_ascii, quoted};
use crate::output::{Exit, Failure, Report, Style};
use crate::signed::{Answer, Caller, idempotency_key};
use crate::{environment, show};

/// An answer may take this much longer than the step's deadline, for the way there and back.
const GRACE: Duration = Duration::from_secs(10);

/// Signs, sends, verifies and shows.
pub fn run(args: &Step, style: Style) -> Result<Report, Failure> {
    let call = Call::new(args)?;
    let caller = Caller::new(&args.call, Purpose::Invoke, Some(&args.agent))?;
    let answer = call
        .send(&caller, args)
        .map_err(|failure| call.how_to_ask_again(failure, args))?;
    let report = show::step(&answer, args.call.json, style)?;
    if answer.response.status() == StatusCode::ACCEPTED && !args.call.json {
        return Ok(report.note(format!("to follow it: {}", call.watch())));
    }
    Ok(report)
}

/// What is asked for, its defaults filled in.
struct Call {
    run: String,
    step: String,
    idempotency_key: String,
    body: Vec<u8>,
}

impl Call {
    fn new(args: &Step) -> Result<Self, Failure> {
        let run = args
            .run
            .clone()
            .map_or_else(|| environment::random_id().map(|id| format!("run_{id}")), Ok)?;
        let step = args
            .step
            .clone()
            .map_or_else(|| environment::random_id().map(|id| format!("step_{id}")), Ok)?;
        let mut body = Map::new();
        body.insert("run".to_owned(), run.clone().into());
        body.insert("step".to_owned(), step.clone().into());
        body.insert("attempt".to_owned(), args.attempt.into());
        body.insert("input".to_owned(), args.input.read("--input")?);
        if let Some(state) = &args.state {
            body.insert("state".to_owned(), state.read("--state")?);
        }
        if let Some(version) = args.state_version {
            body.insert("state_version".to_owned(), version.into());
        }
        if let Some(deadline_ms) = args.deadline_ms {
            body.insert("deadline_ms".to_owned(), deadline_ms.into());
        }
        if let Some(url) = &args.callback {
            body.insert("callback".to_owned(), json!({"url": url}));
        }
        if args.follow_handoffs {
            body.insert("follow_handoffs".to_owned(), true.into());
        }
        let idempotency_key = args
            .idempotency_key
            .clone()
            .unwrap_or_else(|| default_key(&run, &step, args.attempt));
        let body = Value::Object(body).to_string().into_bytes();
        Ok(Self {
            run,
            step,
            idempotency_key,
            body,
        })
    }

    fn send(&self, caller: &Caller, args: &Step) -> Result<Answer, Failure> {
        if args.stream {
            // The same call again attaches to the step that it began: safe even if the first never arrived.
            return follow(caller, || self.request(caller, args), None, &self.watch());
        }
        let request = self.request(caller, args)?;
        let patience = if args.respond_async {
            Duration::from_secs(args.wait.unwrap_or_default())
        } else {
            Duration::from_millis(args.deadline_ms.unwrap_or(baton::manifest::DEADLINE_MAX_MS))
        };
        caller.call(request, patience + GRACE)
    }

    fn request(&self, caller: &Caller, args: &Step) -> Result<Request<Vec<u8>>, Failure> {
        let mut builder = caller
            .request(Method::POST, &agent_path(&args.agent, "steps")?)
            .header("idempotency-key", idempotency_key(&self.idempotency_key)?);
        if args.respond_async {
            let wait = args.wait.map(|seconds| format!(", wait={seconds}")).unwrap_or_default();
            builder = builder.header("prefer", format!("respond-async{wait}"));
        }
        Caller::with_json(builder, self.body.clone())
    }

    fn watch(&self) -> String {
        format!("baton run watch {} {}", quoted(&self.run), quoted(&self.step))
    }

    /// A call that got no answer may have had its effect: the same call again gets the stored answer.
    fn how_to_ask_again(&self, failure: Failure, args: &Step) -> Failure {
        // What was asked wrongly was not sent.
        if failure.exit == Exit::Usage {
            return failure;
        }
        let key = args
            .idempotency_key
            .as_ref()
            .map(|key| format!(" --idempotency-key {}", quoted(key)))
            .unwrap_or_default();
        Failure::new(
            failure.exit,
            format!(
                "{}\n  To ask again without a second effect, add: --run {} --step {}{key}",
                failure.message(),
                quoted(&self.run),
                quoted(&self.step)
            ),
        )
    }
}

/// The path of an agent's action.
pub fn agent_path(agent: &str, action: &str) -> Result<String, Failure> {
    let target = format!("/agents/{agent}/{action}");
    if agent.contains('/') || !path::is_canonical(&target) {
        return Err(Failure::usage(format!(
            "`{agent}` is no agent's id: `baton discover` lists the agents of a gateway"
        )));
    }
    Ok(target)
}

/// One key per attempt: the gateway takes a key that comes with another attempt for a mistake.
pub fn default_key(run: &str, step: &str, attempt: u32) -> String {
    let (run, step) = (in_ascii(run), in_ascii(step));
    if attempt == 1 {
        format!("{run}/{step}")
    } else {
        format!("{run}/{step}/{attempt}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_has_its_own_key() {
        assert_eq!(default_key("r", "s", 1), "r/s");
        assert_eq!(default_key("r", "s", 2), "r/s/2");
        assert_eq!(default_key("ä", "s/t", 1), "%C3%A4/s/t");
    }
}
