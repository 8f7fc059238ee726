//! Misbehaviour, for development and tests: what the orchestrator does with gateways' calls instead of what it should.
//!
//! A gateway that hands its runs on has to live with an orchestrator that hangs, answers nonsense or refuses everything.
//! `POST /admin/behaviour` and `--behave` tell this one to be like that; every call is still verified first, so that only
//! real gateways see it. Everything is back to normal with `{}`.

use std::sync::{Mutex, PoisonError};

use http::Response;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::signed::{Call, response};
use crate::{Orchestrator, json};

/// A call that hangs is let go after this time, in milliseconds: with a 503, if anyone still listens.
pub const HANG_MAX_MS: u64 = 120_000;
/// An answer is held back at most this long, in milliseconds.
pub const DELAY_MAX_MS: u64 = 120_000;
/// What `garbage` answers: no JSON, whatever its type says.
const GARBAGE: &[u8] = b"<!doctype html><title>Welcome</title> {";

/// What the orchestrator was told. Members that are left out are normal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// How it answers the calls that `calls` names.
    pub runs: Way,
    /// Which calls `runs` is about.
    pub calls: Calls,
    /// What `status` answers, 400 to 599.
    pub status: u16,
    /// How long `slow` holds its proper answer back, in milliseconds.
    pub delay_ms: u64,
    /// Whether a run that is answered by `hang`, `garbage` or `status` is begun nevertheless, in the background.
    pub start_run: bool,
    /// How it answers registrations, renewals and the end of a registration.
    pub registration: Registrations,
    /// What `registration: status` answers, 400 to 599.
    pub registration_status: u16,
    /// Which key it asks gateways to sign with, in the answers to registrations and renewals.
    pub signing_keyid: Option<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            runs: Way::Normal,
            calls: Calls::Runs,
            status: 503,
            delay_ms: 0,
            start_run: false,
            registration: Registrations::Normal,
            registration_status: 503,
            signing_keyid: None,
        }
    }
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As it should be.
    #[default]
    Normal,
    /// Never: see [`HANG_MAX_MS`].
    Hang,
    /// As it should be, but late.
    Slow,
    /// With 200 and text that is no JSON, properly signed.
    Garbage,
    /// As it should be, under a signature that does not hold.
    WronglySigned,
    /// As it should be, but unsigned.
    Unsigned,
    /// With a problem of the status told, properly signed.
    Status,
}

/// Which calls of gateways misbehave as `runs` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Runs handed on, alone.
    #[default]
    Runs,
    /// All signed calls: registrations and settlements, too.
    All,
}

/// How registrations are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registrations {
    /// As they should be.
    #[default]
    Normal,
    /// With a problem of the status told, properly signed.
    Status,
}

impl Behaviour {
    /// Reads what the orchestrator is told.
    ///
    /// # Errors
    /// When it is no JSON of this form, or a number is out of its range.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let told: Self = json::parse(text)?;
        let invalid = |reason: &str| Err(Problem::Invalid { reason: reason.into() });
        let is_failure = |status| (400..=599).contains(&status);
        if !is_failure(told.status) || !is_failure(told.registration_status) {
            return invalid("status and registration_status must be 400 to 599");
        }
        if told.delay_ms > DELAY_MAX_MS {
            return invalid("delay_ms must be 0 to 120000");
        }
        Ok(told)
    }

    /// How this call is answered, and with which status where that is told.
    #[must_use]
    pub fn way(&self, call: &Call) -> (Way, u16) {
        let registration = matches!(call, Call::Register | Call::Renew(_) | Call::Deregister(_));
        if registration && self.registration == Registrations::Status {
            (Way::Status, self.registration_status)
        } else if *call == Call::Run || self.calls == Calls::All {
            (self.runs, self.status)
        } else {
            (Way::Normal, self.status)
        }
    }
}

