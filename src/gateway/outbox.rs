//! The outboxes of all runs, as an operator sees them: who does not take what it is sent, and what was given up.

use serde_json::{Value, json};

use super::operator::Page;
use super::reply::Reply;
use super::{Acted, Gateway};
use crate::invocation::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::outbox_report::DeadEvent;
use crate::telemetry::otlp::Verdict;

/// So many events that were given up are told at once, unless fewer are asked for.
pub const OUTBOX_LETTERS_MAX: usize = 100;

impl Gateway<'_> {
    /// `GET /operator/outbox`
    pub(super) async fn outbox<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        query: Option<&str>,
    ) -> Result<Acted, Problem> {
        let page = Page::of(query, OUTBOX_LETTERS_MAX)?;
        let lags = caller.platform.outbox_lags().await?;
        // One more tells whether there are more.
        let mut letters = caller.platform.dead_events(page.before, page.limit + 1).await?;
        let more = letters.len() > page.limit;
        letters.truncate(page.limit);
        let shown: Vec<_> = letters.iter().map(shown).collect();
        let mut body = json!({ "waiting": lags, "dead_letters": shown });
        if let Some(last) = letters.last().filter(|_| more) {
            body["next"] = format!("{}-{}", last.dead_at_ms, last.letter).into();
        }
        Ok(Acted::Reply(Reply::json(&body)))
    }

    /// `POST /operator/outbox/{letter}/resend`: one try, now. An event that arrived is taken off the list.
    pub(super) async fn resend_event<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        letter: &str,
    ) -> Result<Acted, Problem> {
        let dead = caller
            .platform
            .dead_event(letter)
            .await?
            .ok_or(Problem::OutboxLetterUnknown)?;
        let (status, reason) = match caller.platform.export(&dead.destination, &dead.event).await {
            Verdict::Delivered { .. } => {
                caller.platform.remove_dead_event(letter).await?;
                ("delivered", None)
            }
            Verdict::Retry { reason, .. } | Verdict::Paused { reason } | Verdict::Refused { reason, .. } => {
                ("dead", Some(reason))
            }
        };
        let mut body = json!({ "letter": letter, "status": status });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        Ok(Acted::Reply(Reply::json(&body)))
    }
}

fn shown(dead: &DeadEvent) -> Value {
    json!({
        "letter": dead.letter,
        "destination": dead.destination,
        "orchestrator": dead.event.orchestrator,
        "run": dead.event.run,
        "event": dead.event.what.name(),
        "at_ms": dead.event.at_ms,
        "reason": dead.reason,
        "dead_at_ms": dead.dead_at_ms,
    })
}
