//! `baton doctor`

use std::path::PathBuf;

/// `baton doctor`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  baton doctor
  baton doctor --env staging
  baton doctor --env staging --secrets-file staging.keys.json
  baton doctor https://gw.example.com
  baton doctor https://gw.example.com --env staging --key operator.key.json
  baton doctor --env production --json | jq '.findings[] | select(.severity == \"error\")'

Before a deployment it reads wrangler.toml and the manifests, and asks nobody: without a URL, and with --env. With
--secrets-file it looks at the keys, and at the secrets that agents and channels name, as well: a file like .dev.vars, or
the JSON array that goes into BATON_KEYS, for the keys alone.

After a deployment it asks the gateway at URL: whether it can serve, what it is, and how far the clocks are apart. With
--key it also makes a signed call without an effect for each purpose, `operate` and `invoke`, that the file has a key of;
an operator's key shows how the links to orchestrators stand, too.

It ends with 1 if there is an error; warnings and notes do not count.")]
pub struct Doctor {
    /// The gateway that runs, to be asked
    #[arg(value_name = "URL")]
    pub gateway: Option<String>,
    /// The environment of wrangler.toml, to be read [default: all, where no URL is given]
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// The configuration of wrangler
    #[arg(long, value_name = "FILE", default_value = "wrangler.toml")]
    pub config: PathBuf,
    /// The secrets of the environment, in the shape of .dev.vars
    #[arg(long, value_name = "FILE", requires = "env")]
    pub secrets_file: Option<PathBuf>,
    /// The folder of the manifests
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub manifests: PathBuf,
    /// Key records to sign calls to URL with
    #[arg(long, value_name = "FILE", requires = "gateway")]
    pub key: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}
