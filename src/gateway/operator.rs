//! What an operator may see and do, with a key of purpose `operate`.

use serde_json::json;

use super::preferences::query_parameter;
use super::reply::Reply;
use super::{Acted, Gateway};
use crate::invocation::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::RunName;
use crate::run::delivery::{DeadLetter, DeliveryState, Resend};

/// So many dead letters are told at once, unless fewer are asked for.
pub const DEAD_LETTERS_MAX: usize = 100;

/// Which part of a list is asked for.
pub(super) struct Page<'q> {
    /// How many at most.
    pub(super) limit: usize,
    /// From after the one of this moment (Unix milliseconds) and id on, newest first.
    pub(super) before: Option<(u64, &'q str)>,
}

impl<'q> Page<'q> {
    /// Reads a query's `limit` and `cursor`.
    pub(super) fn of(query: Option<&'q str>, limit_max: usize) -> Result<Self, Problem> {
        let invalid = |reason: String| Problem::PathInvalid { reason };
        let limit_invalid = || {
            invalid(format!(
                "the query's `limit` must be one whole number from 1 to {limit_max}"
            ))
        };
        let limit = match query_parameter(query, "limit").map_err(|()| limit_invalid())? {
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=limit_max).contains(limit));
                limit.ok_or_else(limit_invalid)?
            }
            None => limit_max,
        };
        let cursor_invalid = || invalid("the query's `cursor` must be the `next` of an answer".to_owned());
        let cursor = query_parameter(query, "cursor").map_err(|()| cursor_invalid())?;
        let before = match cursor {
            Some(cursor) => {
                let (at_ms, id) = cursor.split_once('-').ok_or_else(cursor_invalid)?;
                Some((at_ms.parse().map_err(|_| cursor_invalid())?, id))
            }
            None => None,
        };
        Ok(Self { limit, before })
    }
}

impl Gateway<'_> {
    pub(super) async fn dead_letters<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        query: Option<&str>,
    ) -> Result<Acted, Problem> {
        let Page { limit, before } = Page::of(query, DEAD_LETTERS_MAX)?;
        // One more tells whether there are more.
        let mut letters = caller.platform.dead_letters(before, limit + 1).await?;
        let more = letters.len() > limit;
        letters.truncate(limit);
        let mut body = json!({ "dead_letters": letters });
        if let Some(DeadLetter {
            dead_at_ms, delivery, ..
        }) = letters.last().filter(|_| more)
        {
            body["next"] = format!("{dead_at_ms}-{delivery}").into();
        }
        Ok(Acted::Reply(Reply::json(&body)))
    }

    pub(super) async fn resend<P: Platform>(&self, caller: &Caller<'_, P>, delivery: &str) -> Result<Acted, Problem> {
        let letter = caller.platform.dead_letter(delivery).await?;
        let letter = letter.ok_or(Problem::DeliveryUnknown)?;
        let run = RunName::new(&letter.orchestrator, &letter.run);
        let question = Resend {
            delivery: delivery.to_owned(),
        };
        let status = caller.ask(&run, question).await?;
        // First the run, then the list: a letter that is on its way again and still listed is sent once more, at worst.
        if status
            .as_ref()
            .is_none_or(|status| status.status != DeliveryState::Dead)
        {
            caller.platform.remove_dead_letter(&letter).await?;
        }
        let status = status.ok_or(Problem::DeliveryUnknown)?;
        Ok(Acted::Reply(Reply::json(
            &json!({ "delivery": status.id, "status": status.status }),
        )))
    }
}
