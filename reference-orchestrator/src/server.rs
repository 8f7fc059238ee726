//! The routes: signed ones for gateways, and the operators' surface, which is for development on this machine.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::routing::{delete, get, post, put};
use axum::serve::ListenerExt as _;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::behaviour::Behaviour;
use crate::error::Problem;
use crate::log::Log;
use crate::signed::{self, Answered, Call, check_media_type, json_response, problem_response, response};
use crate::{Orchestrator, callbacks, lapses, outside, page, runs};

/// A request's body has at most this many bytes: as many as an answer, since a callback carries one.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The page and `GET /runs` show at most this many runs.
pub const RUNS_SHOWN_MAX: usize = 50;

type App = Arc<Orchestrator>;

/// Takes up the runs that an earlier process left, and serves until `shutdown` comes.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    resume_runs(&app);
    // An answer leaves at once: waiting for more of it to send (Nagle) costs 40 ms.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let stopping = Arc::clone(&app);
    let watching = tokio::spawn(watch_leases(Arc::clone(&app)));
    let served = axum::serve(listener, router(app))
        .with_graceful_shutdown(async move {
            shutdown.await;
            stopping.stop.request();
        })
        .await;
    watching.abort();
    served
}

async fn watch_leases(app: App) {
    loop {
        let app = Arc::clone(&app);
        // One that panics is not the last.
        let _ = tokio::task::spawn_blocking(move || lapses::tell(&app, outside::now_ms())).await;
        tokio::time::sleep(Duration::from_millis(lapses::LOOK_EVERY_MS)).await;
    }
}

fn resume_runs(app: &App) {
    let unfinished = match app.store.unfinished_runs() {
        Ok(unfinished) => unfinished,
        Err(error) => {
            app.log
                .event(outside::now_ms(), "resume_failed", json!({ "cause": error.cause() }));
            return;
        }
    };
    for id in unfinished {
        let app = Arc::clone(app);
        tokio::task::spawn_blocking(move || {
            if let Ok(Some(run)) = app.store.run(&id) {
                runs::resume(&app, &run);
            }
        });
    }
}

/// Every route.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/gateways", post(register))
        .route("/gateways/{registration}/lease", put(renew))
        .route("/gateways/{registration}", delete(deregister))
        .route("/gateways", get(|app, request| operate(app, request, list_gateways)))
        .route("/", get(|app, request| operate(app, request, show_page)))
        .route(
            "/runs",
            get(|app, request| operate(app, request, list_runs)).post(create_run),
        )
        .route("/runs/{run}", get(show_run))
        .route("/runs/{run}/settlement", post(settle))
        .route(callbacks::PATH, post(receive_callback))
        .route(
            "/admin/behaviour",
            get(|app, request| operate(app, request, show_behaviour)).post(tell_behaviour),
        )
        .route("/admin/forget/{registration}", post(forget))
        .route("/healthz", get(|app, request| operate(app, request, health)))
        .fallback(|app, request| operate(app, request, |_, _, _| Err(Problem::NotFound)))
        .method_not_allowed_fallback(|app, request| operate(app, request, |_, _, _| Err(Problem::MethodNotAllowed)))
        .with_state(app)
}

async fn register(app: State<App>, request: Request) -> Response<Body> {
    gateway_calls(app, request, Call::Register).await
}

async fn renew(app: State<App>, Path(registration): Path<String>, request: Request) -> Response<Body> {
    gateway_calls(app, request, Call::Renew(registration)).await
}

async fn deregister(app: State<App>, Path(registration): Path<String>, request: Request) -> Response<Body> {
    gateway_calls(app, request, Call::Deregister(registration)).await
}

async fn settle(app: State<App>, Path(run): Path<String>, request: Request) -> Response<Body> {
    gateway_calls(app, request, Call::Settle(run)).await
}

async fn gateway_calls(State(app): State<App>, request: Request, call: Call) -> Response<Body> {
    answer(app, request, move |app, parts, body, request_id| {
        signed::answer(app, &call, parts, body, request_id)
    })
    .await
}

async fn receive_callback(State(app): State<App>, request: Request) -> Response<Body> {
    answer(app, request, |app, parts, body, request_id| {
        callbacks::answer(app, parts, body, request_id)
    })
    .await
}

/// A gateway hands a run on, or an operator asks for one: gateways sign.
async fn create_run(app: State<App>, request: Request) -> Response<Body> {
    if request.headers().contains_key("signature-input") {
        return gateway_calls(app, request, Call::Run).await;
    }
    operate(app, request, |app, parts, body| {
        // A page of another site cannot send this type without asking first, and nobody answers it.
        check_media_type(parts)?;
        let (status, run) = runs::create(app, body)?;
        Ok(json_response(status, &run))
    })
    .await
}

async fn show_run(app: State<App>, Path(run): Path<String>, request: Request) -> Response<Body> {
    operate(app, request, move |app, _, _| {
        let run = app.store.run(&run)?.ok_or(Problem::UnknownRun)?;
        Ok(json_response(200, &json!(run)))
    })
    .await
}

