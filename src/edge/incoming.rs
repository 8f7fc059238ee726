//! From the platform's request to the core's, and back. Every crossing between JavaScript and Wasm costs, so
//! header fields come in one piece and bodies in one buffer.

use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::stream::{StreamExt as _, unfold};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use worker::js_sys::{Array, JSON};

use super::body::read_capped;
use super::log;
use super::platform::EdgePlatform;
use crate::agent::Host as _;
use crate::gateway::{Body, Gateway, LiveCall};
use crate::manifest::Team;
use crate::overrides::InForce;
use crate::problem::Problem;

/// All that is known of a request before its body is read.
pub struct Head {
    pub method: Method,
    pub headers: HeaderMap,
    /// As received: the core decides what a canonical path is, not a URL library.
    url: String,
}

impl Head {
    pub fn read(request: &worker::Request) -> worker::Result<Self> {
        let inner = request.inner();
        let method = Method::from_bytes(inner.method().as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self {
            method,
            headers: read_headers(request)?,
            url: inner.url(),
        })
    }

    /// The path as received, still percent-encoded.
    pub fn path(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("/", |start| &after_scheme[start..]);
        path.split(['?', '#']).next().unwrap_or("/")
    }

    /// The whole request; nothing where the URL is none.
    pub fn with_body(&self, body: Vec<u8>) -> Option<http::Request<Vec<u8>>> {
        let url = self.url.split('#').next()?;
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(url)
            .body(body)
            .ok()?;
        request.headers_mut().clone_from(&self.headers);
        Some(request)
    }
}

/// All fields in two crossings: as an array, and that as JSON.
fn read_headers(request: &worker::Request) -> worker::Result<HeaderMap> {
    let entries = Array::from(&request.inner().headers());
    let json = String::from(JSON::stringify(&entries)?);
    let entries: Vec<(String, String)> = serde_json::from_str(&json)?;
    let mut headers = HeaderMap::with_capacity(entries.len());
    for (name, value) in entries {
        // A field's characters are bytes, as the Fetch standard has it.
        let value: Vec<u8> = value
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect();
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// How much of a body that is refused is read all the same, in bytes: a client that still sends would lose the answer.
const DRAIN_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Reads the body. What comes after its cap is not kept, and not read for long.
pub async fn read_body(mut request: worker::Request, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let announced = request.headers().get("content-length").ok().flatten();
    if announced.is_some() {
        // The runtime holds a body to its announced length, which `admit` has checked.
        return request.bytes().await.map_err(|_| Problem::Internal);
    }
    let chunks = request.stream().map_err(|_| Problem::Internal)?;
    match read_capped(chunks, max_bytes, DRAIN_MAX_BYTES).await {
        Ok(body) => body.ok_or(Problem::BodyTooLarge { max_bytes }),
        Err(_) => Err(Problem::Internal),
    }
}

async fn answer_live(call: Box<LiveCall>, (platform, team): (EdgePlatform, InForce), sender: UnboundedSender<Vec<u8>>) {
    let begun_at_ms = platform.now_ms();
    let Ok(config) = super::config(platform.env()) else {
        return;
    };
    let gateway = Gateway {
        team: &team,
        declared: Team::embedded(),
        config,
    };
    // A customer who left hears nothing more.
    let send = |part| drop(sender.unbounded_send(part));
    let record = call.answer(&gateway, &platform, &send).await;
    log::live(call.occasion(), &record, platform.now_ms() - begun_at_ms);
}

/// The core's response as the platform's.
///
/// A direct call that its customer listens to is answered outside of its stream: who leaves does not end it. The platform
/// lets it go on for 30 s then, and what it has handed to the run's object for as long as it takes.
pub fn response(
    response: http::Response<Body>,
    (platform, team): (EdgePlatform, InForce),
    context: &worker::Context,
) -> worker::Result<worker::Response> {
    let (parts, body) = response.into_parts();
    let headers = worker::Headers::new();
    for (name, value) in &parts.headers {
        headers.set(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let response = match body {
        Body::Whole(body) if body.is_empty() => worker::Response::empty()?,
        Body::Whole(body) => worker::Response::from_bytes(body)?,
        Body::Stream(stream) => {
            let parts = unfold((stream, platform), |(mut stream, platform)| async {
                let part = stream.next(&platform).await?;
                Some((Ok::<_, worker::Error>(part), (stream, platform)))
            });
            worker::Response::from_stream(parts)?
        }
        Body::Live(call) => {
            let (sender, parts) = unbounded();
            context.wait_until(answer_live(call, (platform, team), sender));
            worker::Response::from_stream(parts.map(Ok::<_, worker::Error>))?
        }
    };
    Ok(response.with_status(parts.status.as_u16()).with_headers(headers))
}
