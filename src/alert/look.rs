//! One look at all alerts.

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::measure::{Reading, measure};
use super::notice::notice_of;
use super::state::{AlertState, Kept, Outgoing, Timing};
use crate::config::Config;
use crate::manifest::{AlertConfig, Team};
use crate::platform::{Platform, StorageUnavailable};

/// How often a change is tried again that somebody else's was faster than.
pub const CHANGES_MAX: usize = 8;
/// For so long one look tells of an alert, in milliseconds, after one try of each channel: the rest waits for the next one, in 5 minutes.
pub const TELL_FOR_MS: u64 = 2 * 60 * 1_000;
const MINUTE_MS: u64 = 60_000;

/// An alert that the gateway declares.
#[derive(Clone, Copy)]
struct Declared<'a> {
    id: &'a str,
    config: &'a AlertConfig,
}

impl Declared<'_> {
    const fn timing(&self) -> Timing {
        Timing {
            for_ms: self.config.for_minutes * MINUTE_MS,
            repeat_after_ms: self.config.repeat_after_minutes * MINUTE_MS,
        }
    }
}

/// Looks at every alert, and then tells what is to be told, of all of them side by side: a channel that hangs holds up
/// neither what is seen nor the other alerts. One that cannot be kept is looked at again the next time.
pub async fn look<P: Platform>(team: &Team, config: &Config, platform: &P) {
    let unkept = |id: &str| platform.alarm("alert", &format!("{id}: its state could not be read or kept"));
    for (id, alert) in &team.gateway.alerts {
        let declared = Declared { id, config: alert };
        if observe(declared, (team, config), platform).await.is_err() {
            unkept(id);
        }
    }
    let tell_until_ms = platform.now_ms() + TELL_FOR_MS;
    let told = team.gateway.alerts.keys().map(async |id| {
        if tell(id, tell_until_ms, platform).await.is_err() {
            unkept(id);
        }
    });
    join_all(told).await;
}

/// Measures, and keeps what is seen with the notices that come of it.
async fn observe<P: Platform>(
    declared: Declared<'_>,
    (team, config): (&Team, &Config),
    platform: &P,
) -> Result<(), StorageUnavailable> {
    let Declared { id, config: alert } = declared;
    let known = platform.alert(id).await?;
    let reading = measure(&alert.watch, &known.state, config, platform).await;
    let now_ms = platform.now_ms();
    change(id, platform, |state| {
        take_down(state, declared, &team.gateway.id, &reading, now_ms)
    })
    .await
}

/// Tells what was kept and is due, its channels side by side: one that hangs holds up no other. Each channel hears in order.
/// Whoever takes a notice first tells it.
async fn tell<P: Platform>(id: &str, tell_until_ms: u64, platform: &P) -> Result<(), StorageUnavailable> {
    let mut under_way = FuturesUnordered::new();
    let mut kept = Ok(());
    let mut is_first = true;
    loop {
        if kept.is_ok() && (is_first || platform.now_ms() < tell_until_ms) {
            match change(id, platform, |state| state.take_due(platform.now_ms())).await {
                Ok(due) => under_way.extend(due.into_iter().map(async |outgoing: Outgoing| {
                    let sent = platform.notify(&outgoing.notice).await;
                    (outgoing, sent)
                })),
                Err(error) => kept = Err(error),
            }
        }
        is_first = false;
        // Also what cannot be kept is sent to its end: it may have arrived.
        let Some((outgoing, sent)) = under_way.next().await else {
            return kept;
        };
        let (now_ms, random) = (platform.now_ms(), platform.random());
        match change(id, platform, |state| state.sent(&outgoing, &sent, now_ms, random)).await {
            Ok(None) => {}
            Ok(Some(reason)) => {
                let channel = &outgoing.notice.channel;
                platform.alarm(
                    "alert",
                    &format!("{id}: a notice for the channel `{channel}` was given up: {reason}"),
                );
            }
            Err(error) => kept = Err(error),
        }
    }
}

fn take_down(state: &mut AlertState, declared: Declared<'_>, gateway: &str, reading: &Reading, now_ms: u64) {
    if state.looked_at_ms >= now_ms {
        return;
    }
    state.value = reading.value;
    state.text.clone_from(&reading.text);
    let Some(say) = state.observe(reading.observation, declared.timing(), now_ms) else {
        return;
    };
    let names = (gateway, declared.id, declared.config.watch.kind());
    for channel in &declared.config.channels {
        state.tell(notice_of(names, channel, state, say, now_ms));
    }
}

/// Reads a state, changes it, and keeps it under the next version; anew where somebody else was faster.
async fn change<P: Platform, T>(
    id: &str,
    platform: &P,
    change: impl Fn(&mut AlertState) -> T,
) -> Result<T, StorageUnavailable> {
    for _ in 0..CHANGES_MAX {
        let Kept { version, mut state } = platform.alert(id).await?;
        let before = state.clone();
        let done = change(&mut state);
        if state == before || platform.keep_alert(id, version, &state).await? {
            return Ok(done);
        }
    }
    Err(StorageUnavailable)
}
