//! Conversations, as their owners erase them and operators look at them.

use super::reply::Reply;
use super::{Acted, Gateway};
use crate::access::Customer;
use crate::conversation::{Answer, Ask, ConversationName};
use crate::invocation::Caller;
use crate::platform::{Platform, StorageUnavailable};
use crate::problem::Problem;

impl Gateway<'_> {
    /// Erases a customer's own conversation. It is no matter whether there was one: there is none now.
    pub(super) async fn erase_own_conversation<P: Platform>(
        &self,
        customer: &Customer,
        id: &str,
        platform: &P,
    ) -> Result<Reply, Problem> {
        erase(&ConversationName::of_key(&customer.key, id), platform).await
    }

    /// Erases any conversation, for an operator.
    pub(super) async fn erase_conversation_of<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        name: (&str, &str),
    ) -> Result<Acted, Problem> {
        Ok(Acted::Reply(erase(&named(name)?, caller.platform).await?))
    }

    /// What is kept of a conversation, for an operator.
    pub(super) async fn conversation<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        name: (&str, &str),
    ) -> Result<Acted, Problem> {
        let name = named(name)?;
        let Answer::Kept(kept) = caller.platform.conversations().ask(&name, &Ask::Show).await? else {
            return Err(Problem::Internal);
        };
        let kept = kept.ok_or(Problem::ConversationUnknown)?;
        let turns = kept.history.turns.iter().map(|turn| {
            serde_json::json!({
                "number": turn.number,
                "agent": turn.agent,
                "said": turn.said,
                "output": turn.output,
                "at_ms": turn.at_ms,
            })
        });
        let mut body = serde_json::json!({
            "owner": name.owner,
            "conversation": name.id,
            "turns": turns.collect::<Vec<_>>(),
            "waiting": kept.waiting,
            "expires_at_ms": kept.expires_at_ms,
        });
        if let Some(summary) = kept.history.summary {
            body["summary"] = summary.into();
        }
        Ok(Acted::Reply(Reply::json(&body)))
    }
}

async fn erase<P: Platform>(name: &ConversationName, platform: &P) -> Result<Reply, Problem> {
    match platform.conversations().ask(name, &Ask::Erase).await? {
        Answer::Done => Ok(Reply::no_content()),
        _ => Err(StorageUnavailable.into()),
    }
}

fn named((owner, id): (&str, &str)) -> Result<ConversationName, Problem> {
    match owner.split_once(':') {
        Some(("key", key)) => Ok(ConversationName::of_key(key, id)),
        Some(("orchestrator", orchestrator)) => Ok(ConversationName::of_orchestrator(orchestrator, id)),
        _ => Err(Problem::PathInvalid {
            reason:
                "the owner of a conversation is `key:` and an API key's id, or `orchestrator:` and an orchestrator's"
                    .to_owned(),
        }),
    }
}
