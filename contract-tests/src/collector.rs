//! A real collector: rotel, from its Python package. It prints what it receives, and forgets it.

mod points;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub use self::points::Point;
pub use self::records::Record;
use crate::environment::Environment;
use crate::folder::Folder;
use crate::http1::exchange;
use crate::outside::wait_for;
use crate::ports::{free_port, is_free};
use crate::process::Process;

const LOG: &str = "collector.log";

/// A collector that takes OTLP/HTTP in both encodings. It is killed when this is dropped.
#[derive(Debug)]
pub struct Collector {
    process: Option<Process>,
    // Made with the first process: from then on its watchdog removes it.
    folder: Option<Folder>,
    port: u16,
}

/// A span as the collector prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// Its trace.
    pub trace_id: String,
    /// Its id.
    pub id: String,
    /// The span that it is a part of; empty where there is none.
    pub parent: String,
    /// What is done.
    pub name: String,
    /// `SPAN_KIND_SERVER` and the like.
    pub kind: String,
    /// `STATUS_CODE_ERROR` where it failed, else empty.
    pub status: String,
    /// By name, as `Str(text)`, `Int(1)`, `Bool(true)`.
    pub attributes: BTreeMap<String, String>,
    /// The ids of the spans that it is linked to.
    pub links: Vec<String>,
}

impl Collector {
    /// One that is not started yet, but has its address.
    #[must_use]
    pub fn new() -> Self {
        Self {
            process: None,
            folder: None,
            port: free_port(),
        }
    }

    /// Starts it, or starts it again, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&mut self) {
        wait_for("the collector's port to be free", || is_free(self.port).then_some(()));
        let folder = self.folder.get_or_insert_with(|| Folder::new("collector"));
        let mut command = Command::new(agent());
        command
            .args(["start", "--exporter", "blackhole"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{}", self.port)])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{}", free_port())])
            .args(["--debug-log", "traces", "--debug-log", "metrics", "--debug-log", "logs"])
            .args(["--debug-log-verbosity", "detailed", "--pid-file"])
            .arg(folder.join("collector.pid"));
        let mut process = Process::start(command, &folder.join(LOG), folder.path());
        let request = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{{\"resourceSpans\":[]}}",
            self.port
        );
        wait_for("the collector to serve", || {
            process.assert_runs();
            let answer = exchange(self.port, request.as_bytes()).ok()?;
            (answer.status == 200).then_some(())
        });
        self.process = Some(process);
    }

    /// Its base URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans that it has received so far, also twice.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        read(&self.printed())
    }

    /// All data points of metrics that it has received so far, also twice.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        points::read(&self.printed())
    }

    /// All log records that it has received so far, also twice.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        records::read(&self.printed())
    }

    /// What it has printed so far.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn printed(&self) -> String {
        let folder = self.folder.as_ref().expect("a collector that was started");
        let log = fs::read(folder.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits for the spans of a run that `enough` is content with.
    ///
    /// # Panics
    /// When they do not come.
    #[track_caller]
    pub fn wait_for_run(&self, run: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let text = format!("Str({run})");
        wait_for("the spans of a run", || {
            let mut spans = self.spans();
            spans.retain(|span| span.attributes.get("baton.run") == Some(&text));
            enough(&spans).then_some(spans)
        })
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

/// The program in the Python package, which has no entry point of its own.
fn agent() -> PathBuf {
    let interpreter = &Environment::get().python;
    let output = Command::new(interpreter)
        .args([
            "-c",
            "import rotel, os; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))",
        ])
        .output()
        .expect("python starts");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success(),
        "the Python environment has no rotel: {output:?}"
    );
    PathBuf::from(path)
}

/// Reads what it prints: `Name : value` lines below `Span #n`, then attributes and links.
fn read(log: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut in_span = false;
    let mut in_links = false;
    for line in log.lines() {
        if line.starts_with("Span #") {
            spans.push(Span::default());
            (in_span, in_links) = (true, false);
            continue;
        }
        // Of this signal, or of another one.
        if line.starts_with("Resource") || line.starts_with("Scope") {
            in_span = false;
        }
        let Some(span) = spans.last_mut().filter(|_| in_span) else {
            continue;
        };
        if line.starts_with("Links:") {
            in_links = true;
        }
        let pair = line.trim().trim_start_matches("-> ").split_once(':');
        let Some((name, value)) = pair.map(|(name, value)| (name.trim(), value.trim().to_owned())) else {
            continue;
        };
        match name {
            "ID" if in_links => span.links.push(value),
            _ if in_links => {}
            "Trace ID" => span.trace_id = value,
            "Parent ID" => span.parent = value,
            "ID" => span.id = value,
            "Name" => span.name = value,
            "Kind" => span.kind = value,
            "Status code" => span.status = value,
            _ if line.trim().starts_with("-> ") => {
                span.attributes.insert(name.to_owned(), value);
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ResourceSpans #0
Resource attributes:
     -> service.name: Str(baton)
ScopeSpans #0
Span #0
    Trace ID       : 0af7651916cd43dd8448eb211c80319c
    Parent ID      : 00f067aa0ba902b7
    ID             : b7ad6b7169203331
    Name           : POST /agents/{agent}/steps
    Kind           : SPAN_KIND_SERVER
Start time: 1000000000
    Status code    : STATUS_CODE_ERROR
Attributes:
     -> baton.run: Str(run_01)
     -> baton.background: Bool(false)
Links:
SpanLink #0
     -> Trace ID: 0af7651916cd43dd8448eb211c80319c
     -> ID: 95c12e134d3fbe36
Span #1
    ID             : 95c12e134d3fbe36
";

    #[test]
    fn reads_what_it_prints() {
        let spans = read(LOG);
        assert_eq!(spans.len(), 2);
        let first = &spans[0];
        assert_eq!(
            (first.id.as_str(), first.parent.as_str()),
            ("b7ad6b7169203331", "00f067aa0ba902b7")
        );
        assert_eq!(first.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (first.kind.as_str(), first.status.as_str()),
            ("SPAN_KIND_SERVER", "STATUS_CODE_ERROR")
        );
        assert_eq!(first.attributes["baton.run"], "Str(run_01)");
        assert_eq!(first.attributes.len(), 2);
        assert_eq!(first.links, ["95c12e134d3fbe36"]);
        assert_eq!(spans[1].id, "95c12e134d3fbe36");
    }
}