/// An answer in place of the proper one; nothing where the proper one is to be given, if only in the end.
///
/// # Errors
/// The problem that was told.
pub fn instead(app: &Orchestrator, (way, status): (Way, u16)) -> Option<Result<Response<Vec<u8>>, Problem>> {
    match way {
        Way::Normal | Way::Slow | Way::WronglySigned | Way::Unsigned => None,
        Way::Hang => {
            app.stop.wait_ms(HANG_MAX_MS);
            Some(Err(Problem::Told { status: 503 }))
        }
        Way::Garbage => Some(Ok(response(200, "application/json", GARBAGE.to_vec()))),
        Way::Status => Some(Err(Problem::Told { status })),
    }
}

/// Puts another signature in the place of the answer's: well-formed, and of nobody.
pub fn forge(response: &mut Response<Vec<u8>>) {
    let field = response
        .headers()
        .get("signature")
        .and_then(|field| field.to_str().ok());
    let label = field.and_then(|field| field.split_once('=')).map(|(label, _)| label);
    let forged = label.and_then(|label| format!("{label}=:{}=:", "A".repeat(43)).parse().ok());
    if let Some(forged) = forged {
        response.headers_mut().insert("signature", forged);
    }
}

/// The behaviour as it is told now. It is kept in memory alone: a restart forgets it, but for `--behave`.
#[derive(Debug, Default)]
pub struct Told(Mutex<Behaviour>);

impl Told {
    /// As it is told from the start.
    #[must_use]
    pub const fn new(behaviour: Behaviour) -> Self {
        Self(Mutex::new(behaviour))
    }

    /// As it is now.
    #[must_use]
    pub fn now(&self) -> Behaviour {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on. Calls that hang already go on hanging.
    pub fn tell(&self, behaviour: Behaviour) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told() {
        let check = |text: &str, expected: Result<Behaviour, &str>| {
            let found = Behaviour::parse(text.as_bytes()).map_err(|problem| problem.to_string());
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected), "{text}"),
                Err(reason) => assert!(found.as_ref().is_err_and(|found| found.contains(reason)), "{found:?}"),
            }
        };
        let normal = Behaviour::default();
        check("{}", Ok(normal.clone()));
        check(
            r#"{"runs":"wrongly_signed","status":400,"delay_ms":120000,"start_run":true}"#,
            Ok(Behaviour {
                runs: Way::WronglySigned,
                status: 400,
                delay_ms: DELAY_MAX_MS,
                start_run: true,
                ..normal.clone()
            }),
        );
        check(
            r#"{"signing_keyid":"k2"}"#,
            Ok(Behaviour {
                signing_keyid: Some("k2".into()),
                ..normal.clone()
            }),
        );
        check(r#"{"status":599}"#, Ok(Behaviour { status: 599, ..normal }));
        check(r#"{"status":399}"#, Err("400 to 599"));
        check(r#"{"status":600}"#, Err("400 to 599"));
        check(r#"{"registration_status":200}"#, Err("400 to 599"));
        check(r#"{"delay_ms":120001}"#, Err("delay_ms"));
        check(r#"{"runs":"odd"}"#, Err("odd"));
        check(r#"{"run":"hang"}"#, Err("run"));
    }

    #[test]
    fn which_calls_it_is_about() {
        let told = |text: &str| Behaviour::parse(text.as_bytes()).expect("a behaviour");
        let (run, renew) = (Call::Run, Call::Renew("r".into()));
        let settle = Call::Settle("r".into());
        let garbage = told(r#"{"runs":"garbage"}"#);
        assert_eq!(garbage.way(&run).0, Way::Garbage);
        assert_eq!(garbage.way(&renew).0, Way::Normal);
        assert_eq!(garbage.way(&settle).0, Way::Normal);
        let all =
            told(r#"{"runs":"status","status":500,"calls":"all","registration":"status","registration_status":410}"#);
        assert_eq!(all.way(&settle), (Way::Status, 500));
        assert_eq!(all.way(&run), (Way::Status, 500));
        assert_eq!(all.way(&renew), (Way::Status, 410));
    }
}
