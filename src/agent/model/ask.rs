//! One request to one model: sent again while its provider is busy, read as it comes.

use super::super::call::{AGAIN_MS, Call, Missed, asked_to_wait_ms, is_passing, not_allowed};
use super::super::outside::Destination;
use super::super::{Context, Failure, Incoming, misconfigured};
use super::wire::{self, Ask, Reply};
use crate::connections::Provider;
use crate::manifest::ModelConfig;
use crate::platform::Unanswered;
use crate::sse;

/// An answer, with all that streams say around it, has at most this many bytes.
pub const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Of an error's body so much is read, in bytes.
const ERROR_MAX_BYTES: usize = 64 * 1024;
/// The status of a provider that has too much to do, which is nobody else's.
const OVERLOADED: u16 = 529;

/// What came of one try.
enum Tried {
    Answered(Reply),
    Refused {
        status: u16,
        code: Option<String>,
        asked_ms: Option<u64>,
    },
    /// The provider, or the connection, gave up in the middle.
    Broken(Option<String>),
    TooLarge,
}

/// Asks a model. `told` is called with all of the text so far whenever there is more of it, and with nothing when it begins
/// anew. Who asks to be left alone for longer than `wait_max_ms` is not asked again.
pub(super) async fn ask(
    provider: &Provider,
    config: &ModelConfig,
    ask: &Ask<'_>,
    context: &Context<'_>,
    wait_max_ms: u64,
    mut told: impl FnMut(Option<&str>),
) -> Result<Reply, Failure> {
    let request = request(provider, ask)?;
    let mut failures = 0;
    loop {
        let left_ms = context.deadline_at_ms.saturating_sub(context.host.now_ms());
        let call = Call {
            context,
            to: destination(provider),
            breaker: format!("model {}", provider.origin),
            silence_max_ms: config.timeout_ms.min(left_ms),
            whole_max_ms: left_ms,
            wait_max_ms,
        };
        let read = async |incoming| read(&call, provider, incoming, &mut told).await;
        let failed = |tried: &Tried| match tried {
            Tried::Answered(_) | Tried::TooLarge => false,
            Tried::Refused { status, .. } => *status >= 500,
            Tried::Broken(_) => true,
        };
        let (failure, asked_ms) = match call.once(&request, read, failed).await {
            Ok(Tried::Answered(reply)) => return Ok(reply),
            Ok(Tried::Refused { status, code, asked_ms }) if is_passing(status) => {
                (unavailable(Some(status), code.as_deref(), asked_ms), asked_ms)
            }
            Ok(Tried::Refused { status, code, .. }) => return Err(refused(status, code.as_deref())),
            Ok(Tried::Broken(code)) => (unavailable(None, code.as_deref(), None), None),
            Ok(Tried::TooLarge) => {
                let message = format!("the model's answer has more than {ANSWER_MAX_BYTES} bytes");
                return Err(Failure::terminal("model-answer-too-large", message));
            }
            Err(Missed::NotAllowed(reason)) => return Err(not_allowed(&reason)),
            Err(Missed::BreakerOpen) => {
                let message = "the provider failed several times: it is left alone for a while";
                return Err(Failure::retryable(
                    "model-unavailable",
                    message,
                    crate::breaker::OPEN_MS,
                ));
            }
            // Who is silent for so long is not asked again: another model may be.
            Err(Missed::TimedOut) => {
                let message = format!("the model was silent for {} ms", call.silence_max_ms);
                return Err(Failure::retryable("model-timed-out", message, AGAIN_MS));
            }
            Err(Missed::Failed) => (unavailable(None, None, None), None),
        };
        failures += 1;
        if failures > config.retries || !call.wait(failures, asked_ms).await {
            return Err(failure);
        }
        told(None);
    }
}

fn destination(provider: &Provider) -> Destination<'_> {
    match &provider.binding {
        Some(binding) => Destination::Ai(binding),
        None => Destination::Origin(&provider.origin),
    }
}

fn request(provider: &Provider, ask: &Ask<'_>) -> Result<http::Request<Vec<u8>>, Failure> {
    let url = format!("{}{}{}", provider.origin, provider.path, wire::path(provider.api));
    let body = wire::body(provider, ask).to_string().into_bytes();
    let mut request = http::Request::post(url).body(body).map_err(misconfigured)?;
    wire::add_headers(provider.api, provider.key.as_ref(), request.headers_mut())
        .ok_or_else(|| misconfigured("the provider's key cannot be sent"))?;
    Ok(request)
}

