//! A receiver of callbacks, and of calls that agents make: a server that answers as a test tells it to, and keeps what it was
//! sent.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http1::{invalid, read_chunks, read_fields, read_line};
use crate::keys::Key;
use crate::mac::mac;
use crate::outside::{PATIENCE, now_ms, now_s, wait_for};
use crate::ports::free_port;
use crate::schemas::assert_fits;
use crate::server::{Server, locked, next_of};

/// Clocks may differ by this much, in seconds: what Standard Webhooks recommends.
const TOLERANCE_S: u64 = 300;

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Answers this status.
    Status(u16),
    /// Answers this status with JSON.
    Json(u16, Value),
    /// Answers this status, and in how many seconds it wants the request again.
    RetryAfter(u16, u64),
    /// Answers 307, with this location.
    Redirect(String),
    /// Answers this status to a body that has this text in it, and 200 to every other one.
    StatusIfBodyHas(u16, String),
    /// Answers nothing, until the sender leaves.
    Hang,
    /// Ends the connection.
    Drop,
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header lines; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A server on a port of this machine. It serves until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Received>,
    /// By target: what comes next. The last one stays. 204 where nothing is planned.
    plans: HashMap<String, VecDeque<Reaction>>,
}

impl Received {
    /// The value of a header that is there once.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let lines: Vec<_> = self.headers.iter().filter(|(own, _)| own == name).collect();
        assert_eq!(lines.len(), 1, "{name}: {self:?}");
        &lines[0].1
    }

    /// Its `webhook-id`.
    #[must_use]
    #[track_caller]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The callback that it is, by the schema, with one valid signature for each of these keys.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn callback(&self, keys: &[&Key]) -> Value {
        let secrets: Vec<_> = keys.iter().map(|key| key.secret.as_slice()).collect();
        self.webhook(&secrets, "callback")
    }

    /// The message of this schema that it is: Standard Webhooks, with one valid signature for each of these secrets, and no
    /// other. Text alone: `id.timestamp.body`.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn webhook(&self, secrets: &[&[u8]], schema: &str) -> Value {
        assert_eq!(self.method, "POST");
        assert_eq!(self.header("content-type"), "application/json");
        let id = self.id();
        assert!(id.starts_with("msg_"), "{id}");
        let timestamp = self.header("webhook-timestamp");
        let sent_at_s: u64 = timestamp.parse().expect("Unix seconds");
        assert!(sent_at_s.abs_diff(now_s()) <= TOLERANCE_S, "{sent_at_s}");
        let text = [format!("{id}.{timestamp}.").as_bytes(), &self.body].concat();
        let mut expected: Vec<_> = secrets
            .iter()
            .map(|secret| format!("v1,{}", mac(secret, &text)))
            .collect();
        let mut found: Vec<_> = self.header("webhook-signature").split(' ').map(str::to_owned).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "the signatures of {id}");
        let message: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_fits(schema, &message);
        message
    }
}

impl Receiver {
    /// Serves on a port that is free.
    #[must_use]
    pub fn start() -> Self {
        Self::on(free_port())
    }

    /// Serves on this port, once it is free.
    ///
    /// # Panics
    /// When it does not become free.
    #[must_use]
    pub fn on(port: u16) -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let known = shared.clone();
        let server = Server::on(port, move |stream| serve(stream, &known));
        Self { server, shared }
    }

    /// Its origin.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// A URL of its own.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        format!("{}{target}", self.origin())
    }

    /// What it does with the next requests for this path and query. The last reaction stays.
    pub fn plan(&self, target: &str, reactions: impl IntoIterator<Item = Reaction>) {
        let plan = reactions.into_iter().collect();
        locked(&self.shared).plans.insert(target.to_owned(), plan);
    }

    /// What it was sent at this path and query, the oldest first.
    #[must_use]
    pub fn received(&self, target: &str) -> Vec<Received> {
        let shared = locked(&self.shared);
        let here = shared.received.iter().filter(|received| received.target == target);
        here.cloned().collect()
    }

    /// All that it was sent.
    #[must_use]
    pub fn received_anywhere(&self) -> Vec<Received> {
        locked(&self.shared).received.clone()
    }

    /// Waits until it was sent so many requests at this path and query.
    ///
    /// # Panics
    /// When they do not come, or more have come.
    #[must_use]
    #[track_caller]
    pub fn wait_for(&self, target: &str, count: usize) -> Vec<Received> {
        let received = wait_for("a callback", || {
            let received = self.received(target);
            (received.len() >= count).then_some(received)
        });
        assert_eq!(received.len(), count, "{received:#?}");
        received
    }
}

/// One request per connection.
fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let received = read_request(&mut reader)?;
    let reaction = {
        let mut shared = locked(shared);
        let reaction = shared.plans.get_mut(&received.target).and_then(next_of);
        let reaction = match reaction {
            Some(Reaction::StatusIfBodyHas(status, text)) => {
                let has = String::from_utf8_lossy(&received.body).contains(&text);
                Reaction::Status(if has { status } else { 200 })
            }
            other => other.unwrap_or(Reaction::Status(204)),
        };
        shared.received.push(received);
        reaction
    };
    let (status, field) = match reaction {
        Reaction::Status(status) => (status, String::new()),
        Reaction::Json(status, body) => {
            let (body, kind) = (body.to_string(), "content-type: application/json");
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} Told\r\n{kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            return stream.write_all(format!("{head}{body}").as_bytes());
        }
        // It was turned into a status when the request was there.
        Reaction::StatusIfBodyHas(..) => (500, String::new()),
        Reaction::RetryAfter(status, seconds) => (status, format!("retry-after: {seconds}\r\n")),
        Reaction::Redirect(location) => (307, format!("location: {location}\r\n")),
        Reaction::Hang => {
            reader.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        Reaction::Drop => return stream.shutdown(Shutdown::Both),
    };
    let length = if status == 204 { "" } else { "content-length: 0\r\n" };
    stream.write_all(format!("HTTP/1.1 {status} Told\r\n{field}{length}connection: close\r\n\r\n").as_bytes())
}

pub(crate) fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Received> {
    let start = read_line(reader)?;
    let mut words = start.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid(&start));
    };
    let headers = read_fields(reader)?;
    let field = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if field("transfer-encoding") == Some("chunked") {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = field("content-length") {
        body.resize(length.parse().map_err(|_| invalid(length))?, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(Received {
        at_ms: now_ms(),
        method,
        target,
        headers,
        body,
    })
}
