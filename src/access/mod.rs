//! Who may call besides those who sign: customers with API keys, and how often; operators in a browser. And how many steps
//! an orchestrator may have under way.
//!
//! In scope: what a key is, how it is compared, and the buckets of keys and of client addresses. All of it is pure: a
//! Durable Object of its own per key and per address keeps the states ([`key::KeyState`], [`address::AddressState`]), and
//! asks what becomes of them. An orchestrator's slots are kept in one as well ([`slots::Slots`]). An operator's session
//! ([`session`]) is kept nowhere. Out of scope: what a call does.

pub mod address;
pub mod browser;
pub mod bucket;
pub mod cors_origins;
pub mod key;
pub mod metrics_token;
pub mod session;
pub mod slots;

pub use self::address::{AddressState, Arrival, client_address};
pub use self::browser::{SessionCookie, is_same_origin};
pub use self::bucket::{Rate, RateLimit, RatePolicy, TokenBucket};
pub use self::cors_origins::{CorsOriginError, CorsOrigins};
pub use self::key::{ApiKey, KeyState, KeyText, PresentedKey, SecretDigest};
pub use self::metrics_token::{MetricsToken, MetricsTokenError};
pub use self::session::{SESSION_MAX_S, SESSION_S, Session};
pub use self::slots::{Slot, Slots, Taken, slot_id};

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// What a call with an API key comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// The key is good, and one call was taken from its bucket.
    Admitted {
        /// Whose it is.
        key: ApiKey,
        /// What the key has left.
        rate: Rate,
    },
    /// There is no such key, or its secret is another, or it was revoked, or it has expired: nobody is told which.
    Invalid,
    /// Too many calls, of the key or of the address.
    Limited {
        /// Whose bucket is empty.
        rate: Rate,
        /// When a call is taken again, in milliseconds from now.
        retry_after_ms: u64,
    },
}

/// A caller whose API key is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The key's id, which is no secret.
    pub key: String,
    /// The agents that it may call; `*` is all of them.
    pub agents: Vec<String>,
}

impl Customer {
    /// Checks that the customer may call this agent.
    ///
    /// # Errors
    /// 403 `agent-not-allowed`.
    pub fn authorise(&self, agent: &str) -> Result<(), Problem> {
        if self.agents.iter().any(|allowed| allowed == "*" || allowed == agent) {
            Ok(())
        } else {
            Err(Problem::AgentNotAllowed)
        }
    }
}

impl From<&Session> for Customer {
    /// An operator who tries an agent. Its name is no API key's: those have no slash.
    fn from(session: &Session) -> Self {
        Self {
            key: format!("operator/{}", session.key_id),
            agents: session.agents.clone(),
        }
    }
}

impl From<ApiKey> for Customer {
    fn from(key: ApiKey) -> Self {
        Self {
            key: key.id,
            agents: key.agents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_may_call_what_its_key_names() {
        let check = |agents: &[&str], agent: &str, expected| {
            let agents = agents.iter().map(|id| (*id).to_owned()).collect();
            let customer = Customer {
                key: "k".into(),
                agents,
            };
            assert_eq!(customer.authorise(agent).is_ok(), expected, "{customer:?} {agent}");
        };
        check(&["*"], "triage", true);
        check(&["redact", "triage"], "triage", true);
        check(&["redact"], "triage", false);
        check(&["triage"], "triag", false);
        check(&[], "triage", false);
        let nobody = Customer {
            key: "k".into(),
            agents: Vec::new(),
        };
        assert_eq!(nobody.authorise("triage"), Err(Problem::AgentNotAllowed));
    }
}
