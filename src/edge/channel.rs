//! One try to tell a channel.

use worker::Env;

use super::{callback, clock};
use crate::channel::{self, ChannelError, Notice};
use crate::manifest::Team;
use crate::run::delivery::Sent;

/// Makes one try.
pub async fn send(env: &Env, notice: &Notice) -> Sent {
    let failed = |reason: String| Sent::Failed {
        reason,
        retry_after_ms: None,
    };
    let Ok(config) = super::config(env) else {
        return failed("the gateway is misconfigured".into());
    };
    let gateway = &Team::embedded().gateway;
    let unknown = || ChannelError::Unknown(notice.channel.clone());
    let now_s = clock::now_ms() / 1_000;
    let request = gateway.channels.get(&notice.channel).ok_or_else(unknown);
    let request =
        request.and_then(|channel| channel::request(channel, &config.connections, &gateway.id, notice, now_s));
    match request {
        Ok(request) => callback::post(&request, now_s).await,
        // A wrong configuration is corrected, and then it is sent.
        Err(error) => failed(error.to_string()),
    }
}
