//! Conversing: a customer's call belongs to a conversation, whoever coordinates it.
//!
//! The gateway says so to the run before it hands the call on. So the orchestrator need not know of the conversation: a step
//! that it invokes in the run finds it there. And it cannot name another customer's: what a step itself names is the
//! orchestrator's own.

use serde::{Deserialize, Serialize};

use super::question::{Moment, Question};
use super::record::{self, Use};
use super::storage::Storage;
use crate::conversation::ConversationName;

/// Says to which conversation the run belongs. It is made if it is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The run.
    pub using: Use,
    /// The conversation.
    pub conversation: ConversationName,
}

impl Question for Join {
    const NAME: &'static str = "join";
    const USES_NONCE: bool = false;
    type Answer = ();

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<(), S::Error> {
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        run.conversation = Some(self.conversation.clone());
        record::save(storage, &run)
    }
}

/// The conversation of a step that names none.
pub(super) fn of<S: Storage>(storage: &S) -> Result<Option<ConversationName>, S::Error> {
    Ok(record::find(storage)?.and_then(|run| run.conversation))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Claim;
    use super::super::testing::{Bench, request, using};
    use super::*;

    #[test]
    fn a_claim_finds_the_conversation_of_its_run() {
        let bench = Bench::default();
        let conversation = ConversationName::of_key("k1", "c");
        let join = Join {
            using: using(),
            conversation: conversation.clone(),
        };
        bench.ask("gateway", join);
        match bench.ask("c", request("k", 1)) {
            Claim::Granted {
                conversation: found, ..
            } => assert_eq!(found, Some(conversation)),
            other => panic!("{other:?}"),
        }
    }
}
