//! Events as the request that takes them to a destination.

use http::header::CONTENT_TYPE;

use super::event::Event;
use super::otlp::{Encoding, Export, Items, Signal, Verdict};
use super::settings::TIMEOUT_DEFAULT_MS;
use super::span::spans_of;
use crate::config::Config;
use crate::run::outbox::{Destination, HISTORY, LOGS, METRICS, ORCHESTRATOR, RECEIVER};
use crate::signature::{Purpose, Stamp, sign_request};

/// A request is at most this large, in bytes: 1 MiB.
pub const EXPORT_MAX_BYTES: usize = 1024 * 1024;

/// Where the events of this orchestrator's runs go.
#[must_use]
pub fn destinations(config: &Config, orchestrator: &str) -> Vec<Destination> {
    let mut destinations = vec![Destination {
        name: HISTORY,
        timeout_ms: TIMEOUT_DEFAULT_MS,
    }];
    if let Some(receiver) = &config.telemetry.receiver {
        let names = [RECEIVER, METRICS, LOGS].into_iter();
        let taken = names.filter(|name| receiver.takes(Signal::of(name)));
        destinations.extend(taken.map(|name| Destination {
            name,
            timeout_ms: receiver.timeout_ms,
        }));
    }
    if telemetry_url(config, orchestrator).is_some() {
        destinations.push(Destination {
            name: ORCHESTRATOR,
            timeout_ms: TIMEOUT_DEFAULT_MS,
        });
    }
    destinations
}

fn telemetry_url<'c>(config: &'c Config, orchestrator: &str) -> Option<&'c str> {
    let known = config.orchestrators.iter().find(|known| known.id == orchestrator)?;
    known.telemetry_url.as_deref()
}

/// How many items of a request an event takes: a row of the history, or spans, or a log record.
#[must_use]
pub fn items_in(destination: &str, event: &Event) -> usize {
    match destination {
        // Executions are counted together: an event adds to few points.
        HISTORY | METRICS | LOGS => 1,
        _ => spans_of(event).len(),
    }
}

/// What is to be done with events.
#[derive(Debug)]
pub enum Prepared {
    /// Send this, and wait so long for the answer, in milliseconds.
    Send(Box<http::Request<Vec<u8>>>, u64),
    /// It is decided without.
    Decided(Verdict),
}

/// Makes the request that tells a destination, which is not the history, of these events. `dropped` is how many events of
/// their run were lost so far.
#[must_use]
pub fn prepare<'e>(
    config: &Config,
    (destination, orchestrator): (&str, &str),
    events: impl IntoIterator<Item = &'e Event>,
    dropped: u64,
    stamp: Stamp,
) -> Prepared {
    let signal = Signal::of(destination);
    let items = Items::of(signal, events);
    if items.is_empty() {
        return Prepared::Decided(Verdict::Delivered { rejected: None });
    }
    let export = Export {
        resource: &config.telemetry.resource,
        items: &items,
        dropped,
    };
    let retry = |reason: &str| {
        Prepared::Decided(Verdict::Retry {
            reason: reason.to_owned(),
            retry_after_ms: None,
        })
    };
    let (request, timeout_ms) = match (destination, &config.telemetry.receiver) {
        (RECEIVER | METRICS | LOGS, Some(receiver)) if receiver.takes(signal) => {
            let mut request =
                http::Request::post(receiver.url(signal)).header(CONTENT_TYPE, receiver.encoding.media_type());
            for (name, value) in &receiver.headers {
                request = request.header(name, value);
            }
            (request.body(export.encode(receiver.encoding)), receiver.timeout_ms)
        }
        (ORCHESTRATOR, _) => {
            let Some(url) = telemetry_url(config, orchestrator) else {
                return retry("the orchestrator has no `telemetry_url` any more");
            };
            let request = http::Request::post(url)
                .header(CONTENT_TYPE, Encoding::Json.media_type())
                .body(export.encode(Encoding::Json));
            (request, TIMEOUT_DEFAULT_MS)
        }
        _ => return retry("the destination is not configured any more"),
    };
    // The address and the headers were checked when they were read.
    let Ok(mut request) = request else {
        return retry("the destination cannot be called");
    };
    if request.body().len() > EXPORT_MAX_BYTES {
        return Prepared::Decided(Verdict::Refused {
            reason: format!(
                "the request would have {} bytes, at most {EXPORT_MAX_BYTES} are sent",
                request.body().len()
            ),
            divisible: true,
        });
    }
    if destination == ORCHESTRATOR {
        let Some(key) = config
            .keyring
            .signing_key(orchestrator, Purpose::Register, stamp.created_s)
        else {
            return retry("no valid key of purpose `register` is configured");
        };
        if sign_request(&mut request, key, stamp).is_err() {
            return retry("the request cannot be signed");
        }
    }
    Prepared::Send(Box::new(request), timeout_ms)
}

#[cfg(test)]
mod tests {
    use super::super::span::tests::{ended, event, execution, failed, subject};
    use super::*;
    use crate::telemetry::event::{Ending, Hop, What};

