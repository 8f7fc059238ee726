//! What a developer sees when everything runs.

use super::{Addresses, ready::Registration};
use crate::paths::Paths;

/// Prints the one screen.
pub fn print(paths: &Paths, addresses: &Addresses, registration: &Registration) {
    println!(
        "{}",
        text(
            &paths.relative(&paths.binary("baton")).to_string_lossy(),
            addresses,
            registration
        )
    );
}

fn text(baton: &str, addresses: &Addresses, registration: &Registration) -> String {
    let (gateway, orchestrator) = (addresses.gateway(), addresses.orchestrator());
    let Registration { gateway: id, lease_ms } = registration;
    let lease_s = lease_ms / 1_000;
    format!(
        r#"
Baton runs on this machine.

  gateway       {gateway}
  orchestrator  {orchestrator}
  registered    as `{id}`; the lease has {lease_s} s to run, and the gateway renews it

Try a signed step, from the checkout's folder:

  ./{baton} step triage --input '{{"text":"I was charged twice"}}'

Or have the orchestrator do it, and look at its runs at {orchestrator}/

  curl {orchestrator}/runs --json '{{"agent":"redact","input":{{"text":"Write to jane@example.com"}}}}'

Or call the gateway directly, as a customer does: with an API key, which the first command prints once

  ./{baton} api-keys create me
  BATON_API_KEY=... ./{baton} query 'I was charged twice'

Look at the gateway at {gateway}/ and sign in there with the file .dev/baton.json, as its operator.

What the gateway is and does:

  curl {gateway}/.well-known/baton.json

Logs: .dev/gateway.log and .dev/orchestrator.log. Ctrl-C stops everything."#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_has_the_chosen_ports() {
        let addresses = Addresses {
            gateway_port: 1,
            orchestrator_port: 2,
        };
        let text = text(
            "target/debug/baton",
            &addresses,
            &Registration {
                gateway: "desk".into(),
                lease_ms: 59_900,
            },
        );
        assert!(
            text.contains("curl http://127.0.0.1:1/.well-known/baton.json"),
            "{text}"
        );
        assert!(text.contains("orchestrator  http://127.0.0.1:2\n"), "{text}");
        assert!(
            text.contains("Look at the gateway at http://127.0.0.1:1/ and sign in"),
            "{text}"
        );
        assert!(text.contains("as `desk`; the lease has 59 s to run"), "{text}");
        assert!(
            text.contains(r#"./target/debug/baton step triage --input '{"text":"I was charged twice"}'"#),
            "{text}"
        );
        assert!(
            text.contains(
                "  ./target/debug/baton api-keys create me\n  BATON_API_KEY=... ./target/debug/baton query 'I was charged twice'\n"
            ),
            "{text}"
        );
    }
}
