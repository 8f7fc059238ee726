//! A gateway that gives prepared answers, one a connection, signed as the real one signs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use baton::signature::{Keyring, Origins, Policy, Purpose, RequestView, Verified, sign_response, verify};
use http::{HeaderValue, Request, Response};
use serde_json::{Map, Value, json};

/// Changes a signed answer on its way.
pub type Change = fn(&mut Response<Vec<u8>>);

/// What a connection is answered with.
pub enum Reply {
    /// A plain answer; no body where it is empty.
    Plain(u16, Vec<(&'static str, &'static str)>, &'static str, Change),
    /// A stream. It breaks at its end unless its last part is an outcome.
    Stream(Vec<Part>),
}

/// A part of a stream.
pub enum Part {
    /// As it goes over the wire.
    Text(&'static str),
    /// The last event: an answer of its own.
    Outcome(u16, &'static str, Change),
    /// Waits for the test.
    Wait(Receiver<()>),
}

/// Serves the replies, one a connection, on a free port.
pub struct Gateway {
    pub origin: String,
    thread: JoinHandle<Vec<Request<Vec<u8>>>>,
}

impl Gateway {
    /// Serves these. `keys` is a record or an array of them.
    pub fn new(keys: &str, replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let keys = if keys.trim_start().starts_with('[') {
            keys.to_owned()
        } else {
            format!("[{keys}]")
        };
        let keyring = Keyring::parse(&keys).expect("keys");
        let served = origin.clone();
        let serve = move |reply| {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            let request = read_request(&mut reader, &served);
            let path = request.uri().path();
            // Customers do not sign.
            let is_open = matches!(path, "/.well-known/baton.json" | "/healthz");
            let is_signed = !is_open && !path.ends_with("/query");
            let caller = is_signed.then(|| check(&request, &keyring, &served));
            answer(reader.get_mut(), reply, caller.as_ref());
            request
        };
        let thread = std::thread::spawn(move || replies.into_iter().map(serve).collect());
        Self { origin, thread }
    }

    /// Serves one plain answer, as a stored one.
    pub fn one(keys: &str, status: u16, body: &'static str, change: Change) -> Self {
        let replayed = vec![("idempotency-replayed", "true")];
        Self::new(keys, vec![Reply::Plain(status, replayed, body, change)])
    }

    /// What came, once all replies are given.
    pub fn requests(self) -> Vec<Request<Vec<u8>>> {
        self.thread.join().expect("the requests came")
    }

    /// The one that came.
    pub fn request(self) -> Request<Vec<u8>> {
        self.requests().pop().expect("a request")
    }
}

fn now_s() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time")
        .as_secs()
}

/// Verifies a request as the real gateway does.
fn check(request: &Request<Vec<u8>>, keyring: &Keyring, origin: &str) -> Verified {
    let path = request.uri().path();
    let history = path == "/executions" || path.ends_with("/metrics");
    let policy = Policy {
        keyring,
        origins: &Origins::parse(origin).expect("an origin"),
        purpose: if path.starts_with("/operator/") || history {
            Purpose::Operate
        } else {
            Purpose::Invoke
        },
        idempotency: path.starts_with("/agents/") && !history,
        preconditions: path.ends_with("/state"),
        webhook: None,
        now_s: now_s(),
    };
    let view = RequestView::of(request).expect("a view");
    verify(&view, request.body(), &policy).expect("the request is signed")
}

fn answer(stream: &mut TcpStream, reply: Reply, caller: Option<&Verified>) {
    match reply {
        Reply::Plain(status, headers, body, change) => {
            let response = signed(status, &headers, body, change, caller);
            let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
            if status != 204 {
                text.push_str(&format!("content-length: {}\r\n", response.body().len()));
            }
            for (name, value) in response.headers() {
                text.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
            }
            stream
                .write_all(format!("{text}\r\n").as_bytes())
                .expect("the head is sent");
            stream.write_all(response.body()).expect("the body is sent");
        }
        Reply::Stream(parts) => {
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("the head is sent");
            for part in parts {
                let text = match part {
                    Part::Text(text) => text.to_owned(),
                    Part::Outcome(status, body, change) => {
                        let response = signed(status, &[], body, change, caller);
                        format!("id: 1.99\nevent: outcome\ndata: {}\n\n", as_json(&response))
                    }
                    Part::Wait(test) => {
                        test.recv_timeout(Duration::from_secs(60)).expect("the test goes on");
                        continue;
                    }
                };
                let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                stream.write_all(chunk.as_bytes()).expect("a chunk is sent");
                if text.contains("event: outcome") {
                    stream.write_all(b"0\r\n\r\n").expect("the end is sent");
                }
            }
        }
    }
}

fn signed(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &str,
    change: Change,
    caller: Option<&Verified>,
) -> Response<Vec<u8>> {
    let mut response = Response::new(body.as_bytes().to_vec());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    if !body.is_empty() {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
    }
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    if let Some(caller) = caller {
        sign_response(&mut response, caller, now_s());
    }
    change(&mut response);
    response
}

/// A response as the last event carries it.
fn as_json(response: &Response<Vec<u8>>) -> Value {
    let headers: Map<_, _> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").into()))
        .collect();
    let body = String::from_utf8_lossy(response.body());
    json!({"status": response.status().as_u16(), "headers": headers, "body": body})
}

fn read_request(reader: &mut impl std::io::BufRead, origin: &str) -> Request<Vec<u8>> {
    let mut lines = reader
        .by_ref()
        .lines()
        .map(|line| line.expect("a line"))
        .take_while(|line| !line.is_empty());
    let start = lines.next().expect("a request line");
    let mut words = start.split(' ');
    let mut builder = Request::builder()
        .method(words.next().expect("a method"))
        .uri(format!("{origin}{}", words.next().expect("a target")));
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().expect("a length");
        }
        builder = builder.header(name, value);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    builder.body(body).expect("a request")
}
