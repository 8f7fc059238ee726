//! A provider of models: Chat Completions and Responses as OpenAI's, Messages as Anthropic's. It is strict about requests, by
//! the schemas beside this file, streams as the providers stream, and otherwise does what a test tells it to.

mod dialects;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use self::dialects::Dialect;
use crate::outside::PATIENCE;
use crate::ports::free_port;
use crate::receiver::{Received, read_request};
use crate::server::{Server, locked, next_of};

/// So many bytes go out at once: few, so that characters and lines are cut anywhere.
const CHUNK_BYTES: usize = 5;

/// What a model does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says this.
    Says(String),
    /// Wants to use a tool, with this input.
    Wants(&'static str, Value),
    /// Is not asked at all: the provider answers this status, and in how many seconds it may be asked again.
    Refuses(u16, Option<u64>),
    /// Says so much, and then nothing any more, until the client leaves.
    Stalls(&'static str),
    /// Says this, and the connection ends within its last character, which has several bytes.
    Breaks(&'static str),
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The body.
    pub body: Value,
    /// The status that it was answered with.
    pub status: u16,
}

/// A server on a port of this machine. It serves until it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    asked: Vec<Asked>,
    /// By a word that the conversation has: what comes next. The last act stays.
    plans: HashMap<String, VecDeque<Act>>,
}

impl ModelServer {
    /// Serves on a port that is free, whoever has this key.
    ///
    /// # Panics
    /// When the port does not become free.
    #[must_use]
    pub fn start(key: &str) -> Self {
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            memory: Mutex::default(),
        });
        let known = shared.clone();
        let server = Server::on(free_port(), move |stream| serve(stream, &known));
        Self { server, shared }
    }

    /// The base URL of its APIs.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.server.port)
    }

    /// What is done about the next requests in whose body this word stands. The last act stays.
    pub fn plan(&self, word: &str, acts: impl IntoIterator<Item = Act>) {
        let plan = acts.into_iter().collect();
        locked(&self.shared.memory).plans.insert(word.to_owned(), plan);
    }

    /// The requests in whose body this word stands, the oldest first.
    #[must_use]
    pub fn asked(&self, word: &str) -> Vec<Asked> {
        let memory = locked(&self.shared.memory);
        let asked = memory.asked.iter();
        asked
            .filter(|asked| asked.body.to_string().contains(word))
            .cloned()
            .collect()
    }
}

/// One request per connection.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let received = read_request(&mut reader)?;
    let (status, act) = judge(&received, shared);
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    locked(&shared.memory).asked.push(Asked {
        path: received.target.clone(),
        body,
        status,
    });
    let dialect = Dialect::of(&received.target);
    let (Some(dialect), 200) = (dialect, status) else {
        let retry = match act {
            Act::Refuses(_, Some(seconds)) => format!("retry-after: {seconds}\r\n"),
            _ => String::new(),
        };
        // Providers repeat what they were sent: nothing of that may get any further.
        let error = dialects::error(status, &format!("refused with the key {}", shared.key)).to_string();
        let length = error.len();
        let head =
            format!("HTTP/1.1 {status} Told\r\n{retry}content-type: application/json\r\ncontent-length: {length}");
        return stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{error}").as_bytes());
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n")?;
    stream.write_all(b"connection: close\r\n\r\n")?;
    match act {
        Act::Says(text) => send(&mut stream, &dialect.says(&text))?,
        Act::Wants(tool, input) => send(&mut stream, &dialect.wants(tool, &input))?,
        Act::Stalls(text) => {
            send(&mut stream, &dialect.begins(text))?;
            reader.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        Act::Breaks(text) => {
            send(&mut stream, &dialect.breaks_within(text))?;
            return stream.shutdown(Shutdown::Both);
        }
        Act::Refuses(..) => {}
    }
    stream.write_all(b"0\r\n\r\n")
}

/// The status of the answer, and what is done.
fn judge(received: &Received, shared: &Shared) -> (u16, Act) {
    let refused = |status| (status, Act::Refuses(status, None));
    let Some(dialect) = Dialect::of(&received.target).filter(|_| received.method == "POST") else {
        return refused(404);
    };
    if !dialect.accepts_head(received, &shared.key) {
        return refused(401);
    }
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    if !dialect.accepts_body(&body) || body["stream"] != true {
        return refused(400);
    }
    let text = body.to_string();
    let mut memory = locked(&shared.memory);
    let plan = memory.plans.iter_mut().find(|(word, _)| text.contains(*word));
    let act = plan.and_then(|(_, plan)| next_of(plan));
    match act.unwrap_or(Act::Says("nobody planned this".to_owned())) {
        Act::Refuses(status, after) => (status, Act::Refuses(status, after)),
        act => (200, act),
    }
}

/// Sends it in chunks that respect neither lines nor characters.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        stream.write_all(&framed)?;
    }
    stream.flush()
}
