//! A request as its sender and an attacker can shape it.

use std::io;

use serde_json::Value;

use crate::answer::Answer;
use crate::event_stream::EventStream;
use crate::gateway::Gateway;
use crate::http1::exchange;
use crate::mac::content_digest;
use crate::signing::Signer;

/// A request.
#[derive(Debug, Clone)]
pub struct Message {
    /// As on the request line.
    pub method: String,
    /// The value of `Host`.
    pub authority: String,
    /// As on the request line.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
    /// Header lines; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is sent in chunks, without its length.
    pub chunked: bool,
    /// Component identifiers as they stand in `Signature-Input`, quotes included.
    pub components: Vec<String>,
    /// Signature parameters as they stand there.
    pub parameters: Vec<(String, String)>,
    /// Who signed it last.
    pub signer: Option<Signer>,
    port: u16,
}

impl Message {
    /// A request without body, not signed.
    #[must_use]
    pub fn new(gateway: &Gateway, method: &str, path: &str) -> Self {
        let components = ["@method", "@authority", "@path", "@query"];
        Self {
            method: method.into(),
            authority: gateway.authority(),
            path: path.into(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
            components: components.map(|name| format!("\"{name}\"")).to_vec(),
            parameters: Vec::new(),
            signer: None,
            port: gateway.port(),
        }
    }

    /// A request with this body of JSON, not signed.
    #[must_use]
    pub fn post(gateway: &Gateway, path: &str, body: &Value) -> Self {
        Self::new(gateway, "POST", path).with_json(body.to_string().as_bytes())
    }

    /// A step before it is signed. Its idempotency key is `run/step`.
    #[must_use]
    pub fn step(gateway: &Gateway, agent: &str, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        Self::post(gateway, &format!("/agents/{agent}/steps"), body).idempotency_key(&format!(
            "{}/{}",
            text("run"),
            text("step")
        ))
    }

    /// With this body, which need not be JSON but says that it is.
    #[must_use]
    pub fn with_json(self, body: &[u8]) -> Self {
        self.body(body)
            .header("content-type", "application/json")
            .header("content-digest", &content_digest(body))
            .cover("\"content-type\"")
            .cover("\"content-digest\"")
    }

    /// With this idempotency key, covered.
    #[must_use]
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", &format!("\"{key}\""))
            .uncover("idempotency-key")
            .cover("\"idempotency-key\"")
    }

    /// With this precondition, covered: what is written depends on it.
    #[must_use]
    pub fn precondition(self, name: &str, value: &str) -> Self {
        self.header(name, value).uncover(name).cover(&format!("\"{name}\""))
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// Addressed to another host.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        self.authority = authority.into();
        self
    }

    /// With another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// With this query.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.into());
        self
    }

    /// With this body and nothing else changed.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Sends the body in chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Adds a line, also where the field is there already.
    #[must_use]
    pub fn line(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Takes all lines of a field away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// With this field, once.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.without(name).line(name, value)
    }

    /// Covers one more component, given as it stands in `Signature-Input`.
    #[must_use]
    pub fn cover(mut self, identifier: &str) -> Self {
        self.components.push(identifier.into());
        self
    }

    /// Does not cover this component.
    #[must_use]
    pub fn uncover(mut self, name: &str) -> Self {
        self.components.retain(|own| *own != format!("\"{name}\""));
        self
    }

    /// Sets a signature parameter in its place, or at the end.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(own, _)| own == name) {
            Some(parameter) => parameter.1 = value.into(),
            None => self.parameters.push((name.into(), value.into())),
        }
        self
    }

    /// Leaves a signature parameter out.
    #[must_use]
    pub fn without_parameter(mut self, name: &str) -> Self {
        self.parameters.retain(|(own, _)| own != name);
        self
    }

    /// With these seconds for `created` and `expires`.
    #[must_use]
    pub fn window(self, created_s: u64, expires_s: u64) -> Self {
        self.parameter("created", &created_s.to_string())
            .parameter("expires", &expires_s.to_string())
    }

    /// Appends to a field as the next member of its list.
    #[must_use]
    pub fn append(mut self, name: &str, member: &str) -> Self {
        match self.headers.iter_mut().find(|(own, _)| own == name) {
            Some(line) => line.1 = format!("{}, {member}", line.1),
            None => self.headers.push((name.into(), member.into())),
        }
        self
    }

    /// Replaces text within a field.
    ///
    /// # Panics
    /// When the text is not there.
    #[must_use]
    #[track_caller]
    pub fn edit(mut self, name: &str, from: &str, to: &str) -> Self {
        let line = self.headers.iter_mut().find(|(own, _)| own == name).expect("the field");
        assert!(line.1.contains(from), "{name}: {} has no {from}", line.1);
        line.1 = line.1.replacen(from, to, 1);
        self
    }

    /// The value of a field's first line.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let line = self.headers.iter().find(|(own, _)| own == name);
        line.map_or("", |(_, value)| value)
    }

    /// The value of a component.
    #[must_use]
    pub fn component(&self, identifier: &str) -> String {
        match identifier.trim_matches('"') {
            "@method" => self.method.clone(),
            "@authority" => self.authority.to_ascii_lowercase(),
            "@path" => self.path.clone(),
            "@query" => format!("?{}", self.query.as_deref().unwrap_or_default()),
            name => {
                let lines = self.headers.iter().filter(|(own, _)| own == name);
                lines.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let mut text = format!(
            "{} {}{query} HTTP/1.1\r\nhost: {}\r\n",
            self.method, self.path, self.authority
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let announced = self.headers.iter().any(|(name, _)| name == "content-length");
        if self.chunked {
            text.push_str("transfer-encoding: chunked\r\n\r\n");
            let mut bytes = text.into_bytes();
            for chunk in self.body.chunks(64 * 1024) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            return bytes;
        }
        if !announced && (!self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD")) {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        [text.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it. An answer that is signed is verified, whatever it says.
    ///
    /// # Panics
    /// When there is no answer, or its signature does not hold.
    #[must_use]
    #[track_caller]
    pub fn send(&self) -> Answer {
        match self.try_send() {
            Ok(answer) => answer,
            Err(error) => panic!("{} {}: no answer: {error}", self.method, self.path),
        }
    }

    /// Sends it to a gateway that may die meanwhile.
    ///
    /// # Errors
    /// When it did.
    ///
    /// # Panics
    /// When the answer's signature does not hold.
    #[track_caller]
    pub fn try_send(&self) -> io::Result<Answer> {
        let response = exchange(self.port, &self.to_bytes())?;
        Ok(Answer::verified(self.clone(), response))
    }

    /// Sends it, asking for server-sent events, and reads them as they come.
    ///
    /// # Panics
    /// When the answer is no stream of events.
    #[must_use]
    #[track_caller]
    pub fn stream(&self) -> EventStream {
        EventStream::open(self.port, self).unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }
}
