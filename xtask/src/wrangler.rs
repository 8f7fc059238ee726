//! The pinned wrangler, run with the pinned Node.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::{cli::DeployOptions, paths::Paths, setup};

/// Replaces this process by wrangler, which then has the terminal for itself.
pub fn pass_through(paths: &Paths, arguments: &[String]) -> Result<()> {
    let error = setup::for_wrangler(paths)?.wrangler()?.args(arguments).exec();
    Err(error).context("cannot start wrangler")
}

/// Deploys to one environment. wrangler calls `cargo xtask build --release` by itself (wrangler.toml, `[build]`).
pub fn deploy(paths: &Paths, options: &DeployOptions) -> Result<()> {
    setup::for_worker(paths)?;
    let deploy = ["deploy".to_owned(), "--env".to_owned(), options.env.clone()];
    pass_through(paths, &[deploy.as_slice(), &options.arguments].concat())
}
