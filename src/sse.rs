//! Server-sent events, decoded from the bytes of a stream as they come
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Bytes are put together to lines before they are read as UTF-8, so it makes no difference where a stream is cut into
//! chunks, be it in the middle of a character.

/// A line, and the data of an event, have at most this many bytes.
pub const EVENT_MAX_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` where the stream names none.
    pub name: String,
    /// Its data, lines joined with a line feed.
    pub data: String,
}

/// A line or an event is larger than [`EVENT_MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {EVENT_MAX_BYTES} bytes")]
pub struct TooLarge;

/// Makes events of bytes. What the end of a stream cuts off is no event.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    past_first_line: bool,
    name: String,
    data: String,
}

impl Decoder {
    /// The events that these bytes complete.
    ///
    /// # Errors
    /// When a line or an event gets too large.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&String::from_utf8_lossy(&line))?);
                }
                _ if self.line.len() >= EVENT_MAX_BYTES => return Err(TooLarge),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Result<Option<Event>, TooLarge> {
        let first = !std::mem::replace(&mut self.past_first_line, true);
        let line = line.strip_prefix('\u{feff}').filter(|_| first).unwrap_or(line);
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" if self.data.len() + value.len() > EVENT_MAX_BYTES => return Err(TooLarge),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment, whose field is empty, or a field that says nothing here.
            _ => {}
        }
        Ok(None)
    }

    fn end_event(&mut self) -> Option<Event> {
        let (mut name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        // Each line brought a line feed; the last is not the data's. Without a line there is no event.
        data.pop()?;
        if name.is_empty() {
            "message".clone_into(&mut name);
        }
        Some(Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "\u{feff}: hello\n\ndata: gr\u{fc}\u{df} \u{1f600}\r\n\r\nevent: two\rdata:1\rdata: 2\r\rid: 7\nretry: 5\n\nevent: lost\n\ndata\n\ndata: cut";

    fn expected() -> Vec<Event> {
        let event = |name: &str, data: &str| Event {
            name: name.into(),
            data: data.into(),
        };
        vec![
            event("message", "gr\u{fc}\u{df} \u{1f600}"),
            event("two", "1\n2"),
            event("message", ""),
        ]
    }

    #[test]
    fn a_stream_is_read() {
        assert_eq!(Decoder::default().take(STREAM.as_bytes()), Ok(expected()));
    }

    #[test]
    fn sizes_are_bounded() {
        let line = |bytes: usize| format!("data:{}\n", "x".repeat(bytes));
        let check = |text: String, expected: Result<usize, TooLarge>| {
            let taken = Decoder::default().take(text.as_bytes());
            assert_eq!(taken.map(|events| events.len()), expected);
        };
        check(line(EVENT_MAX_BYTES - 5) + "\n", Ok(1));
        check(line(EVENT_MAX_BYTES - 4), Err(TooLarge));
        check(line(EVENT_MAX_BYTES / 2) + &line(EVENT_MAX_BYTES / 2 - 1) + "\n", Ok(1));
        check(line(EVENT_MAX_BYTES / 2) + &line(EVENT_MAX_BYTES / 2), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(mut cuts in proptest::collection::vec(0..STREAM.len(), 0..9)) {
            cuts.sort_unstable();
            let (mut decoder, mut events, mut begin) = (Decoder::default(), Vec::new(), 0);
            for end in cuts.into_iter().chain([STREAM.len()]) {
                events.extend(decoder.take(&STREAM.as_bytes()[begin..end]).unwrap());
                begin = end;
            }
            prop_assert_eq!(events, expected());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::default().take(&bytes);
        }
    }
}
