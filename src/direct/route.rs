//! How a call was routed, and why.

use serde::Serialize;
use serde_json::{Value, json};

use super::hand_on::Reason;

/// How a call was routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The orchestrator coordinated it.
    Orchestrated {
        /// Which one.
        orchestrator: String,
        /// Those that were to coordinate it before.
        tried: Vec<Tried>,
    },
    /// The gateway did, in the place of the orchestrator.
    Fallback {
        /// Which one did not answer: the last one that was to coordinate it.
        orchestrator: String,
        /// Why not.
        reason: Reason,
        /// The same for people.
        detail: String,
        /// Those that were to coordinate it before.
        tried: Vec<Tried>,
    },
    /// The gateway did: no orchestrator is configured for the agent.
    Local,
    /// Nobody: the same call was answered before.
    Stored,
}

/// An orchestrator that was to coordinate a call, and from which it was passed on to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Which one.
    pub orchestrator: String,
    /// Why it does not coordinate the call, for programs.
    pub reason: &'static str,
}

impl Route {
    /// The route in a word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Orchestrated { .. } => "orchestrated",
            Self::Fallback { .. } => "fallback",
            Self::Local => "local",
            Self::Stored => "stored",
        }
    }

    /// Those that were to coordinate the call before, in their order.
    #[must_use]
    pub fn tried(&self) -> &[Tried] {
        match self {
            Self::Orchestrated { tried, .. } | Self::Fallback { tried, .. } => tried,
            Self::Local | Self::Stored => &[],
        }
    }

    /// The value of the header field `Baton-Route`: a structured item.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::Fallback { reason, .. } => format!("fallback;reason={}", reason.code()),
            other => other.name().to_owned(),
        }
    }

    /// As it stands in an answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut route = json!({"by": self.name()});
        match self {
            Self::Orchestrated { orchestrator, .. } => route["orchestrator"] = orchestrator.as_str().into(),
            Self::Fallback {
                orchestrator,
                reason,
                detail,
                ..
            } => {
                route["orchestrator"] = orchestrator.as_str().into();
                route["reason"] = reason.code().into();
                route["detail"] = detail.as_str().into();
                // The operator has to act: until then no answer is what it should be.
                route["degraded"] = (*reason == Reason::Refused).into();
            }
            Self::Local | Self::Stored => {}
        }
        let tried = self.tried();
        if !tried.is_empty() {
            route["tried"] = json!(tried);
        }
        route
    }
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::*;

    #[test]
    fn answers_say_how_they_came() {
        let outcome =
            json!({"run": "r", "step": "query", "attempt": 1, "agent": "a", "status": "completed", "output": 1});
        let fallback = |tried| Route::Fallback {
            orchestrator: "acme".into(),
            reason: Reason::Refused,
            detail: "why".into(),
            tried,
        };
        let route = fallback(Vec::new());
        assert_eq!(
            Answer::Outcome(outcome).to_json("r", &route),
            json!({
                "run": "r", "step": "query", "agent": "a", "status": "completed", "output": 1,
                "route": {"by": "fallback", "orchestrator": "acme", "reason": "refused", "detail": "why", "degraded": true},
            })
        );
        assert_eq!(route.field(), "fallback;reason=refused");
        assert_eq!(Route::Local.to_json(), json!({"by": "local"}));
        let tried = vec![Tried {
            orchestrator: "first".into(),
            reason: Reason::BreakerOpen.code(),
        }];
        assert_eq!(
            fallback(tried).to_json()["tried"],
            json!([{"orchestrator": "first", "reason": "breaker-open"}])
        );
    }
}
