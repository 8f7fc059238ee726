//! Calls to the outside: bounded in time and size, and never redirected.

use std::time::Duration;

use futures_util::StreamExt as _;
use worker::{
    AbortController, AbortSignal, ByteStream, Delay, Fetch, Fetcher, RequestInit, RequestRedirect, ResponseBody,
    web_sys,
};

use super::body::read_capped;
use crate::agent::{Chunks, Incoming, LocalBoxFuture};
use crate::invocation::before;
use crate::platform::Unanswered;

/// Sends a request and reads its answer, which may have so many bytes at most.
///
/// # Errors
/// Why there is no answer.
pub async fn send(
    request: &http::Request<Vec<u8>>,
    timeout_ms: u64,
    answer_max_bytes: usize,
) -> Result<http::Response<Vec<u8>>, Unanswered> {
    within(timeout_ms, async |signal| {
        let (head, answer) = call(request, None, signal).await?;
        let body = read(answer, answer_max_bytes).await?;
        Ok(head.map(|()| body))
    })
    .await
}

/// Sends a request and looks at the head of its answer alone.
///
/// # Errors
/// A sentence for the operator: what failed, without the request's content.
pub async fn send_and_ignore_body(
    request: &http::Request<Vec<u8>>,
    timeout_ms: u64,
) -> Result<http::Response<()>, String> {
    let head = within(timeout_ms, async |signal| Ok(call(request, None, signal).await?.0)).await;
    head.map_err(|unanswered| unanswered.to_string())
}

/// Sends a request, to a bound Worker or over the network, and answers when the head of its answer is there. There is no
/// limit of time or size: whoever reads has its own. The call is aborted when the future or the body is dropped.
///
/// # Errors
/// When the call fails.
pub async fn open(request: &http::Request<Vec<u8>>, worker: Option<&Fetcher>) -> Result<Incoming, Unanswered> {
    let failed = |error: worker::Error| Unanswered::Failed(error.to_string());
    let abort = AbortOnDrop(AbortController::default());
    let (_, answer) = call(request, worker, abort.0.signal()).await.map_err(failed)?;
    incoming(answer, Some(abort))
}

/// An answer whose body is yet to come; `abort` ends the call when that is dropped.
///
/// # Errors
/// When its head is none of HTTP.
pub(super) fn incoming(mut answer: worker::Response, abort: Option<AbortOnDrop>) -> Result<Incoming, Unanswered> {
    let failed = |error: worker::Error| Unanswered::Failed(error.to_string());
    let head = head_of(&answer).map_err(failed)?;
    let stream = match answer.body() {
        ResponseBody::Empty => None,
        ResponseBody::Stream(_) | ResponseBody::Body(_) => Some(answer.stream().map_err(failed)?),
    };
    let (head, ()) = head.into_parts();
    Ok(Incoming {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Box::new(Streaming { stream, _abort: abort }),
    })
}

/// The body of an answer that is still coming.
struct Streaming {
    stream: Option<ByteStream>,
    _abort: Option<AbortOnDrop>,
}

impl Chunks for Streaming {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, Unanswered>> {
        Box::pin(async {
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            let chunk = stream.next().await.transpose();
            chunk.map_err(|error| Unanswered::Failed(error.to_string()))
        })
    }
}

/// Aborts the call when it is dropped: at its end, when its time is over, and when nobody waits for it any more.
pub(super) struct AbortOnDrop(AbortController);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).abort();
    }
}

async fn within<T>(timeout_ms: u64, work: impl AsyncFnOnce(AbortSignal) -> worker::Result<T>) -> Result<T, Unanswered> {
    let abort = AbortOnDrop(AbortController::default());
    let call = work(abort.0.signal());
    match before(call, Delay::from(Duration::from_millis(timeout_ms))).await {
        Some(result) => result.map_err(|error| Unanswered::Failed(error.to_string())),
        None => Err(Unanswered::TimedOut { timeout_ms }),
    }
}

async fn call(
    request: &http::Request<Vec<u8>>,
    worker: Option<&Fetcher>,
    signal: AbortSignal,
) -> worker::Result<(http::Response<()>, worker::Response)> {
    let headers = worker::Headers::new();
    for (name, value) in request.headers() {
        headers.set(name.as_str(), value.to_str().map_err(|error| error.to_string())?)?;
    }
    let mut init = RequestInit::new();
    init.with_method(worker::Method::from(request.method().as_str().to_owned()))
        .with_redirect(RequestRedirect::Manual)
        .with_headers(headers);
    if !request.body().is_empty() {
        let body = worker::js_sys::Uint8Array::from(request.body().as_slice());
        init.with_body(Some(body.into()));
    }
    let outgoing = worker::Request::new_with_init(&request.uri().to_string(), &init)?;
    let answer = match worker {
        None => Fetch::Request(outgoing).send_with_signal(&signal).await?,
        Some(worker) => {
            // A binding takes no signal beside the request: it has to be part of it.
            let with_signal = web_sys::RequestInit::new();
            with_signal.set_signal(Some(&signal));
            let outgoing = web_sys::Request::new_with_request_and_init(outgoing.inner(), &with_signal)?;
            worker.fetch_request(worker::Request::from(outgoing)).await?
        }
    };
    Ok((head_of(&answer)?, answer))
}

fn head_of(answer: &worker::Response) -> worker::Result<http::Response<()>> {
    let mut head = http::Response::builder().status(answer.status_code());
    for (name, value) in answer.headers() {
        head = head.header(name, value);
    }
    Ok(head.body(()).map_err(|error| error.to_string())?)
}

async fn read(mut answer: worker::Response, max_bytes: usize) -> worker::Result<Vec<u8>> {
    let body = match answer.body() {
        ResponseBody::Stream(_) => read_capped(answer.stream()?, max_bytes, 0).await?,
        ResponseBody::Empty | ResponseBody::Body(_) => Some(answer.bytes().await?),
    };
    body.ok_or_else(|| format!("the answer is larger than {max_bytes} bytes").into())
}
