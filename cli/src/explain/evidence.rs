//! What was judged, and what can be read from it even where a rule does not hold.

use baton::signature::base::{Component, Subject, signature_base};
use baton::signature::profile::{self, Found, IDEMPOTENCY_KEY, REQUEST_TAG, RESPONSE_TAG, required_components};
use baton::signature::structured::{Dictionary, Item, Member, Parameters, parse_dictionary};
use baton::signature::{Binding, KeyRecord, Keyring, Origins, Purpose, RequestView, webhook};
use http::HeaderMap;

use crate::environment::rfc3339;

/// Everything that was judged.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The request that is judged, or that the judged response answers.
    pub request: RequestView<'a>,
    /// The response's status, where a response is judged.
    pub status: Option<u16>,
    /// The judged message's header fields.
    pub headers: &'a HeaderMap,
    /// The judged message's body.
    pub body: &'a [u8],
    /// The keys at hand.
    pub keyring: &'a Keyring,
    /// The origins that the gateway serves.
    pub origins: &'a Origins,
    /// What the key must be for.
    pub purpose: Purpose,
    /// Whether an idempotency key is required.
    pub idempotency: bool,
    /// Whether preconditions must be covered.
    pub preconditions: bool,
    /// As of when it is judged, in Unix seconds.
    pub now_s: u64,
}

impl Evidence<'_> {
    pub fn tag(&self) -> &'static str {
        if self.status.is_some() {
            RESPONSE_TAG
        } else {
            REQUEST_TAG
        }
    }

    /// The signature, where its structure is right.
    pub fn found(&self) -> Option<Found> {
        profile::find(self.headers, self.tag()).ok()
    }

    /// The signature base as a verifier rebuilds it, or why that cannot be done.
    pub fn base(&self) -> Result<String, String> {
        let found = profile::find(self.headers, self.tag()).map_err(|rejection| rejection.to_string())?;
        signature_base(&self.subject(), &found.components, &found.received).map_err(|error| error.to_string())
    }

    fn subject(&self) -> Subject<'_> {
        match self.status {
            None => Subject::Request(self.request),
            Some(status) => Subject::Response {
                status,
                headers: self.headers,
                request: self.request,
            },
        }
    }

    /// What the signature must cover.
    pub fn required(&self) -> Vec<Component> {
        if self.status.is_some() {
            return Binding::of(&self.request).components(self.headers);
        }
        let with_body = !self.body.is_empty() || self.headers.contains_key("content-digest");
        let idempotency = self.idempotency || self.headers.contains_key(IDEMPOTENCY_KEY);
        let preconditions = profile::preconditions(self.headers).filter(|_| self.preconditions);
        required_components(with_body, idempotency)
            .chain(preconditions)
            .chain(profile::wherever_sent(self.headers))
            .map(Component::own)
            .collect()
    }

    pub fn field(&self, name: &str) -> String {
        let lines: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        if lines.is_empty() {
            "(not there)".to_owned()
        } else {
            lines.join(", ")
        }
    }

    pub fn dictionary(&self, name: &str) -> Result<Dictionary, String> {
        let line = self.headers.get(name).ok_or("it is not there")?;
        let text = line.to_str().map_err(|_| "it is not ASCII")?;
        parse_dictionary(text).map_err(|error| error.to_string())
    }

    /// The parameters of the first signature with our tag, or of the only one.
    pub fn parameters(&self) -> Parameters {
        let members = self.dictionary("signature-input").unwrap_or_default();
        let all: Vec<_> = members.into_iter().map(|(_, member)| parameters_of(member)).collect();
        let ours = all
            .iter()
            .position(|parameters| text(parameters, "tag").as_deref() == Some(self.tag()));
        all.into_iter().nth(ours.unwrap_or(0)).unwrap_or_default()
    }

    pub fn time(&self, name: &str) -> Option<u64> {
        let value = self
            .parameters()
            .into_iter()
            .find(|(key, _)| key == name)?
            .1
            .as_integer()?;
        u64::try_from(i64::from(value)).ok()
    }
}

fn parameters_of(member: Member) -> Parameters {
    match member {
        Member::InnerList(_, parameters) | Member::Item(Item { parameters, .. }) => parameters,
    }
}

/// A parameter that is a string.
pub fn text(parameters: &Parameters, name: &str) -> Option<String> {
    let (_, value) = parameters.iter().find(|(key, _)| key == name)?;
    value.as_string().map(|value| value.as_str().to_owned())
}

/// A moment for a person, and its distance from when it is judged.
pub fn moment(unix_s: u64, now_s: u64) -> String {
    // The usual slip: a JavaScript clock counts milliseconds.
    if unix_s > 100_000_000_000 {
        return format!("{unix_s}: these are milliseconds, seconds are wanted");
    }
    let distance = match unix_s.cmp(&now_s) {
        std::cmp::Ordering::Less => format!("{} s before", now_s - unix_s),
        std::cmp::Ordering::Equal => "the same as".to_owned(),
        std::cmp::Ordering::Greater => format!("{} s after", unix_s - now_s),
    };
    format!("{unix_s} ({}, {distance} the moment of judgement)", rfc3339(unix_s))
}

impl<'a> Evidence<'a> {
    /// The record of the key that the message names.
    pub fn signing_key(&self) -> Option<&'a KeyRecord> {
        let id = text(&self.parameters(), "keyid");
        self.keyring
            .get(id.as_deref().or_else(|| webhook::key_id(self.request.query))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |unix_s, expected: &str| {
            let found = moment(unix_s, 1_764_000_010);
            assert!(found.contains(expected), "{found}");
        };
        check(1_764_000_000, "2025-11-24T16:00:00Z, 10 s before");
        check(1_764_000_020, "10 s after");
        check(1_764_000_000_000, "these are milliseconds");
    }
}
