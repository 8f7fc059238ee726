//! The team that the build script checked and wrote into this Worker.

use std::sync::LazyLock;

use crate::manifest::Team;

static TEAM: LazyLock<Team> = LazyLock::new(|| {
    serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/team.json")))
        .expect("the build script wrote the team with these same types")
});

impl Team {
    /// The gateway and the agents that were built into this Worker, parsed when first asked for.
    pub fn embedded() -> &'static Team {
        &TEAM
    }
}
