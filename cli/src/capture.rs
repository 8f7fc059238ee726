//! Captured messages: HTTP/1.1 text as saved by a proxy or a log, or what `curl -v` prints.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A captured request.
#[derive(Debug, Clone)]
pub struct CapturedRequest {
    /// As on the request line.
    pub method: String,
    /// From an absolute request target, else from `Host`.
    pub authority: Option<String>,
    /// Still percent-encoded.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
    /// All header fields.
    pub headers: HeaderMap,
    /// As captured.
    pub body: Vec<u8>,
}

/// A captured response.
#[derive(Debug, Clone)]
pub struct CapturedResponse {
    /// The status code.
    pub status: u16,
    /// All header fields.
    pub headers: HeaderMap,
    /// As captured.
    pub body: Vec<u8>,
}

/// What a file holds; at least one of the two.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    /// The last request in it.
    pub request: Option<CapturedRequest>,
    /// The last response in it.
    pub response: Option<CapturedResponse>,
}

/// The text of a request, as [`parse`] reads it.
pub fn request_text(request: &http::Request<Vec<u8>>) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut text = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    if let Some(authority) = request.uri().authority() {
        text.extend_from_slice(format!("host: {authority}\r\n").as_bytes());
    }
    push_rest(&mut text, request.headers(), request.body());
    text
}

/// The text of a response, as [`parse`] reads it.
pub fn response_text(response: &http::Response<Vec<u8>>) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    push_rest(&mut text, response.headers(), response.body());
    text
}

fn push_rest(text: &mut Vec<u8>, headers: &HeaderMap, body: &[u8]) {
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
}

/// Reads a capture. Lines may end with CRLF or LF.
///
/// # Errors
/// Names the line and what was expected there.
pub fn parse(bytes: &[u8]) -> Result<Capture, String> {
    if bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"> ")) {
        parse_curl(bytes)
    } else {
        let mut capture = Capture::default();
        read_message(bytes, 1, &mut capture)?;
        Ok(capture)
    }
}

/// `curl -v`: `> ` before the request's head, `< ` before the response's, `* ` before remarks, and the
/// response's body as it is. The request's body is not there.
fn parse_curl(bytes: &[u8]) -> Result<Capture, String> {
    let mut capture = Capture::default();
    let (mut sent, mut received, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sent_line, mut received_line) = (1, 1);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if let Some(rest) = strip(line, b'>') {
            // A second request on the same connection, after a redirect or a 401: the last one counts.
            if sent.is_empty() || ends_head(&sent) {
                (sent, sent_line) = (Vec::new(), index + 1);
                (received, body) = (Vec::new(), Vec::new());
            }
            sent.extend_from_slice(rest);
        } else if let Some(rest) = strip(line, b'<') {
            if received.is_empty() || ends_head(&received) {
                (received, received_line) = (Vec::new(), index + 1);
            }
            received.extend_from_slice(rest);
        } else if ends_head(&received) && !is_remark(line) {
            body.extend_from_slice(line);
        }
    }
    if !sent.is_empty() {
        read_message(&sent, sent_line, &mut capture)?;
    }
    if !received.is_empty() {
        received.extend_from_slice(&body);
        read_message(&received, received_line, &mut capture)?;
    }
    Ok(capture)
}

/// The rest of a line behind curl's mark and its space.
fn strip(line: &[u8], mark: u8) -> Option<&[u8]> {
    let rest = line.strip_prefix(&[mark])?;
    match rest {
        [b' ', rest @ ..] => Some(rest),
        [b'\r' | b'\n', ..] => Some(rest),
        _ => None,
    }
}

/// curl's own lines: `* remark`, and `{ [12 bytes data]` about a body.
fn is_remark(line: &[u8]) -> bool {
    line.starts_with(b"* ") || line.starts_with(b"{ [") || line.starts_with(b"} [")
}

fn ends_head(head: &[u8]) -> bool {
    head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
}

/// Reads one message; `first_line` is where it stands in its file.
fn read_message(bytes: &[u8], first_line: usize, capture: &mut Capture) -> Result<(), String> {
    let (start, mut rest) = next_line(bytes);
    let start = text(start, first_line)?;
    let mut headers = HeaderMap::new();
    let mut number = first_line;
    loop {
        if rest.is_empty() {
            break;
        }
        number += 1;
        let (line, after) = next_line(rest);
        rest = after;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line, number)?;
        headers.append(name, value);
    }
    let body = body(rest, &headers);
    let words: Vec<_> = start.split(' ').collect();
    match words.as_slice() {
        [version, status, ..] if version.starts_with("HTTP/") => {
            let status = status.parse().ok().filter(|status| (100..=599).contains(status));
            let status = status.ok_or_else(|| format!("line {first_line}: `{start}` has no status code"))?;
            capture.response = Some(CapturedResponse { status, headers, body });
        }
        [method, target, version] if version.starts_with("HTTP/") => {
            let (authority, path, query) = split_target(target, &headers);
            let method = (*method).to_owned();
            capture.request = Some(CapturedRequest {
                method,
                authority,
                path,
                query,
                headers,
                body,
            });
        }
        _ => {
            return Err(format!(
                "line {first_line}: expected a request line such as `POST /agents/triage/steps HTTP/1.1` or a status line such as `HTTP/1.1 200 OK`, found `{}`",
                start.chars().take(60).collect::<String>()
            ));
        }
    }
    Ok(())
}