async fn tell_behaviour(app: State<App>, request: Request) -> Response<Body> {
    operate(app, request, |app, parts, body| {
        check_media_type(parts)?;
        app.behaviour.tell(Behaviour::parse(body)?);
        show_behaviour(app, parts, body)
    })
    .await
}

fn show_behaviour(app: &Orchestrator, _: &Parts, _: &[u8]) -> Result<Response<Vec<u8>>, Problem> {
    Ok(json_response(200, &json!(app.behaviour.now())))
}

async fn forget(app: State<App>, Path(registration): Path<String>, request: Request) -> Response<Body> {
    operate(app, request, move |app, _, _| {
        if !app.store.forget(&registration)? {
            return Err(Problem::UnknownRegistration);
        }
        Ok(json_response(204, &Value::Null))
    })
    .await
}

fn list_gateways(app: &Orchestrator, _: &Parts, _: &[u8]) -> Result<Response<Vec<u8>>, Problem> {
    Ok(json_response(200, &json!(app.store.registrations(outside::now_ms())?)))
}

fn list_runs(app: &Orchestrator, _: &Parts, _: &[u8]) -> Result<Response<Vec<u8>>, Problem> {
    Ok(json_response(200, &json!(app.store.latest_runs(RUNS_SHOWN_MAX)?)))
}

fn health(app: &Orchestrator, _: &Parts, _: &[u8]) -> Result<Response<Vec<u8>>, Problem> {
    app.store.check()?;
    Ok(json_response(200, &json!({ "status": "ok" })))
}

fn show_page(app: &Orchestrator, _: &Parts, _: &[u8]) -> Result<Response<Vec<u8>>, Problem> {
    let now_ms = outside::now_ms();
    let registrations = app.store.registrations(now_ms)?;
    let html = page::page(&app.id, &registrations, &app.store.latest_runs(RUNS_SHOWN_MAX)?, now_ms);
    let mut response = response(200, "text/html; charset=utf-8", html.into_bytes());
    let policy = HeaderValue::from_static(page::CONTENT_SECURITY_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Answers on the operators' surface.
async fn operate<F>(State(app): State<App>, request: Request, work: F) -> Response<Body>
where
    F: FnOnce(&Orchestrator, &Parts, &[u8]) -> Result<Response<Vec<u8>>, Problem> + Send + 'static,
{
    answer(app, request, move |app, parts, body, request_id| {
        let result = check_origin(app, parts).and_then(|()| work(app, parts, body));
        let (response, problem) = match result {
            Ok(response) => (response, None),
            Err(problem) => (problem_response(&problem, request_id), Some(problem)),
        };
        Answered {
            response,
            key_id: None,
            problem,
        }
    })
    .await
}

/// Refuses what a page of another site sends: by its `Origin`, and by a name of its own that leads to this machine.
fn check_origin(app: &Orchestrator, parts: &Parts) -> Result<(), Problem> {
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let serves = |authority: &str| {
        let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
        app.origins.serve(authority) || matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    };
    let host = text(header::HOST).unwrap_or_default();
    let same_origin = text(header::ORIGIN)
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, authority)| authority == host));
    if serves(host) && same_origin {
        Ok(())
    } else {
        Err(Problem::ForeignOrigin)
    }
}

/// Reads a request's body, answers on a blocking thread, and logs.
async fn answer<F>(app: App, request: Request, work: F) -> Response<Body>
where
    F: FnOnce(&App, &Parts, &[u8], &str) -> Answered + Send + 'static,
{
    let (begun, log) = (Instant::now(), app.log);
    let request_id = format!("req_{}", outside::token());
    let (parts, body) = request.into_parts();
    let line = json!({ "request_id": request_id, "method": parts.method.as_str(), "path": parts.uri.path() });
    let refused = |problem: Problem, request_id: &str| Answered {
        response: problem_response(&problem, request_id),
        key_id: None,
        problem: Some(problem),
    };
    let answered = match read(body).await {
        Err(problem) => refused(problem, &request_id),
        Ok(body) => {
            let id = request_id.clone();
            let answering = tokio::task::spawn_blocking(move || work(&app, &parts, &body, &id));
            answering
                .await
                .unwrap_or_else(|_| refused(Problem::Internal, &request_id))
        }
    };
    log_answer(log, line, &answered, begun);
    let mut response = answered.response.map(Body::from);
    if let Ok(value) = request_id.parse() {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    match to_bytes(body, BODY_MAX_BYTES).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if is_too_large(&error) => Err(Problem::BodyTooLarge {
            max_bytes: BODY_MAX_BYTES,
        }),
        Err(error) => Err(Problem::BodyIncomplete {
            reason: error.to_string(),
        }),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    // The type behind it, of http-body-util, is not exported by axum.
    error.to_string().contains("length limit exceeded")
}

fn log_answer(log: Log, mut line: Value, answered: &Answered, begun: Instant) {
    line["status"] = answered.response.status().as_u16().into();
    line["key_id"] = json!(answered.key_id);
    line["duration_ms"] = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).into();
    if let Some(problem) = &answered.problem {
        line["problem"] = problem.code().into();
        line["reason"] = match problem {
            Problem::Store(error) => error.cause(),
            problem => problem.to_string(),
        }
        .into();
    }
    log.event(outside::now_ms(), "request", line);
}