    const KEYS: &str = r#"[{"id":"register","orchestrator":"acme","purposes":["register"],"agents":["*"],
        "secret":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}]"#;

    fn config(more: &[(&str, &str)]) -> Config {
        let orchestrators = r#"[{"id":"acme","url":"https://o.example.com","telemetry_url":"https://o.example.com/traces"},
            {"id":"quiet","url":"https://q.example.com"}]"#;
        let base = [
            ("BATON_ORIGINS", "https://gw.example.com"),
            ("BATON_ORCHESTRATORS", orchestrators),
            ("BATON_KEYS", KEYS),
        ];
        let variables: Vec<_> = more.iter().chain(&base).collect();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::read(variable).expect("a configuration")
    }

    const RECEIVING: [(&str, &str); 2] = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example.com"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc"),
    ];

    const EVERYTHING: [(&str, &str); 5] = [
        RECEIVING[0],
        RECEIVING[1],
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
    ];

    fn stamp() -> Stamp {
        Stamp {
            created_s: 1_800_000_000,
            nonce: "0123456789abcdef".into(),
        }
    }

    fn sent(prepared: Prepared) -> http::Request<Vec<u8>> {
        match prepared {
            Prepared::Send(request, _) => *request,
            Prepared::Decided(verdict) => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn destinations_are_those_that_are_configured() {
        let names = |config: &Config, orchestrator| -> Vec<_> {
            let destinations = destinations(config, orchestrator);
            destinations.iter().map(|destination| destination.name).collect()
        };
        assert_eq!(names(&config(&RECEIVING), "acme"), [HISTORY, RECEIVER, ORCHESTRATOR]);
        assert_eq!(names(&config(&RECEIVING), "quiet"), [HISTORY, RECEIVER]);
        let all = [HISTORY, RECEIVER, METRICS, LOGS, ORCHESTRATOR];
        assert_eq!(names(&config(&EVERYTHING), "acme"), all);
        assert_eq!(names(&config(&[]), crate::direct::NOBODY), [HISTORY]);
    }

    #[test]
    fn the_receiver_gets_its_headers_and_no_signature() {
        let request = sent(prepare(&config(&RECEIVING), (RECEIVER, "acme"), [&ended()], 0, stamp()));
        assert_eq!(request.uri(), "https://c.example.com/v1/traces");
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        assert_eq!(request.headers()["x-key"], "abc");
        assert!(!request.headers().contains_key("signature"));
    }

    #[test]
    fn each_signal_has_its_path_and_the_same_headers() {
        let config = config(&EVERYTHING);
        for (destination, path, items) in [
            (RECEIVER, "/v1/traces", "/resourceSpans/0/scopeSpans/0/spans/0"),
            (METRICS, "/v1/metrics", "/resourceMetrics/0/scopeMetrics/0/metrics/0"),
            (LOGS, "/v1/logs", "/resourceLogs/0/scopeLogs/0/logRecords/0"),
        ] {
            let request = sent(prepare(&config, (destination, "acme"), [&failed()], 0, stamp()));
            assert_eq!(request.uri().path(), path);
            assert_eq!(request.headers()["x-key"], "abc");
            assert!(!request.headers().contains_key("signature"));
            let body: serde_json::Value = serde_json::from_slice(request.body()).expect("JSON");
            assert!(body.pointer(items).is_some(), "{body}");
        }
    }

    #[test]
    fn where_nothing_is_to_be_counted_nothing_is_sent() {
        let began = event(What::ExecutionBegan {
            subject: subject(),
            execution: 1,
            claimed_until_ms: 9_000,
        });
        let prepared = prepare(&config(&EVERYTHING), (METRICS, "acme"), [&began], 0, stamp());
        let delivered = Verdict::Delivered { rejected: None };
        assert!(
            matches!(&prepared, Prepared::Decided(verdict) if *verdict == delivered),
            "{prepared:?}"
        );
    }

    #[test]
    fn the_orchestrator_gets_a_signed_call_and_no_credentials_of_others() {
        let request = sent(prepare(
            &config(&RECEIVING),
            (ORCHESTRATOR, "acme"),
            [&ended()],
            0,
            stamp(),
        ));
        assert_eq!(request.uri(), "https://o.example.com/traces");
        assert!(request.headers().contains_key("signature"));
        assert!(!request.headers().contains_key("x-key"));
        let body: serde_json::Value = serde_json::from_slice(request.body()).expect("JSON");
        assert!(body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"].is_string());
    }

    #[test]
    fn what_is_not_sampled_is_not_sent() {
        let config = config(&RECEIVING);
        let is_sent = |event: Event| {
            let traceparent = event.traceparent.replace("-01", "-00");
            let event = Event { traceparent, ..event };
            matches!(
                prepare(&config, (RECEIVER, "acme"), [&event], 0, stamp()),
                Prepared::Send(..)
            )
        };
        assert!(!is_sent(ended()));
        assert!(is_sent(failed()));
    }

    #[test]
    fn a_request_has_so_many_bytes_at_most() {
        let of = |bytes: usize| {
            let ending = Ending {
                outcome: "failed".into(),
                error_code: Some("x".repeat(bytes)),
            };
            execution(ending, Vec::<Hop>::new())
        };
        let prepare = |event: &Event| prepare(&config(&RECEIVING), (RECEIVER, "acme"), [event], 0, stamp());
        let bytes = |bytes: usize| sent(prepare(&of(bytes))).body().len();
        // From here on each character is a byte, and no length needs one more.
        let at = EXPORT_MAX_BYTES - 1_000;
        let room = EXPORT_MAX_BYTES - bytes(at);
        assert_eq!(bytes(at + room), EXPORT_MAX_BYTES);
        let refused = prepare(&of(at + room + 1));
        assert!(
            matches!(refused, Prepared::Decided(Verdict::Refused { divisible: true, .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_wrong_configuration_is_waited_for() {
        for (more, destination, orchestrator) in [
            (&[][..], RECEIVER, "acme"),
            (&[], ORCHESTRATOR, "quiet"),
            (&[], "unknown", "acme"),
            (&RECEIVING, METRICS, "acme"),
            (&RECEIVING, LOGS, "acme"),
        ] {
            let prepared = prepare(&config(more), (destination, orchestrator), [&failed()], 0, stamp());
            assert!(
                matches!(prepared, Prepared::Decided(Verdict::Retry { .. })),
                "{destination}: {prepared:?}"
            );
        }
    }
}
