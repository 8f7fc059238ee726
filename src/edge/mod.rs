//! The platform: the only module that names the `worker` crate, and that reads a clock, a random source and the
//! environment. It turns events into calls of the core, and performs what the core asks for.

mod ai;
mod alerts;
mod api_keys;
mod body;
mod cache;
mod callback;
mod channel;
mod client_object;
mod clock;
mod conversation_object;
mod d1;
mod dead_letters;
mod export;
mod history;
mod http_client;
mod incoming;
mod lease;
mod link_call;
mod link_object;
mod link_outbox;
mod log;
mod notify;
mod object;
mod outbox_work;
mod outside;
mod overrides;
mod overrides_object;
mod platform;
mod queue;
mod run_ledger;
mod run_object;
mod run_storage;
mod run_work;
mod settle;
mod slots;
mod sync_transaction;
mod totals;

use std::cell::Cell;
use std::sync::OnceLock;

use futures_util::future::join_all;
use worker::{Context, Env, MessageBatch, ScheduleContext, ScheduledEvent, event};

use crate::access::client_address;
use crate::alert;
use crate::config::{Config, ConfigError};
use crate::gateway::{Gateway, Handled};
use crate::invocation::Occasion;
use crate::manifest::Team;
use crate::problem::Problem;
use crate::telemetry::trace_context::TraceContext;

#[event(fetch)]
async fn fetch(request: worker::Request, env: Env, context: Context) -> worker::Result<worker::Response> {
    log::report_panics();
    let started_at_ms = clock::now_ms();
    let occasion = occasion(&request);
    wake_links_once(&env, &context);
    let mut head = incoming::Head::read(&request)?;
    let team = overrides::for_request(&env, &head.method, head.path()).await;
    let (response, record) = answer(&mut head, request, &env, (&team, &occasion)).await;
    let version = team.overridden.version;
    log::request(
        &head,
        &occasion,
        &response,
        (&record, version),
        clock::now_ms() - started_at_ms,
    );
    incoming::response(response, (platform::EdgePlatform::new(env), team), &context)
}

/// Cron: wakes links whose alarm was lost, and those of a gateway that nobody calls; looks at the alerts; and ends the
/// history's oldest days.
#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    log::report_panics();
    wake_links(&env).await;
    let Ok(config) = config(&env) else { return };
    let team = Team::embedded();
    alert::look(team, config, &platform::EdgePlatform::new(env.clone())).await;
    if let Err(error) = alerts::prune(&env).await {
        log::alarm("alert", &error.to_string());
    }
    let kept_ms = (config.telemetry.history_ms, config.run_retention_ms);
    if let Err(error) = history::prune(&env, kept_ms, clock::now_ms()).await {
        log::alarm("history", &error.to_string());
    }
}

/// Messages of the queue that telemetry goes through.
#[event(queue)]
async fn queued(batch: MessageBatch<String>, env: Env, _: Context) -> worker::Result<()> {
    log::report_panics();
    queue::consume(&env, &batch).await;
    Ok(())
}

async fn answer(
    head: &mut incoming::Head,
    request: worker::Request,
    env: &Env,
    (team, occasion): (&Team, &Occasion),
) -> Handled {
    let refuse = |problem: &Problem| Gateway::refuse(problem, &occasion.request_id);
    let config = match config(env) {
        Ok(config) => config,
        Err(error) => {
            log::alarm("configuration", &error.to_string());
            return refuse(&Problem::Misconfigured);
        }
    };
    let gateway = Gateway {
        team,
        declared: Team::embedded(),
        config,
    };
    if let Some(mut handled) = gateway.preflight(&head.method, head.path(), &head.headers, &occasion.request_id) {
        gateway.share(&head.method, head.path(), &head.headers, &mut handled.0);
        return handled;
    }
    let mut handled = handle(&gateway, head, request, env, occasion).await;
    gateway.share(&head.method, head.path(), &head.headers, &mut handled.0);
    handled
}

async fn handle(
    gateway: &Gateway<'_>,
    head: &mut incoming::Head,
    request: worker::Request,
    env: &Env,
    occasion: &Occasion,
) -> Handled {
    let refuse = |problem: &Problem| Gateway::refuse(problem, &occasion.request_id);
    let admitted = match gateway.admit(&head.method, head.path(), &head.headers) {
        Ok(admitted) => admitted,
        Err(problem) => return refuse(&problem),
    };
    let body = match incoming::read_body(request, admitted.body_max_bytes).await {
        Ok(body) => body,
        Err(problem) => return refuse(&problem),
    };
    let Some(request) = head.with_body(body) else {
        return refuse(&Problem::NotFound);
    };
    let platform = platform::EdgePlatform::new(env.clone());
    gateway.handle(&admitted, &request, occasion, &platform).await
}

fn occasion(request: &worker::Request) -> Occasion {
    let header = |name| request.headers().get(name).ok().flatten();
    let random: [u8; 24] = clock::random();
    let id: [u8; 16] = clock::random();
    Occasion {
        request_id: hex(&id),
        random,
        trace: header("traceparent").as_deref().and_then(TraceContext::parse),
        // Set by the platform: it overwrites what a client sends under this name.
        address: client_address(&header("cf-connecting-ip").unwrap_or_default()),
    }
}

/// As hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The configuration, read once per isolate: variables and secrets change with a deployment only.
fn config(env: &Env) -> Result<&'static Config, &'static ConfigError> {
    static CONFIG: OnceLock<Result<Config, ConfigError>> = OnceLock::new();
    CONFIG
        .get_or_init(|| Config::read(|name| env.var(name).ok().map(|value| value.to_string())))
        .as_ref()
}

/// A new isolate may be a new deployment: the first request makes the links look.
fn wake_links_once(env: &Env, context: &Context) {
    thread_local!(static WOKEN: Cell<bool> = const { Cell::new(false) });
    if !WOKEN.replace(true) {
        let env = env.clone();
        context.wait_until(async move { wake_links(&env).await });
    }
}

async fn wake_links(env: &Env) {
    let Ok(config) = config(env) else { return };
    let wakes = config.orchestrators.iter().map(|orchestrator| async move {
        if let Err(error) = link_object::wake(env, &orchestrator.id).await {
            log::alarm("link", &format!("{}: {error}", orchestrator.id));
        }
    });
    // Side by side: one that is silent keeps no other waiting.
    join_all(wakes).await;
}
