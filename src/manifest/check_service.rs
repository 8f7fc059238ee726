//! What the schema of manifests cannot say about agents of kind `service`.

use super::{AgentManifest, ServiceConfig, check_http};

/// Checks the configuration by itself: pointers within the manifest, and what is wrong there.
pub(super) fn problems(agent: &AgentManifest, service: &ServiceConfig) -> Vec<(String, String)> {
    match service {
        ServiceConfig::Worker(worker) => {
            let problems = check_http::exchange_problems(&worker.exchange).into_iter();
            problems.map(|(at, reason)| (format!("/service{at}"), reason)).collect()
        }
        ServiceConfig::Gateway(_) if agent.state.is_some() => {
            let reason = "an agent of another gateway keeps its state there: leave `state` out";
            vec![("/state".to_owned(), reason.to_owned())]
        }
        ServiceConfig::Gateway(_) => Vec::new(),
    }
}
