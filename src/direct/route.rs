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
        /// Whether the orchestrator refuses the gateway's credentials, whatever the reason is: until an operator acts no
        /// answer is what it should be.
        degraded: bool,
        /// Those that were to coordinate it before.
        tried: Vec<Tried>,
    },
    /// The gateway did: no orchestrator is configured for the agent.
    Local,
    /// Nobody: the same call was answered before.
    Stored {
        /// Whether the run is one that the gateway took over from an orchestrator which refused its credentials.
        degraded: bool,
    },
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
            Self::Stored { .. } => "stored",
        }
    }

    /// Those that were to coordinate the call before, in their order.
    #[must_use]
    pub fn tried(&self) -> &[Tried] {
        match self {
            Self::Orchestrated { tried, .. } | Self::Fallback { tried, .. } => tried,
            Self::Local | Self::Stored { .. } => &[],
        }
    }

    /// The value of the header field `Baton-Route`: a structured item.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = self.name().to_owned();
        if let Self::Fallback { reason, .. } = self {
            field.push_str(";reason=");
            field.push_str(reason.code());
        }
        if self.is_degraded() {
            field.push_str(";degraded");
        }
        field
    }

    const fn is_degraded(&self) -> bool {
        matches!(
            self,
            Self::Fallback { degraded: true, .. } | Self::Stored { degraded: true }
        )
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
                degraded,
                ..
            } => {
                route["orchestrator"] = orchestrator.as_str().into();
                route["reason"] = reason.code().into();
                route["detail"] = detail.as_str().into();
                route["degraded"] = (*degraded).into();
            }
            Self::Stored { degraded: true } => route["degraded"] = true.into(),
            Self::Local | Self::Stored { degraded: false } => {}
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
        let fallback = |reason, degraded, tried| Route::Fallback {
            orchestrator: "acme".into(),
            reason,
            detail: "why".into(),
            degraded,
            tried,
        };
        let route = fallback(Reason::Refused, true, Vec::new());
        assert_eq!(
            Answer::Outcome(outcome).to_json("r", &route),
            json!({
                "run": "r", "step": "query", "agent": "a", "status": "completed", "output": 1,
                "route": {"by": "fallback", "orchestrator": "acme", "reason": "refused", "detail": "why", "degraded": true},
            })
        );
        let tried = vec![Tried {
            orchestrator: "first".into(),
            reason: Reason::BreakerOpen.code(),
        }];
        assert_eq!(
            fallback(Reason::Refused, true, tried).to_json()["tried"],
            json!([{"orchestrator": "first", "reason": "breaker-open"}])
        );
        for (route, field, degraded) in [
            (route, "fallback;reason=refused;degraded", json!(true)),
            (
                fallback(Reason::Timeout, true, Vec::new()),
                "fallback;reason=timeout;degraded",
                json!(true),
            ),
            (
                fallback(Reason::Timeout, false, Vec::new()),
                "fallback;reason=timeout",
                json!(false),
            ),
            (Route::Stored { degraded: true }, "stored;degraded", json!(true)),
            (Route::Stored { degraded: false }, "stored", Value::Null),
            (Route::Local, "local", Value::Null),
        ] {
            assert_eq!(
                (route.field().as_str(), &route.to_json()["degraded"]),
                (field, &degraded)
            );
        }
    }
}
