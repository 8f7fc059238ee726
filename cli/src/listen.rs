//! A direct call listened to: what happens goes to standard error as it comes, the answer is what it would be without.

use std::io::{BufReader, Read};

use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde_json::Value;

use crate::follow::{Live, SILENCE, is_stream};
use crate::output::{Exit, Failure, printable};
use crate::{sse, transport};

/// Sends the call, shows what happens, and answers with its end: the answer, or the problem, each with its status.
///
/// A gateway that answers plainly is answered to plainly: a refusal, for example, is no stream.
pub fn listen(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
    let opened = transport::open(request, SILENCE)?;
    if !is_stream(&opened.response) {
        return opened.read();
    }
    let reader = BufReader::new(opened.response.into_body().into_reader());
    let mut live = Live::default();
    let ended = read(reader, &mut |event| live.show(event));
    live.end_line();
    ended
}

fn read(stream: BufReader<impl Read>, show: &mut dyn FnMut(&sse::Event)) -> Result<Response<Vec<u8>>, Failure> {
    let mut reader = sse::Reader::new(stream);
    loop {
        match reader.next() {
            Ok(Some(event)) if event.name == "answer" => return response(200, "application/json", event.data),
            Ok(Some(event)) if event.name == "problem" => {
                let problem: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                return response(status.unwrap_or_default(), "application/problem+json", event.data);
            }
            Ok(Some(event)) => show(&event),
            Ok(None) => return Err(broken("it ended before the answer")),
            Err(error) => return Err(broken(&error.to_string())),
        }
    }
}

fn response(status: u16, content_type: &str, body: String) -> Result<Response<Vec<u8>>, Failure> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response
        .body(body.into_bytes())
        .map_err(|_| broken("its problem has no status: is a Baton gateway there?"))
}

fn broken(cause: &str) -> Failure {
    Failure::new(Exit::Transport, format!("the stream broke: {}", printable(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the events that are shown, and how it ended.
    fn check(stream: &str, shown: &[&str], expected: Result<(u16, &str), &str>) {
        let mut names = Vec::new();
        let ended = read(BufReader::new(stream.as_bytes()), &mut |event| {
            names.push(event.name.clone())
        });
        assert_eq!(names, shown, "{stream}");
        match (ended, expected) {
            (Ok(response), Ok((status, body))) => {
                assert_eq!(
                    (response.status().as_u16(), response.body().as_slice()),
                    (status, body.as_bytes())
                );
            }
            (Err(failure), Err(words)) => assert!(failure.message().contains(words), "{}", failure.message()),
            (ended, _) => panic!("{ended:?}"),
        }
    }

    #[test]
    fn the_end_is_an_answer_or_a_problem() {
        let route = "retry: 1000\n\nevent: route\ndata: {\"by\":\"local\"}\n\n: keep-alive\n\n";
        let with = |rest: &str| format!("{route}{rest}");
        check(
            &with("event: answer\ndata: {\"a\":1}\n\n"),
            &["route"],
            Ok((200, "{\"a\":1}")),
        );
        check(
            &with("event: problem\ndata: {\"status\":504}\n\n"),
            &["route"],
            Ok((504, "{\"status\":504}")),
        );
        check(&with("event: problem\ndata: {}\n\n"), &["route"], Err("no status"));
        check(
            &with("id: 1.1\nevent: delta\ndata: {}\n\n"),
            &["route", "delta"],
            Err("before the answer"),
        );
        check("", &[], Err("before the answer"));
    }
}
