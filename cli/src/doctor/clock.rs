//! How far the clocks of this machine and of a gateway are apart.

use std::time::UNIX_EPOCH;

use baton::signature::profile::SKEW_MAX_S;

use super::Finding;

/// A difference from which on it is told, in seconds: half of what the gateway tolerates.
pub const NOTICEABLE_S: u64 = SKEW_MAX_S / 2;

/// Compares the `Date` of an answer with this machine's Unix seconds before the question and after the answer.
pub fn check(place: &str, date: Option<&str>, asked_at_s: u64, answered_at_s: u64) -> Option<Finding> {
    let Some(there_s) = date.and_then(unix_s) else {
        let remedy = "compare the clocks by hand: signatures bear times";
        return Some(Finding::note(place, "the answer has no Date", remedy));
    };
    // Between the two moments the answer was made: within them there is no difference.
    let (apart_s, direction) = if there_s < asked_at_s {
        (asked_at_s - there_s, "ahead of")
    } else {
        (there_s.saturating_sub(answered_at_s), "behind")
    };
    let problem = format!("this machine's clock is {apart_s} s {direction} the gateway's");
    let remedy = "set the clock by NTP";
    if apart_s > SKEW_MAX_S {
        let problem = format!("{problem}: signed calls from here are refused, which may be {SKEW_MAX_S} s off");
        Some(Finding::error(place, problem, remedy))
    } else if apart_s >= NOTICEABLE_S {
        let problem = format!("{problem}, and from {SKEW_MAX_S} s on signed calls are refused");
        Some(Finding::warning(place, problem, remedy))
    } else {
        None
    }
}

fn unix_s(date: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(date).ok()?;
    Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, assert_found};
    use super::*;

    #[test]
    fn differences() {
        use Severity::{Error, Note, Warning};
        const THERE_S: u64 = 1_764_000_010;
        let found = |asked_at_s: u64, expected: &[(Severity, &str)]| {
            let found = check("gw", Some("Mon, 24 Nov 2025 16:00:10 GMT"), asked_at_s, asked_at_s + 2);
            assert_found(&found.into_iter().collect::<Vec<_>>(), expected);
        };
        found(THERE_S, &[]);
        found(THERE_S - 2, &[]);
        found(THERE_S + NOTICEABLE_S - 1, &[]);
        found(THERE_S + NOTICEABLE_S, &[(Warning, "30 s ahead of")]);
        found(THERE_S + SKEW_MAX_S, &[(Warning, "60 s ahead of")]);
        found(THERE_S + SKEW_MAX_S + 1, &[(Error, "61 s ahead of")]);
        found(THERE_S - 2 - SKEW_MAX_S - 1, &[(Error, "61 s behind")]);
        for date in [None, Some("yesterday")] {
            assert_found(
                &check("gw", date, 0, 0).into_iter().collect::<Vec<_>>(),
                &[(Note, "no Date")],
            );
        }
    }
}