fn next_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

fn text(line: &[u8], number: usize) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|_| format!("line {number}: not text"))
}

fn field(line: &[u8], number: usize) -> Result<(HeaderName, HeaderValue), String> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(|| format!("line {number}: expected `name: value` or, before the body, an empty line"))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let name = HeaderName::from_bytes(name).map_err(|_| {
        format!(
            "line {number}: `{}` is no header field's name",
            String::from_utf8_lossy(name)
        )
    })?;
    let value =
        HeaderValue::from_bytes(value).map_err(|_| format!("line {number}: the value has control characters"))?;
    Ok((name, value))
}

/// The body without the line end that editors and shells add, where `Content-Length` tells it apart.
fn body(bytes: &[u8], headers: &HeaderMap) -> Vec<u8> {
    let length = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let (kept, rest) = bytes.split_at(length.unwrap_or(bytes.len()).min(bytes.len()));
    if matches!(rest, b"\n" | b"\r\n") {
        kept.to_vec()
    } else {
        bytes.to_vec()
    }
}

fn split_target(target: &str, headers: &HeaderMap) -> (Option<String>, String, Option<String>) {
    let absolute = target
        .split_once("://")
        .filter(|_| !target.starts_with('/'))
        .map(|(_, rest)| rest);
    let host = || {
        headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .map(str::to_owned)
    };
    let (authority, target) = match absolute {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(rest[..end].to_owned()), &rest[end..])
        }
        None => (host(), target),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    (authority, path.to_owned(), query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(text: &str, expected: &str) {
        let error = parse(text.as_bytes()).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }

    fn request(text: &str) -> CapturedRequest {
        parse(text.as_bytes()).expect(text).request.expect(text)
    }

    #[test]
    fn plain_requests() {
        let found = request("POST /a/b?c=d HTTP/1.1\r\nHost: gw:1\r\nX-A: 1\r\nx-a:  2 \r\n\r\n{}\n");
        assert_eq!(
            (found.method.as_str(), found.authority.as_deref()),
            ("POST", Some("gw:1"))
        );
        assert_eq!((found.path.as_str(), found.query.as_deref()), ("/a/b", Some("c=d")));
        assert_eq!(found.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(found.body, b"{}\n");

        let found = request("GET https://gw.example.com?x HTTP/2\nHost: other\n");
        assert_eq!(
            (found.authority.as_deref(), found.path.as_str()),
            (Some("gw.example.com"), "/")
        );
        assert_eq!(found.query.as_deref(), Some("x"));

        let found = request("GET /?u=http://x HTTP/1.1\nHost: gw\n\n");
        assert_eq!((found.authority.as_deref(), found.path.as_str()), (Some("gw"), "/"));
    }

    #[test]
    fn a_line_end_beyond_the_content_length_is_the_editors() {
        assert_eq!(request("POST / HTTP/1.1\ncontent-length: 2\n\n{}\n").body, b"{}");
        assert_eq!(request("POST / HTTP/1.1\ncontent-length: 2\n\n{}xx").body, b"{}xx");
        assert_eq!(request("POST / HTTP/1.1\ncontent-length: 9\n\n{}").body, b"{}");
    }

    #[test]
    fn responses() {
        let capture = parse(b"HTTP/1.1 200 OK\nA: b\n\nbody").expect("a response");
        let response = capture.response.expect("a response");
        assert_eq!((response.status, response.body.as_slice()), (200, &b"body"[..]));
        assert!(parse(b"HTTP/2 204 \r\n\r\n").is_ok());
    }

    #[test]
    fn curl() {
        let text = "* Connected to gw\n> POST /s HTTP/1.1\r\n> Host: gw\r\n> \r\n} [5 bytes data]\n\
            < HTTP/1.1 100 Continue\r\n< \r\n< HTTP/1.1 200 OK\r\n< A: b\r\n< \r\n{ [2 bytes data]\n{\"a\":\n1}\n* Closing\n";
        let capture = parse(text.as_bytes()).expect("an exchange");
        let (request, response) = (capture.request.expect("sent"), capture.response.expect("received"));
        assert_eq!((request.path.as_str(), request.body.as_slice()), ("/s", &b""[..]));
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, &b"{\"a\":\n1}\n"[..])
        );
    }

    #[test]
    fn refusals_name_the_line() {
        check_refused("", "line 1: expected a request line");
        check_refused("hello\n", "found `hello`");
        check_refused("GET / HTTP/1.1\nno colon\n", "line 2: expected `name: value`");
        check_refused(
            "GET / HTTP/1.1\na: b\n folded: x\n",
            "line 3: ` folded` is no header field's name",
        );
        check_refused("HTTP/1.1 OK\n\n", "no status code");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let request = http::Request::post("http://gw:1/a?b")
            .header("x", "y")
            .body(b"{}".to_vec())
            .expect("a request");
        let found = parse(&request_text(&request))
            .expect("text")
            .request
            .expect("a request");
        assert_eq!((found.authority.as_deref(), found.path.as_str()), (Some("gw:1"), "/a"));
        assert_eq!((found.query.as_deref(), found.body.as_slice()), (Some("b"), &b"{}"[..]));
    }
}
