//! The command line: what can be asked, and which module answers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{bench, build, check, config, dev, paths::Paths, setup, test, wrangler};

/// Developer commands of Baton.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install the pinned tools (the other commands do this by themselves)
    Setup,
    /// Build the Worker
    Build(BuildOptions),
    /// Start the gateway and the reference orchestrator on this machine; Ctrl-C stops both
    Dev(DevOptions),
    /// Run every test: unit tests, and the contract tests against real workerd
    Test(TestOptions),
    /// Measure, on real workerd
    Bench(BenchOptions),
    /// Check format, lints (native and wasm32), manifests and pins
    Check,
    /// Deploy the Worker to an environment of wrangler.toml
    Deploy(DeployOptions),
    /// Run the pinned wrangler: `cargo xtask wrangler -- d1 list`
    Wrangler {
        /// Arguments for wrangler
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write a wrangler configuration derived from wrangler.toml, for a Worker that is already built
    Config(ConfigOptions),
}

/// Which Worker to build.
#[derive(Debug, Args)]
pub struct BuildOptions {
    /// Optimise for size and speed; takes minutes
    #[arg(long)]
    release: bool,
    /// Add the test agents of contract-tests/manifests
    #[arg(long, conflicts_with = "release")]
    fixtures: bool,
}

/// Where `dev` listens.
#[derive(Debug, Args)]
pub struct DevOptions {
    /// Port of the gateway
    #[arg(long, default_value_t = dev::GATEWAY_PORT)]
    pub port: u16,
    /// Port of the reference orchestrator
    #[arg(long, default_value_t = dev::ORCHESTRATOR_PORT)]
    pub orchestrator_port: u16,
}

/// Which tests to run.
#[derive(Debug, Args)]
pub struct TestOptions {
    /// Leave the contract tests out: no Worker is built, no workerd is started
    #[arg(long)]
    pub native_only: bool,
    /// Only tests whose name contains this
    pub filter: Option<String>,
    /// Only the tests of these packages
    #[arg(long, short, conflicts_with = "native_only")]
    pub package: Vec<String>,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// Which benchmark
    pub name: Benchmark,
    /// On the Worker of the contract tests, which is quick to build and slower than the deployed one
    #[arg(long)]
    pub fixtures: bool,
    /// With an orchestrator that is gone, and not only sick: no settlement gets through meanwhile
    #[arg(long)]
    pub gone: bool,
}

/// The benchmarks there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Benchmark {
    /// What the open breaker adds to a direct call
    Direct,
}

impl Benchmark {
    /// The name of its file in contract-tests/benches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
        }
    }
}

/// Where to deploy.
#[derive(Debug, Args)]
pub struct DeployOptions {
    /// Environment in wrangler.toml
    #[arg(long)]
    pub env: String,
    /// More arguments for `wrangler deploy`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// What the derived configuration says.
#[derive(Debug, Args)]
pub struct ConfigOptions {
    /// File to write (JSON)
    #[arg(long)]
    out: PathBuf,
    /// The Worker's entry file
    #[arg(long)]
    main: PathBuf,
    /// Public origin of the gateway; repeat for more, the first is the primary one
    #[arg(long)]
    origin: Vec<String>,
    /// Value of BATON_ORCHESTRATORS (a JSON array)
    #[arg(long)]
    orchestrators: Option<String>,
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match arguments.command {
        Command::Setup => setup::everything(&paths)?,
        Command::Build(options) => {
            let variant = match (options.release, options.fixtures) {
                (true, _) => build::Variant::Release,
                (false, true) => build::Variant::Fixtures,
                (false, false) => build::Variant::Dev,
            };
            let main = build::worker(&paths, variant)?;
            println!("{}", paths.relative(&main).display());
        }
        Command::Dev(options) => return dev::run(&paths, &options),
        Command::Test(options) => return test::run(&paths, &options),
        Command::Bench(options) => return bench::run(&paths, &options),
        Command::Check => check::run(&paths)?,
        Command::Deploy(options) => wrangler::deploy(&paths, &options)?,
        Command::Wrangler { arguments } => wrangler::pass_through(&paths, &arguments)?,
        Command::Config(options) => {
            let changes = config::Changes {
                main: std::path::absolute(&options.main)?,
                origins: options.origin,
                orchestrators: options.orchestrators,
            };
            config::write(&paths, &options.out, &changes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
