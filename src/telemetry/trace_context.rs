//! W3C Trace Context, `traceparent` version 00, read strictly.

use crate::signature::digest::hex_digest;

/// A position in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: String,
    span_id: String,
    sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. Whatever is not exactly version 00 starts a new trace, as the standard says.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let valid =
            version == "00" && is_id(trace_id, 32) && is_id(span_id, 16) && is_hex(flags, 2) && parts.next().is_none();
        valid.then(|| Self {
            trace_id: trace_id.to_owned(),
            span_id: span_id.to_owned(),
            sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        })
    }

    /// Our own span: a child of the caller's where there is one, else the root of a new trace.
    #[must_use]
    pub fn child_of(parent: Option<&Self>, random: &[u8; 24]) -> Self {
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (trace_id, span_id) = hex.split_at(32);
        Self {
            trace_id: parent.map_or(trace_id, |parent| &parent.trace_id).to_owned(),
            span_id: span_id.to_owned(),
            sampled: parent.is_none_or(|parent| parent.sampled),
        }
    }

    /// The span of a part of this one, by its place in it. It is the same whenever it is asked for.
    #[must_use]
    pub fn within(&self, place: &str) -> Self {
        let digest = hex_digest(format!("{}/{place}", self.span_id).as_bytes());
        Self {
            trace_id: self.trace_id.clone(),
            // One hash in 2^64 would be no id.
            span_id: digest[..16].to_owned(),
            sampled: self.sampled,
        }
    }

    /// The trace's id, as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The span's id, as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.span_id
    }

    /// Whether the trace is recorded, as far as whoever began it knows.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The same with this decision about being recorded.
    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    /// As a header's value.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(text: &str, length: usize) -> bool {
    is_hex(text, length) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn parsing() {
        let check = |text: &str, valid: bool| assert_eq!(TraceContext::parse(text).is_some(), valid, "{text}");
        check(VALID, true);
        check(&VALID.replacen("00", "01", 1), false);
        check(&VALID.to_uppercase(), false);
        check(&format!("{VALID}-00"), false);
        check(
            &VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            false,
        );
        check(&VALID.replace("b7ad6b7169203331", &"0".repeat(16)), false);
        check("", false);
    }

    #[test]
    fn a_child_keeps_the_trace_and_the_flag() {
        let parent = TraceContext::parse(&VALID.replace("-01", "-00")).expect("valid");
        let child = TraceContext::child_of(Some(&parent), &[7; 24]);
        assert_eq!(
            child.traceparent(),
            "00-0af7651916cd43dd8448eb211c80319c-0707070707070707-00"
        );
        let root = TraceContext::child_of(None, &[7; 24]);
        assert_eq!(
            root.traceparent(),
            format!("00-{}-{}-01", "07".repeat(16), "07".repeat(8))
        );
    }
}
