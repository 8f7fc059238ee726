//! How things stand: what an alert watches, asked of the history, the outbox's list and the links.

use super::state::{AlertState, Observation};
use crate::config::Config;
use crate::link::LinkState;
use crate::manifest::{Percentile, Watch};
use crate::platform::{Platform, StorageUnavailable};
use crate::telemetry::history::{Ended, Window};

const MINUTE_MS: u64 = 60_000;

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// Whether it is wrong.
    pub(super) observation: Observation,
    /// As a number, where there is one.
    pub(super) value: Option<f64>,
    /// As a sentence.
    pub(super) text: String,
}

impl Reading {
    fn of(is_wrong: bool, value: Option<f64>, text: String) -> Self {
        let observation = match is_wrong {
            true => Observation::Wrong,
            false => Observation::Well,
        };
        Self {
            observation,
            value,
            text,
        }
    }
}

/// Looks at what an alert watches. `known` is what is kept of it.
pub(super) async fn measure<P: Platform>(watch: &Watch, known: &AlertState, config: &Config, platform: &P) -> Reading {
    let read = match watch {
        Watch::ErrorRate {
            agent,
            above,
            window_minutes,
            samples_min,
        } => ended(agent.as_deref(), *window_minutes, platform)
            .await
            .map(|ended| error_rate(&ended, *above, (*window_minutes, *samples_min))),
        Watch::Latency {
            agent,
            percentile,
            above_ms,
            window_minutes,
            samples_min,
        } => ended(agent.as_deref(), *window_minutes, platform)
            .await
            .map(|ended| latency(&ended, (*percentile, *above_ms), (*window_minutes, *samples_min))),
        Watch::Silence { agent, after_minutes } => platform
            .last_execution(agent)
            .await
            .map(|last_ms| silence(last_ms, *after_minutes, known.known_since_ms, platform.now_ms())),
        Watch::OutboxAge { after_minutes } => platform.outbox_lags().await.map(|lags| {
            let oldest = lags.iter().min_by_key(|lag| lag.oldest_at_ms);
            let oldest = oldest.map(|lag| (lag.destination.as_str(), lag.oldest_at_ms));
            outbox_age(oldest, *after_minutes, platform.now_ms())
        }),
        Watch::LeaseLost { orchestrator } => leases(orchestrator.as_deref(), config, platform).await,
    };
    read.unwrap_or_else(|error| Reading {
        observation: Observation::Unknown,
        value: None,
        text: format!("It could not be looked at: {error}."),
    })
}

async fn ended<P: Platform>(
    agent: Option<&str>,
    window_minutes: u64,
    platform: &P,
) -> Result<Ended, StorageUnavailable> {
    let to_ms = platform.now_ms();
    let from_ms = to_ms.saturating_sub(window_minutes * MINUTE_MS);
    platform.ended(agent, Window { from_ms, to_ms }).await
}

/// Nothing is wrong with too few: what is quiet is the business of `silence`.
fn too_few(ended: &Ended, window_minutes: u64) -> Reading {
    let text = format!(
        "Too few executions to judge: {} ended in {window_minutes} minutes.",
        ended.count
    );
    Reading::of(false, None, text)
}

fn error_rate(ended: &Ended, above: f64, (window_minutes, samples_min): (u64, u64)) -> Reading {
    if ended.count < samples_min {
        return too_few(ended, window_minutes);
    }
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let rate = ended.wrong as f64 / ended.count.max(1) as f64;
    let text = format!(
        "{} of {} executions failed or were lost in {window_minutes} minutes: {rate:.3}, where {above} is the most.",
        ended.wrong, ended.count
    );
    Reading::of(rate > above, Some(rate), text)
}

fn latency(
    ended: &Ended,
    (percentile, above_ms): (Percentile, u64),
    (window_minutes, samples_min): (u64, u64),
) -> Reading {
    let (name, value_ms) = match percentile {
        Percentile::P95 => ("p95", ended.p95_ms),
        Percentile::P99 => ("p99", ended.p99_ms),
    };
    let Some(value_ms) = value_ms.filter(|_| ended.count >= samples_min) else {
        return too_few(ended, window_minutes);
    };
    let text = format!(
        "{name} of {} executions in {window_minutes} minutes is {value_ms} ms, where {above_ms} ms is the most.",
        ended.count
    );
    Reading::of(value_ms > above_ms, Some(number(value_ms)), text)
}

fn silence(last_ms: Option<u64>, after_minutes: u64, known_since_ms: u64, now_ms: u64) -> Reading {
    // An agent that was never executed is silent since the alert is known, which may be now.
    let since_ms = match (last_ms, known_since_ms) {
        (Some(last_ms), _) => last_ms,
        (None, 0) => now_ms,
        (None, since_ms) => since_ms,
    };
    let minutes = now_ms.saturating_sub(since_ms) / MINUTE_MS;
    let text = format!("No execution began for {minutes} minutes, where {after_minutes} are the most.");
    Reading::of(minutes >= after_minutes, Some(number(minutes)), text)
}

