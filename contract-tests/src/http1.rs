//! HTTP/1.1 over a TCP stream: sends the bytes that it is given, and nothing else.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::outside::PATIENCE;

/// A response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that occurs at most once.
    ///
    /// # Panics
    /// When it occurs twice.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(own, _)| own == name);
        let value = lines.next().map(|(_, value)| value.as_str());
        assert!(lines.next().is_none(), "{name} occurs twice: {self:?}");
        value
    }
}

/// Sends a request to a port of this machine and reads the answer.
///
/// # Errors
/// When nobody listens, or the connection ends before the answer does.
pub fn exchange(port: u16, request: &[u8]) -> io::Result<Response> {
    let mut stream = connect(port)?;
    let head_only = request.starts_with(b"HEAD ");
    let mut reader = BufReader::new(stream.try_clone()?);
    thread::scope(|scope| {
        // An answer may come, and the connection end, before a large body is sent.
        scope.spawn(|| stream.write_all(request));
        let response = read_response(&mut reader, head_only);
        reader.get_ref().shutdown(Shutdown::Both).ok();
        response
    })
}

/// A connection on which nothing takes longer than a test waits.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn read_response(reader: &mut BufReader<TcpStream>, head_only: bool) -> io::Result<Response> {
    let (mut status, mut headers) = read_head(reader)?;
    while (100..200).contains(&status) {
        (status, headers) = read_head(reader)?;
    }
    let field = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if head_only || status == 204 || status == 304 {
        // Whatever the fields say, there is none; whether one was sent nevertheless is seen by `leftover`.
        body = leftover(reader)?;
    } else if field("transfer-encoding") == Some("chunked") {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = field("content-length") {
        body.resize(length.parse().map_err(|_| invalid("content-length"))?, 0);
        reader.read_exact(&mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(Response { status, headers, body })
}

/// What came with the head and should not have.
fn leftover(reader: &BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut bytes = reader.buffer().to_vec();
    let mut stream = reader.get_ref();
    stream.set_nonblocking(true)?;
    let mut more = [0; 1024];
    if let Ok(count) = stream.read(&mut more) {
        bytes.extend_from_slice(&more[..count]);
    }
    stream.set_nonblocking(false)?;
    Ok(bytes)
}

/// The head of an answer.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let start = read_line(reader)?;
    let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid(&start))?;
    Ok((status, read_fields(reader)?))
}

/// Header lines up to the empty one; names in lower case.
pub(crate) fn read_fields(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// All chunks of a body.
pub(crate) fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    while let Some(chunk) = read_chunk(reader)? {
        body.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The next chunk of a body; nothing at its end.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(reader)?;
    let size = usize::from_str_radix(line.trim(), 16).map_err(|_| invalid(&line))?;
    let mut chunk = vec![0; size];
    reader.read_exact(&mut chunk)?;
    read_line(reader)?;
    Ok((size > 0).then_some(chunk))
}

pub(crate) fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection ended before the answer did",
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {what}"))
}
