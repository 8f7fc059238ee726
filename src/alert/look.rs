//! One look at all alerts.

use super::measure::{Reading, measure};
use super::notice::notice_of;
use super::state::{AlertState, Kept, Timing};
use crate::config::Config;
use crate::manifest::{AlertConfig, Team};
use crate::platform::{Platform, StorageUnavailable};

/// How often a change is tried again that somebody else's was faster than.
pub const CHANGES_MAX: usize = 8;
/// For so long one look tells channels, in milliseconds: the rest waits for the next one, in 5 minutes.
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

/// Looks at every alert, and tells what is to be told. One that cannot be kept is looked at again the next time.
pub async fn look<P: Platform>(team: &Team, config: &Config, platform: &P) {
    let tell_until_ms = platform.now_ms() + TELL_FOR_MS;
    for (id, alert) in &team.gateway.alerts {
        let declared = Declared { id, config: alert };
        if look_at(declared, (team, config), tell_until_ms, platform)
            .await
            .is_err()
        {
            platform.alarm("alert", &format!("{id}: its state could not be read or kept"));
        }
    }
}

async fn look_at<P: Platform>(
    declared: Declared<'_>,
    (team, config): (&Team, &Config),
    tell_until_ms: u64,
    platform: &P,
) -> Result<(), StorageUnavailable> {
    let Declared { id, config: alert } = declared;
    let known = platform.alert(id).await?;
    let reading = measure(&alert.watch, &known.state, config, platform).await;
    let now_ms = platform.now_ms();
    change(id, platform, |state| {
        take_down(state, declared, &team.gateway.id, &reading, now_ms)
    })
    .await?;
    // What was kept is to be told; by whoever comes first.
    while platform.now_ms() < tell_until_ms {
        let Some(outgoing) = change(id, platform, |state| state.take_due(platform.now_ms())).await? else {
            break;
        };
        let sent = platform.notify(&outgoing.notice).await;
        let (now_ms, random) = (platform.now_ms(), platform.random());
        let lost = change(id, platform, |state| state.sent(&outgoing, &sent, now_ms, random)).await?;
        if let Some(reason) = lost {
            let channel = &outgoing.notice.channel;
            platform.alarm(
                "alert",
                &format!("{id}: a notice for the channel `{channel}` was given up: {reason}"),
            );
        }
    }
    Ok(())
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
