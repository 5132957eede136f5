//! `cargo xtask bench`: a backend's throughput against the raw driver.

use anyhow::Result;
use clap::Args as ClapArgs;
use xshell::{Shell, cmd};

use crate::backend::BackendName;
use crate::services::{Options, Services};
use crate::workspace::Workspace;

const BENCH: &str = "throughput";

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The backend to measure
    backend: BackendName,
    #[command(flatten)]
    servers: Options,
    /// Passed to the benchmark as they are
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let package = args.backend.require(workspace)?;
    let target = package.require_target("bench", BENCH)?;
    let services = Services::ensure(workspace, &[args.backend], &args.servers)?;
    let name = &package.name;
    let features = target.required_features.join(",");
    let features = (!features.is_empty()).then(|| format!("--features={features}"));
    let rest = &args.rest;
    cmd!(
        shell,
        "cargo bench --package {name} {features...} --bench {BENCH} -- {rest...}"
    )
    .envs(services.environment())
    .run()?;
    Ok(())
}
