//! What an operator orders of a link, and what it is told of one.

use serde::{Deserialize, Serialize};

use super::{Command, LinkView};
use crate::breaker::{BreakerView, Hold};
use crate::run::{Asked, Nonce};

/// An operator's order. Each is safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// About the registration.
    Link(Command),
    /// About the breaker: to hold it, or with nothing to let it go.
    Breaker(Option<Hold>),
}

/// What an operator is told of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// How its registration stands.
    #[serde(flatten)]
    pub link: LinkView,
    /// How the breaker before its orchestrator stands, for all isolates.
    pub breaker: BreakerView,
}

/// The nonces of orders that were received: a captured order is worth nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received(Vec<(String, Nonce)>);

impl Received {
    /// Remembers an order's nonce until it has expired. Answers whether the order may be carried out: no other request
    /// brought its nonce before.
    pub fn admit(&mut self, asked: &Asked<Order>, now_ms: u64) -> bool {
        // In its last millisecond it is still remembered.
        self.0.retain(|(_, known)| known.expires_at_ms >= now_ms);
        let Some(nonce) = &asked.nonce else {
            return true;
        };
        match self.0.iter().find(|(_, known)| known.value == nonce.value) {
            Some((claimant, _)) => *claimant == asked.claimant,
            None => {
                self.0.push((asked.claimant.clone(), nonce.clone()));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_received_once() {
        let asked = |claimant: &str, nonce: Option<&str>| Asked {
            claimant: claimant.into(),
            nonce: nonce.map(|value| Nonce {
                value: value.into(),
                expires_at_ms: 10,
            }),
            named: None,
            question: Order::Link(Command::Drain),
        };
        let mut received = Received::default();
        assert!(received.admit(&asked("a", Some("n")), 0));
        assert!(
            received.admit(&asked("a", Some("n")), 0),
            "its answer may have been lost"
        );
        assert!(received.admit(&asked("b", Some("m")), 0));
        assert!(!received.admit(&asked("b", Some("n")), 10));
        assert!(received.admit(&asked("b", Some("n")), 11), "it has expired by itself");
        assert!(received.admit(&asked("c", None), 11));
    }
}
