//! Server-sent events, read as they come.

use std::collections::VecDeque;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::answer::Answer;
use crate::http1::{Response, connect, invalid, read_chunk, read_head};
use crate::message::Message;

/// What a stream consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// An event.
    Event(Event),
    /// A line that begins with a colon.
    Comment(String),
    /// How long to wait before connecting again, in milliseconds.
    Retry(u64),
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `id`; empty where it has none.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its data, as it came.
    pub data: String,
}

impl Event {
    /// The data.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A stream that is read. Its connection ends when this is dropped.
#[derive(Debug)]
pub struct EventStream {
    request: Message,
    /// The head of the answer.
    pub head: Response,
    reader: BufReader<TcpStream>,
    /// Bytes that make no whole line yet.
    rest: Vec<u8>,
    parts: VecDeque<Part>,
    /// The fields of the event that is not complete yet.
    fields: Vec<(String, String)>,
}

impl EventStream {
    pub(crate) fn open(port: u16, request: &Message) -> io::Result<Self> {
        let mut stream = connect(port)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        stream.write_all(&request.to_bytes())?;
        let (status, headers) = read_head(&mut reader)?;
        let head = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let is_stream = status == 200 && head.header("content-type") == Some("text/event-stream");
        if !is_stream || head.header("transfer-encoding") != Some("chunked") {
            return Err(invalid(&format!("no stream of events: {head:?}")));
        }
        Ok(Self {
            request: request.clone(),
            head,
            reader,
            rest: Vec::new(),
            parts: VecDeque::new(),
            fields: Vec::new(),
        })
    }

    /// The next part; nothing at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn next_part(&mut self) -> io::Result<Option<Part>> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Ok(Some(part));
            }
            let Some(chunk) = read_chunk(&mut self.reader)? else {
                return Ok(None);
            };
            self.rest.extend_from_slice(&chunk);
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| invalid("a line in UTF-8"))?;
                self.take_line(line.trim_end_matches('\n'))?;
            }
        }
    }

    fn take_line(&mut self, line: &str) -> io::Result<()> {
        if line.is_empty() {
            let fields = std::mem::take(&mut self.fields);
            if fields.is_empty() {
                return Ok(());
            }
            let field = |wanted: &str| {
                let mut values = fields.iter().filter(|(name, _)| name == wanted);
                let value = values.next().map(|(_, value)| value.clone());
                value.filter(|_| values.next().is_none())
            };
            let id = field("id");
            let expected = 2 + usize::from(id.is_some());
            let (Some(name), Some(data), true) = (field("event"), field("data"), fields.len() == expected) else {
                return Err(invalid(&format!(
                    "not one event, one data, and one id at most: {fields:?}"
                )));
            };
            let id = id.unwrap_or_default();
            self.parts.push_back(Part::Event(Event { id, name, data }));
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(line))?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => self.parts.push_back(Part::Comment(value.to_owned())),
            "retry" => {
                let milliseconds = value.parse().map_err(|_| invalid(line))?;
                self.parts.push_back(Part::Retry(milliseconds));
            }
            _ => self.fields.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// The next event, past whatever else there is; nothing at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn try_next_event(&mut self) -> io::Result<Option<Event>> {
        while let Some(part) = self.next_part()? {
            if let Part::Event(event) = part {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The next event.
    ///
    /// # Panics
    /// When the stream ends before it.
    #[must_use]
    #[track_caller]
    pub fn next_event(&mut self) -> Event {
        let next = self.try_next_event();
        next.unwrap_or_else(|error| panic!("the stream broke: {error}"))
            .expect("one more event")
    }

    /// Reads to the event of this name, and gives it.
    ///
    /// # Panics
    /// When the stream ends before it.
    #[track_caller]
    pub fn read_to(&mut self, name: &str) -> Event {
        loop {
            let event = self.next_event();
            if event.name == name {
                return event;
            }
        }
    }

    /// All parts that are left.
    ///
    /// # Panics
    /// When the connection breaks.
    #[must_use]
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(part) = self
            .next_part()
            .unwrap_or_else(|error| panic!("the stream broke after {parts:?}: {error}"))
        {
            parts.push(part);
        }
        parts
    }

    /// All events that are left.
    ///
    /// # Panics
    /// When the connection breaks.
    #[must_use]
    #[track_caller]
    pub fn rest_of_events(&mut self) -> Vec<Event> {
        let parts = self.rest().into_iter();
        parts
            .filter_map(|part| match part {
                Part::Event(event) => Some(event),
                Part::Comment(_) | Part::Retry(_) => None,
            })
            .collect()
    }

    /// The response that the last event carries: signed, verified as an answer to this very request.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn answer(&self, outcome: &Event) -> Answer {
        assert_eq!(outcome.name, "outcome");
        let data = outcome.json();
        let headers = data["headers"].as_object().expect("header fields").iter();
        let response = Response {
            status: data["status"]
                .as_u64()
                .and_then(|status| status.try_into().ok())
                .expect("a status"),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
                .collect(),
            body: data["body"].as_str().expect("text").as_bytes().to_vec(),
        };
        let answer = Answer::verified(self.request.clone(), response);
        assert!(answer.is_signed(), "an outcome that is not signed: {answer:#?}");
        answer
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Both).ok();
    }
}
