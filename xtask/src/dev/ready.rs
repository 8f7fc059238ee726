//! Waits until the gateway answers and the orchestrator has it registered.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Addresses, service::Services};
use crate::signals;

/// How long the two may take. workerd starts in seconds; a loaded machine takes longer.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// How often they are asked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What the orchestrator says of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    /// The gateway's id.
    pub gateway: String,
    /// How long the lease has to run; the gateway renews it before that.
    pub lease_ms: u64,
}

/// Asks until both are ready. Fails when one of them ends, or after [`READY_LIMIT`].
pub fn wait(services: &mut Services, addresses: &Addresses) -> Result<Registration> {
    let client: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_LIMIT))
        .build()
        .into();
    let get = |url: String| client.get(&url).call().ok()?.body_mut().read_json::<Value>().ok();
    let is_healthy = || client.get(format!("{}/healthz", addresses.gateway())).call().is_ok();

    poll(services, "the gateway answers GET /healthz with 200", || {
        is_healthy().then_some(())
    })?;
    poll(services, "the orchestrator lists the gateway at GET /gateways", || {
        // A request wakes the gateway, which then registers.
        is_healthy();
        let gateways = get(format!("{}/gateways", addresses.orchestrator()))?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
        registration(&gateways, &addresses.gateway(), u64::try_from(now_ms).ok()?)
    })
}

fn poll<T>(services: &mut Services, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        services.check()?;
        if signals::stop_requested() {
            bail!("stopped");
        }
        if started.elapsed() >= READY_LIMIT {
            bail!(
                "waited {} s in vain until {what}.\n{}",
                READY_LIMIT.as_secs(),
                services.logs()
            );
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The gateway with this origin in `[{"gateway", "origin", "status", "lease_expires_at_ms"}]`, if its lease holds: the
/// orchestrator remembers earlier ones, too.
fn registration(answer: &Value, origin: &str, now_ms: u64) -> Option<Registration> {
    let live = |entry: &&Value| entry["origin"] == origin && entry["status"] == "live";
    let entry = answer.as_array()?.iter().find(live)?;
    let lease_ms = entry["lease_expires_at_ms"].as_u64()?.checked_sub(now_ms)?;
    Some(Registration {
        gateway: entry["gateway"].as_str()?.to_owned(),
        lease_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(origin: &str, status: &str, until_ms: u64) -> Value {
        json!({ "gateway": "g", "origin": origin, "status": status, "lease_expires_at_ms": until_ms })
    }

    fn check(entries: Value, expected: Option<u64>) {
        let found = registration(&entries, "http://a", 1_000);
        assert_eq!(
            found,
            expected.map(|lease_ms| Registration {
                gateway: "g".into(),
                lease_ms
            })
        );
    }

    #[test]
    fn only_this_gateway_with_a_running_lease_counts() {
        check(json!([]), None);
        check(json!([entry("http://b", "live", 2_000)]), None);
        check(json!([entry("http://a", "lapsed", 999)]), None);
        check(json!([entry("http://a", "replaced", 2_000)]), None);
        check(
            json!([entry("http://a", "replaced", 2_000), entry("http://a", "live", 1_500)]),
            Some(500),
        );
    }
}