/// Reads an answer to its end.
async fn read(
    call: &Call<'_>,
    provider: &Provider,
    mut incoming: Incoming,
    told: &mut impl FnMut(Option<&str>),
) -> Result<Tried, Unanswered> {
    if incoming.status != 200 {
        let body = call.body(&mut incoming, ERROR_MAX_BYTES).await.ok().flatten();
        let error: serde_json::Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        return Ok(Tried::Refused {
            status: incoming.status,
            code: wire::error_code(provider.api, &error),
            asked_ms: asked_to_wait_ms(&incoming.headers, call.context.host.now_ms()),
        });
    }
    if is_whole(&incoming) {
        return whole(call, provider, incoming, told).await;
    }
    let (mut events, mut decoder) = (sse::Decoder::default(), wire::decoder(provider.api));
    let (mut reply, mut received) = (Reply::default(), 0);
    loop {
        let chunk = match call.chunk(&mut incoming).await {
            Ok(Some(chunk)) => chunk,
            // The end of the stream is the end of the answer only where the answer says so.
            Ok(None) if reply.end.is_some() => return Ok(Tried::Answered(reply)),
            Ok(None) | Err(Unanswered::Failed(_)) => return Ok(Tried::Broken(None)),
            Err(silent) => return Err(silent),
        };
        received += chunk.len();
        if received > ANSWER_MAX_BYTES {
            return Ok(Tried::TooLarge);
        }
        let Ok(new) = events.take(&chunk) else {
            return Ok(Tried::TooLarge);
        };
        for event in new {
            let before = reply.text.len();
            if let Err(broken) = decoder.event(&event, &mut reply) {
                return Ok(Tried::Broken(broken.code));
            }
            if reply.text.len() > before {
                told(Some(&reply.text));
            }
            if reply.over {
                return Ok(Tried::Answered(reply));
            }
        }
    }
}

/// Whether an answer comes at once and not as a stream: Workers AI answers so where the output has a form.
fn is_whole(incoming: &Incoming) -> bool {
    let field = incoming.headers.get(http::header::CONTENT_TYPE);
    field.is_some_and(|field| field.as_bytes().starts_with(b"application/json"))
}

/// Reads an answer that comes at once, as one event and the end of the stream.
async fn whole(
    call: &Call<'_>,
    provider: &Provider,
    mut incoming: Incoming,
    told: &mut impl FnMut(Option<&str>),
) -> Result<Tried, Unanswered> {
    let Some(body) = call.body(&mut incoming, ANSWER_MAX_BYTES).await? else {
        return Ok(Tried::TooLarge);
    };
    let (mut reply, mut decoder) = (Reply::default(), wire::decoder(provider.api));
    for data in [String::from_utf8_lossy(&body).into_owned(), "[DONE]".to_owned()] {
        let event = sse::Event {
            name: "message".to_owned(),
            data,
        };
        if let Err(broken) = decoder.event(&event, &mut reply) {
            return Ok(Tried::Broken(broken.code));
        }
    }
    if reply.end.is_none() {
        return Ok(Tried::Broken(None));
    }
    if !reply.text.is_empty() {
        told(Some(&reply.text));
    }
    Ok(Tried::Answered(reply))
}

fn unavailable(status: Option<u16>, code: Option<&str>, asked_ms: Option<u64>) -> Failure {
    let how = match status {
        Some(OVERLOADED) => "has too much to do".to_owned(),
        Some(status) => format!("answered {status}"),
        None => "broke off".to_owned(),
    };
    let message = format!("the provider {how}{}", in_its_words(code));
    Failure::retryable("model-unavailable", message, asked_ms.unwrap_or(AGAIN_MS))
}

fn refused(status: u16, code: Option<&str>) -> Failure {
    let words = in_its_words(code);
    match status {
        401 | 403 => Failure::terminal(
            "model-key-refused",
            format!("the provider refuses the key: {status}{words}"),
        ),
        _ => Failure::terminal(
            "model-request-refused",
            format!("the provider answered {status}{words}"),
        ),
    }
}

fn in_its_words(code: Option<&str>) -> String {
    code.map_or(String::new(), |code| format!(" ({code})"))
}