fn outbox_age(oldest: Option<(&str, u64)>, after_minutes: u64, now_ms: u64) -> Reading {
    let Some((destination, oldest_at_ms)) = oldest else {
        return Reading::of(false, Some(0.0), "No events wait.".to_owned());
    };
    let minutes = now_ms.saturating_sub(oldest_at_ms) / MINUTE_MS;
    let text = format!(
        "Events wait for the destination `{destination}` for {minutes} minutes, where {after_minutes} are the most."
    );
    Reading::of(minutes >= after_minutes, Some(number(minutes)), text)
}

async fn leases<P: Platform>(
    orchestrator: Option<&str>,
    config: &Config,
    platform: &P,
) -> Result<Reading, StorageUnavailable> {
    let mut lost = Vec::new();
    let mut unanswered = None;
    for known in &config.orchestrators {
        if orchestrator.is_some_and(|wanted| wanted != known.id) {
            continue;
        }
        let link = match platform.link(&known.id).await {
            Ok(view) => view.link,
            // What is wrong with the others is to be seen all the same.
            Err(error) => {
                unanswered = Some(error);
                continue;
            }
        };
        if is_lost(link.state) {
            let why = link.last_error.map(|error| format!(" ({error})")).unwrap_or_default();
            lost.push(format!("{}{why}", known.id));
        }
    }
    if let (true, Some(error)) = (lost.is_empty(), unanswered) {
        return Err(error);
    }
    let text = match lost.as_slice() {
        [] => "Every lease is held.".to_owned(),
        lost => format!("No lease of {}.", lost.join(", ")),
    };
    Ok(Reading::of(!lost.is_empty(), Some(number(lost.len() as u64)), text))
}

/// One that the operator gave up is not lost.
const fn is_lost(state: LinkState) -> bool {
    match state {
        LinkState::Unregistered | LinkState::Registering | LinkState::Refused => true,
        LinkState::Registered | LinkState::Degraded | LinkState::Draining | LinkState::Deregistered => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes and milliseconds of a week")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reading: &Reading, is_wrong: bool, words: &str) {
        assert_eq!(*reading, Reading::of(is_wrong, reading.value, reading.text.clone()));
        assert!(reading.text.contains(words), "{}", reading.text);
    }

    fn of(count: u64, wrong: u64, p95_ms: u64) -> Ended {
        Ended {
            count,
            wrong,
            p95_ms: (count > 0).then_some(p95_ms),
            p99_ms: (count > 0).then_some(p95_ms + 1),
        }
    }

    #[test]
    fn rates_at_the_edge() {
        for (count, wrong, is_wrong, words) in [
            (0, 0, false, "Too few"),
            (9, 9, false, "Too few executions to judge: 9 ended in 15 minutes"),
            (
                10,
                5,
                false,
                "5 of 10 executions failed or were lost in 15 minutes: 0.500, where 0.5 is the most",
            ),
            (10, 6, true, "0.600"),
        ] {
            check(&error_rate(&of(count, wrong, 1), 0.5, (15, 10)), is_wrong, words);
        }
        check(&error_rate(&of(10, 1, 1), 0.0, (15, 1)), true, "0.100");
    }

    #[test]
    fn latencies_at_the_edge() {
        let of_p95 = |count, p95_ms| latency(&of(count, 0, p95_ms), (Percentile::P95, 500), (15, 10));
        check(&of_p95(9, 501), false, "Too few");
        check(
            &of_p95(10, 500),
            false,
            "p95 of 10 executions in 15 minutes is 500 ms, where 500 ms is the most",
        );
        check(&of_p95(10, 501), true, "501");
        check(&latency(&of(10, 0, 500), (Percentile::P99, 500), (15, 10)), true, "p99");
    }

    #[test]
    fn silence_counts_from_the_last_execution_or_from_when_it_is_watched() {
        let now_ms = 100 * MINUTE_MS;
        for (last, known_since, is_wrong) in [
            (Some(now_ms - 10 * MINUTE_MS + 1), 1, false),
            (Some(now_ms - 10 * MINUTE_MS), 1, true),
            (None, 0, false),
            (None, now_ms - 9 * MINUTE_MS, false),
            (None, now_ms - 10 * MINUTE_MS, true),
        ] {
            check(
                &silence(last, 10, known_since, now_ms),
                is_wrong,
                "where 10 are the most",
            );
        }
    }

    #[test]
    fn outboxes_at_the_edge() {
        let now_ms = 100 * MINUTE_MS;
        check(&outbox_age(None, 5, now_ms), false, "No events wait");
        check(
            &outbox_age(Some(("otlp", now_ms - 5 * MINUTE_MS + 1)), 5, now_ms),
            false,
            "for 4 minutes",
        );
        check(
            &outbox_age(Some(("otlp", now_ms - 5 * MINUTE_MS)), 5, now_ms),
            true,
            "`otlp` for 5 minutes",
        );
    }

    #[test]
    fn a_lease_that_was_given_up_is_not_lost() {
        use LinkState::{Degraded, Deregistered, Draining, Refused, Registered, Registering, Unregistered};
        for (state, expected) in [
            (Unregistered, true),
            (Registering, true),
            (Refused, true),
            (Registered, false),
            (Degraded, false),
            (Draining, false),
            (Deregistered, false),
        ] {
            assert_eq!(is_lost(state), expected, "{state:?}");
        }
    }
}
