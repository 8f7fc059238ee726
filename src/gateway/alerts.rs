//! The alerts that the gateway declares, as an operator sees them.

use serde_json::{Value, json};

use super::reply::Reply;
use super::{Acted, Gateway};
use crate::alert::{AlertState, Phase};
use crate::invocation::Caller;
use crate::manifest::AlertConfig;
use crate::platform::Platform;
use crate::problem::Problem;

impl Gateway<'_> {
    /// `GET /operator/alerts`
    pub(super) async fn alerts<P: Platform>(&self, caller: &Caller<'_, P>) -> Result<Acted, Problem> {
        let mut alerts = Vec::new();
        for (id, alert) in &self.team.gateway.alerts {
            let state = caller.platform.alert(id).await?.state;
            alerts.push(described(id, alert, &state));
        }
        Ok(Acted::Reply(Reply::json(&json!({ "alerts": alerts }))))
    }
}

fn described(id: &str, alert: &AlertConfig, state: &AlertState) -> Value {
    let mut described = json!({
        "alert": id,
        "kind": alert.watch.kind(),
        "channels": alert.channels,
        "firings": state.firings,
        "waiting": state.waiting.len(),
        "lost": state.lost,
    });
    let (name, since_ms) = match state.phase {
        Phase::Well => ("well", None),
        Phase::Pending { since_ms } => ("pending", Some(since_ms)),
        Phase::Firing {
            since_ms, told_at_ms, ..
        } => {
            described["told_at_ms"] = told_at_ms.into();
            ("firing", Some(since_ms))
        }
    };
    described["state"] = name.into();
    for (member, value) in [
        ("agent", alert.watch.agent().map(Value::from)),
        ("since_ms", since_ms.map(Value::from)),
        (
            "looked_at_ms",
            (state.looked_at_ms > 0).then(|| state.looked_at_ms.into()),
        ),
        ("value", state.value.map(Value::from)),
        ("text", (!state.text.is_empty()).then(|| state.text.as_str().into())),
        ("last_error", state.last_error.as_deref().map(Value::from)),
    ] {
        if let Some(value) = value {
            described[member] = value;
        }
    }
    described
}
