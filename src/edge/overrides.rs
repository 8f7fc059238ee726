//! What this isolate knows of the overrides: from the copy in KV, or from whoever makes the versions.
//!
//! A request never waits long for either, and none fails over them: what is known stays.

use std::cell::RefCell;
use std::time::Duration;

use http::Method;
use worker::kv::KvStore;
use worker::{Delay, Env};

use super::{clock, log, overrides_object};
use crate::config;
use crate::invocation::before;
use crate::manifest::Team;
use crate::overrides::catalog::Source;
use crate::overrides::{CURRENT_KEY, Catalog, InForce, Snapshot};
use crate::routes;

/// A copy that has not come by then is passed over, in milliseconds.
const COPY_MAX_MS: u64 = 250;
/// A writer that has not answered by then is passed over, in milliseconds.
const WRITER_MAX_MS: u64 = 500;

thread_local! {
    static CATALOG: RefCell<Catalog> = RefCell::new(Catalog::new(Team::embedded()));
}

/// The KV namespace; nothing where none is bound, and so no override can be made.
pub fn store(env: &Env) -> Option<KvStore> {
    env.kv(config::OVERRIDES).ok()
}

/// The team for a request. Where the answer says what the gateway is, as the writer has it, or had it a moment ago
/// ([`HEARD_MS`](crate::overrides::catalog::HEARD_MS)): an orchestrator that was told of a new version is shown an old one
/// for that moment at most, and the link tries again.
pub async fn for_request(env: &Env, method: &Method, path: &str) -> InForce {
    match routes::find(method, path) {
        Ok(found) if found.route.describes_the_gateway() => latest(env).await,
        _ => in_force(env).await,
    }
}

/// The team in force, as far as this isolate knows. It may be behind by as long as KV is.
pub async fn in_force(env: &Env) -> InForce {
    let now_ms = clock::now_ms();
    if CATALOG.with_borrow_mut(|catalog| catalog.must_look(now_ms)) {
        match store(env) {
            Some(_) if CATALOG.with_borrow(|catalog| catalog.must_confirm(now_ms)) && confirm(env).await => {}
            Some(store) => look(env, &store).await,
            None => learn(&Snapshot::none(), Source::Copy),
        }
    }
    known()
}

/// The team in force, as the writer has it. Where that does not answer: as far as this isolate knows.
pub async fn latest(env: &Env) -> InForce {
    let is_fresh = CATALOG.with_borrow(|catalog| catalog.is_fresh(clock::now_ms()));
    if is_fresh || store(env).is_some() && ask_writer(env).await {
        return known();
    }
    in_force(env).await
}

/// Takes in a version that was just made here.
pub fn made(snapshot: &Snapshot) {
    learn(snapshot, Source::Writer);
}

fn known() -> InForce {
    CATALOG.with_borrow(Catalog::in_force)
}

async fn look(env: &Env, store: &KvStore) {
    let limit = Delay::from(Duration::from_millis(COPY_MAX_MS));
    let problem = match before(store.get(CURRENT_KEY).text(), limit).await {
        Some(Ok(None)) => return doubt(env, true).await,
        Some(Ok(Some(text))) => match Snapshot::read(&text) {
            Ok(snapshot) if CATALOG.with_borrow(|catalog| catalog.is_older(snapshot.version)) => {
                return doubt(env, false).await;
            }
            Ok(snapshot) => return learn(&snapshot, Source::Copy),
            Err(reason) => return mend(env, &reason).await,
        },
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {COPY_MAX_MS} ms"),
    };
    log::alarm("overrides", &format!("KV: {problem}"));
    if CATALOG.with_borrow(Catalog::is_known) || !ask_writer(env).await {
        CATALOG.with_borrow_mut(|catalog| catalog.unanswered(clock::now_ms()));
    }
}

/// KV has no version, or one from before the known one. What is in force only the writer can say: an agent that was switched
/// off must not come back because a copy is missing.
///
/// Nothing where there was something is told: whoever emptied the namespace, or bound another one, may not know it. A copy
/// that is old is usual for a minute.
async fn doubt(env: &Env, is_empty: bool) {
    if !ask_writer(env).await {
        CATALOG.with_borrow_mut(|catalog| catalog.unanswered(clock::now_ms()));
        return;
    }
    let limit = Delay::from(Duration::from_millis(WRITER_MAX_MS));
    if let Some(Ok(Some(lost))) = before(overrides_object::missed(env), limit).await
        && is_empty
    {
        complain(&format!(
            "KV has lost version {lost}: it has none. The object's is followed, and written there again"
        ));
    }
}

/// Whether the writer answered, with what is in force. A copy of a version that it never made is replaced.
async fn confirm(env: &Env) -> bool {
    let taken = version();
    if !ask_writer(env).await {
        return false;
    }
    let newest = version();
    if newest < taken
        && complain(&format!(
            "what KV has is ignored: it is version {taken}, and {newest} is the newest"
        ))
    {
        let limit = Delay::from(Duration::from_millis(WRITER_MAX_MS));
        before(overrides_object::mend(env), limit).await;
    }
    true
}

fn version() -> u64 {
    known().overridden.version
}

/// Raises an alarm, unless it was the last one. Answers whether it did.
fn complain(reason: &str) -> bool {
    let is_news = CATALOG.with_borrow_mut(|catalog| catalog.complain(reason));
    if is_news {
        log::alarm("overrides", reason);
    }
    is_news
}

/// What KV has is ignored, and replaced by what the writer has.
async fn mend(env: &Env, reason: &str) {
    if complain(&format!("what KV has is ignored: {reason}")) {
        let limit = Delay::from(Duration::from_millis(WRITER_MAX_MS));
        before(overrides_object::mend(env), limit).await;
    }
    if !ask_writer(env).await {
        CATALOG.with_borrow_mut(|catalog| catalog.unanswered(clock::now_ms()));
    }
}

/// Whether the writer answered. What it said is known from then on.
async fn ask_writer(env: &Env) -> bool {
    let known = CATALOG.with_borrow(|catalog| catalog.is_known().then(|| catalog.in_force().overridden.version));
    let limit = Delay::from(Duration::from_millis(WRITER_MAX_MS));
    match before(overrides_object::current(env, known), limit).await {
        Some(Ok(Some(snapshot))) => learn(&snapshot, Source::Writer),
        // Nothing but what is known.
        Some(Ok(None)) => {}
        Some(Err(_)) => return false,
        None => {
            log::alarm(
                "overrides",
                &format!("their object did not answer within {WRITER_MAX_MS} ms"),
            );
            return false;
        }
    }
    CATALOG.with_borrow_mut(|catalog| catalog.heard(clock::now_ms()));
    true
}

fn learn(snapshot: &Snapshot, source: Source) {
    let ignored = CATALOG.with_borrow_mut(|catalog| catalog.learn(snapshot, source, clock::now_ms()));
    for ignored in ignored {
        let errors = ignored.errors.iter();
        let errors: Vec<_> = errors
            .map(|error| format!("{}: {}", error.instance, error.message))
            .collect();
        log::alarm(
            "overrides",
            &format!(
                "that of {} in version {} is ignored: {}",
                ignored.agent,
                snapshot.version,
                errors.join("; ")
            ),
        );
    }
}
