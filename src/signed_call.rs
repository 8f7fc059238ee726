//! A call to an orchestrator: signed with the gateway's own key, and its answer believed only if its signature holds.

use serde_json::Value;

use crate::config::{Config, Orchestrator};
use crate::platform::{Platform, Unanswered};
use crate::signature::{Stamp, sign_request};

/// An answer to a call that names no other limit may have so many bytes.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// A problem's code is told up to this length, in characters.
const CODE_MAX_CHARS: usize = 64;

/// A call before it is signed.
#[derive(Debug)]
pub struct SignedCall<'a> {
    /// To whom.
    pub orchestrator: &'a Orchestrator,
    /// The key that it asks the gateway to sign with, where it asked for one.
    pub asked_keyid: Option<String>,
    /// The request as its builder left it, addressed to the orchestrator.
    pub request: http::Result<http::Request<Vec<u8>>>,
    /// Used for no other signature.
    pub nonce: String,
    /// How long the answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// How large it may be, in bytes.
    pub answer_max_bytes: usize,
}

/// Why there is no answer that may be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The gateway has no key for this orchestrator.
    #[error("no valid key with the purpose `register` is configured for it")]
    NoKey,
    /// The request could not be made or signed.
    #[error("the call cannot be addressed: look at BATON_ORCHESTRATORS ({0})")]
    Unaddressable(String),
    /// No answer came.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// One came, and nobody knows who said it.
    #[error("{status}, and the answer's signature does not hold: {rejection}")]
    Unverified {
        /// Its status.
        status: u16,
        /// The code of the problem that its body is, as [`problem_code`] reads it.
        code: String,
        /// What is wrong with the signature: the rejection's code.
        rejection: &'static str,
    },
}

impl SignedCall<'_> {
    /// Signs and sends the call, and checks its answer.
    ///
    /// # Errors
    /// When there is no answer, or its signature does not hold. Who refuses a key cannot sign for it, either: so a
    /// refusal comes as [`CallError::Unverified`], mostly.
    pub async fn send<P: Platform>(self, config: &Config, platform: &P) -> Result<http::Response<Vec<u8>>, CallError> {
        let unaddressable = |reason: String| CallError::Unaddressable(reason);
        let created_s = platform.now_ms() / 1_000;
        let key = config
            .keyring
            .register_key(&self.orchestrator.id, self.asked_keyid.as_deref(), created_s)
            .ok_or(CallError::NoKey)?;
        let mut request = self.request.map_err(|error| unaddressable(error.to_string()))?;
        let stamp = Stamp {
            created_s,
            nonce: self.nonce,
        };
        let sent = sign_request(&mut request, key, stamp).map_err(|error| unaddressable(error.to_string()))?;
        let response = platform.send(&request, self.timeout_ms, self.answer_max_bytes).await?;
        match sent.verify(&response, platform.now_ms() / 1_000) {
            Ok(()) => Ok(response),
            Err(rejection) => Err(CallError::Unverified {
                status: response.status().as_u16(),
                code: problem_code(response.body()),
                rejection: rejection.code(),
            }),
        }
    }
}

/// The `code` of a body that is a problem; `without-a-reason` of any other.
#[must_use]
pub fn problem_code(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("without-a-reason");
    code.chars().take(CODE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_problems() {
        assert_eq!(problem_code(br#"{"code":"key-expired"}"#), "key-expired");
        for without in [&b""[..], b"<html>", br#"{"code":7}"#, b"[]"] {
            assert_eq!(problem_code(without), "without-a-reason");
        }
        let long = format!(r#"{{"code":"{}"}}"#, "ä".repeat(CODE_MAX_CHARS + 1));
        assert_eq!(problem_code(long.as_bytes()).chars().count(), CODE_MAX_CHARS);
    }
}
