//! Which events are told as spans: decided at the head of the trace, and carried on in its `traceparent`.

use super::event::Event;
use super::trace_context::TraceContext;

/// `OTEL_TRACES_SAMPLER` with its argument. Whatever it decides, what went wrong and what was done in an orchestrator's
/// place is told: [`is_told`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether the caller's decision counts, where there is a caller in the trace.
    pub parent_based: bool,
    /// The share of all other traces, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampler {
    /// `parentbased_always_on`, as the standard has it.
    fn default() -> Self {
        Self {
            parent_based: true,
            ratio: 1.0,
        }
    }
}

impl Sampler {
    /// Reads the two variables.
    ///
    /// # Errors
    /// Which names there are, or which numbers.
    pub fn read(name: Option<&str>, argument: Option<&str>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(Self::default()) };
        let (parent_based, rest) = match name.strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let ratio = match rest {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                let ratio: Option<f64> = argument.unwrap_or("1").parse().ok();
                ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(|| {
                    "OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, the share of traces that are kept"
                        .to_owned()
                })?
            }
            _ => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER: `{name}` is none of always_on, always_off, traceidratio, each also with parentbased_ before it"
                ));
            }
        };
        Ok(Self { parent_based, ratio })
    }

    /// Whether a trace is recorded: the decision that its `traceparent` carries from here on.
    #[must_use]
    pub fn samples(&self, trace: &TraceContext, has_parent: bool) -> bool {
        if self.parent_based && has_parent {
            return trace.is_sampled();
        }
        // The same part of the id as other implementations, its end, so that they agree about a trace; in 52 bits, which a
        // float holds exactly.
        let low = u64::from_str_radix(&trace.trace_id()[18..], 16).unwrap_or(0) >> 4;
        #[expect(clippy::cast_precision_loss, reason = "52 bits")]
        let position = low as f64 / (1_u64 << 52) as f64;
        position < self.ratio
    }
}

/// Whether this event is told as spans.
#[must_use]
pub fn is_told(event: &Event) -> bool {
    event.is_notable() || TraceContext::parse(&event.traceparent).is_some_and(|trace| trace.is_sampled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::tests::{ended, failed};

    #[test]
    fn reading() {
        let check = |name: Option<&str>, argument: Option<&str>, expected: Result<(bool, f64), &str>| match (
            Sampler::read(name, argument),
            expected,
        ) {
            (Ok(read), Ok(expected)) => assert_eq!((read.parent_based, read.ratio), expected),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (read, _) => panic!("{name:?} {argument:?}: {read:?}"),
        };
        check(None, Some("0.1"), Ok((true, 1.0)));
        check(Some("always_off"), None, Ok((false, 0.0)));
        check(Some("traceidratio"), Some("0.25"), Ok((false, 0.25)));
        check(Some("parentbased_traceidratio"), None, Ok((true, 1.0)));
        check(Some("traceidratio"), Some("1.1"), Err("from 0 to 1"));
        check(Some("traceidratio"), Some("NaN"), Err("from 0 to 1"));
        check(Some("sometimes"), None, Err("`sometimes` is none of"));
    }

    #[test]
    fn decisions() {
        let trace = |trace_id: &str, flags: &str| {
            TraceContext::parse(&format!("00-{trace_id}-b7ad6b7169203331-{flags}")).expect("a traceparent")
        };
        let (low, high) = ("00000000000000000000000000000001", "0000000000000001ffffffffffffffff");
        let check = |parent_based: bool, ratio: f64, trace: &TraceContext, has_parent: bool, expected: bool| {
            let sampler = Sampler { parent_based, ratio };
            assert_eq!(
                sampler.samples(trace, has_parent),
                expected,
                "{sampler:?} {trace:?} {has_parent}"
            );
        };
        check(true, 0.5, &trace(low, "00"), false, true);
        check(true, 0.5, &trace(high, "01"), false, false);
        check(true, 0.5, &trace(high, "01"), true, true);
        check(true, 0.5, &trace(low, "00"), true, false);
        check(false, 0.5, &trace(high, "01"), true, false);
        check(false, 1.0, &trace(high, "00"), true, true);
        check(false, 0.0, &trace(low, "01"), true, false);
    }

    #[test]
    fn what_went_wrong_is_told_whatever_was_decided() {
        let with = |event: Event, flags: &str| Event {
            traceparent: format!("00-{}-b7ad6b7169203331-{flags}", "1".repeat(32)),
            ..event
        };
        assert!(is_told(&with(ended(), "01")));
        assert!(!is_told(&with(ended(), "00")));
        assert!(is_told(&with(failed(), "00")));
    }
}
