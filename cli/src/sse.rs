//! Server-sent events, read as they come (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::io::{self, BufRead};
use std::time::Duration;

/// A line and an event's data are read up to this size: an answer of the largest size, escaped as JSON.
const EVENT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` where the stream names none.
    pub name: String,
    /// Its data, lines joined with a line feed.
    pub data: String,
}

/// Reads events from a stream.
pub struct Reader<R> {
    stream: R,
    at_start: bool,
    /// The last line ended with CR: an LF that follows belongs to it. Waiting for it would hold the event back.
    after_cr: bool,
    /// The id of the last event that came whole.
    pub last_id: Option<String>,
    /// How long to wait before connecting again, where the stream says so.
    pub retry: Option<Duration>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the beginning of a stream.
    pub const fn new(stream: R) -> Self {
        Self {
            stream,
            at_start: true,
            after_cr: false,
            last_id: None,
            retry: None,
        }
    }

    /// The next event; none at the end of the stream. An event that the end cuts off is no event.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        let (mut name, mut data, mut id) = (String::new(), String::new(), None);
        while let Some(line) = self.line()? {
            if line.is_empty() {
                if let Some(id) = id.take() {
                    self.last_id = Some(id);
                }
                if data.is_empty() {
                    name.clear();
                    continue;
                }
                // Each line brought one; the last is not the data's.
                data.pop();
                if name.is_empty() {
                    "message".clone_into(&mut name);
                }
                return Ok(Some(Event { name, data }));
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut name),
                "data" => {
                    if data.len() + value.len() > EVENT_MAX_BYTES {
                        return Err(too_large());
                    }
                    data.push_str(value);
                    data.push('\n');
                }
                "id" if !value.contains('\0') => id = Some(value.to_owned()),
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
                }
                // A comment, whose field is empty, or a field of a later time.
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next line without its end, which is CRLF, LF or CR; none at the end of the stream.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let buffer = match self.stream.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                // A line that the end of the stream cuts off cannot complete an event.
                return Ok(None);
            }
            if std::mem::take(&mut self.after_cr) && buffer[0] == b'\n' {
                self.stream.consume(1);
                continue;
            }
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            line.extend_from_slice(&buffer[..end.unwrap_or(buffer.len())]);
            self.after_cr = end.is_some_and(|end| buffer[end] == b'\r');
            let consumed = end.map_or(buffer.len(), |end| end + 1);
            self.stream.consume(consumed);
            if line.len() > EVENT_MAX_BYTES {
                return Err(too_large());
            }
            if end.is_some() {
                let mut line = String::from_utf8_lossy(&line).into_owned();
                if std::mem::take(&mut self.at_start) && line.starts_with('\u{feff}') {
                    line.remove(0);
                }
                return Ok(Some(line));
            }
        }
    }
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("an event is larger than {EVENT_MAX_BYTES} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// Reads with a buffer of every small size, so that every boundary falls everywhere.
    fn check(stream: &str, expected: &[(&str, &str)], last_id: Option<&str>) {
        for capacity in 1..=stream.len().max(1) {
            let mut reader = Reader::new(BufReader::with_capacity(capacity, stream.as_bytes()));
            let mut found = Vec::new();
            while let Some(event) = reader.next().expect("no error") {
                found.push((event.name, event.data));
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, data)| ((*name).to_owned(), (*data).to_owned()))
                .collect();
            assert_eq!(found, expected, "{stream:?} by {capacity}");
            assert_eq!(reader.last_id.as_deref(), last_id, "{stream:?} by {capacity}");
        }
    }

    #[test]
    fn events() {
        check("event: a\ndata: 1\n\n", &[("a", "1")], None);
        check("event: a\r\ndata: 1\r\n\r\n", &[("a", "1")], None);
        check("event: a\rdata: 1\r\rdata:2\r\r", &[("a", "1"), ("message", "2")], None);
        check("\u{feff}data: ä\n\n", &[("message", "ä")], None);
        check("data: one\ndata:  two\ndata\n\n", &[("message", "one\n two\n")], None);
        check(": keep-alive\n\n: again\n\ndata: 1\n\n", &[("message", "1")], None);
        check("event: a\n\ndata: 1\n\n", &[("message", "1")], None);
        check("unknown: x\ndata: a:b\n\n", &[("message", "a:b")], None);
    }

    #[test]
    fn ids_stay_until_the_next() {
        check(
            "id: 1.1\ndata: a\n\ndata: b\n\n",
            &[("message", "a"), ("message", "b")],
            Some("1.1"),
        );
        check("id: 1.1\n\n", &[], Some("1.1"));
        check(
            "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
            &[("message", "a"), ("message", "b")],
            Some("1"),
        );
    }

    #[test]
    fn what_the_end_cuts_off_is_no_event() {
        check("data: a\n\nid: 2\ndata: b\n", &[("message", "a")], None);
        check("data: a", &[], None);
        check("", &[], None);
    }

    #[test]
    fn a_cr_alone_ends_an_event_at_once() {
        /// Fails the test when it is asked for more than it has.
        struct Exact<'a>(&'a [u8]);
        impl io::Read for Exact<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(!self.0.is_empty(), "the event was there already");
                self.0.read(buffer)
            }
        }
        let mut reader = Reader::new(BufReader::new(Exact(b"data: a\r\r")));
        assert!(reader.next().expect("no error").is_some());
    }

    #[test]
    fn retry() {
        let check = |stream: &str, expected: Option<u64>| {
            let mut reader = Reader::new(stream.as_bytes());
            assert_eq!(reader.next().expect("no error"), None);
            assert_eq!(reader.retry, expected.map(Duration::from_millis), "{stream}");
        };
        check("retry: 1000\n", Some(1000));
        check("retry: 5\nretry: x\nretry:\n", Some(5));
        check("retry: 99999999999999999999999\n", None);
        check("retry: -1\n", None);
    }

    #[test]
    fn an_event_has_an_end() {
        let line = format!("data: {}\n", "a".repeat(EVENT_MAX_BYTES / 2));
        let stream = line.repeat(3);
        assert!(Reader::new(stream.as_bytes()).next().is_err());
        let endless = "a".repeat(EVENT_MAX_BYTES + 1);
        assert!(Reader::new(endless.as_bytes()).next().is_err());
    }
}
