//! Checks the manifests and writes the team of agents into the Worker: a wrong manifest fails the build, with the file,
//! the JSON Pointer and the reason of everything that is wrong.

use std::path::Path;
use std::process::ExitCode;

// The same code that the crate has, compiled into this script: it uses a part of it.
#[allow(dead_code, unused_imports)]
#[path = "src/json.rs"]
mod json;
#[allow(dead_code, unused_imports)]
#[path = "src/manifest/mod.rs"]
mod manifest;
#[allow(dead_code, unused_imports)]
#[path = "src/outgoing/mod.rs"]
mod outgoing;
#[allow(dead_code, unused_imports)]
#[path = "src/schema/mod.rs"]
mod schema;
#[allow(dead_code, unused_imports)]
#[path = "src/text/mod.rs"]
mod text;

const MANIFESTS: &str = "manifests";
const FIXTURES: &str = "contract-tests/manifests";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={MANIFESTS}");
    let fixtures: &[&Path] = if cfg!(feature = "fixtures") {
        println!("cargo::rerun-if-changed={FIXTURES}");
        &[Path::new(FIXTURES)]
    } else {
        &[]
    };
    match manifest::load_with(Path::new(MANIFESTS), fixtures).map(write) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => println!("cargo::error=the team could not be written: {error}"),
        Err(findings) => {
            for finding in findings {
                println!("cargo::error={finding}");
            }
        }
    }
    ExitCode::FAILURE
}

#[allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script by the environment where to write"
)]
fn write(team: manifest::Team) -> std::io::Result<()> {
    let out_dir = std::env::var_os("OUT_DIR").unwrap_or_default();
    std::fs::write(Path::new(&out_dir).join("team.json"), serde_json::to_vec(&team)?)
}
