//! `cargo xtask bench`: a backend's throughput against the raw driver, or reconciliation against the
//! `negentropy` crate.

use anyhow::Result;
use clap::builder::PossibleValue;
use clap::{Args as ClapArgs, ValueEnum};
use xshell::{Shell, cmd};

use crate::backend::BackendName;
use crate::services::{Options, Services};
use crate::workspace::Workspace;

/// The benchmark of an adapter.
const THROUGHPUT: &str = "throughput";

/// The crate without a database, and its benchmark.
const RECONCILE: &str = "sync-reconcile";
const SESSIONS: &str = "sessions";

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What to measure: a backend, or `reconcile`
    subject: Subject,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Backend(BackendName),
    Reconcile,
}

impl Subject {
    const ALL: [Self; 6] = [
        Self::Backend(BackendName::Memory),
        Self::Backend(BackendName::Sqlite),
        Self::Backend(BackendName::Postgres),
        Self::Backend(BackendName::Redis),
        Self::Backend(BackendName::Mongo),
        Self::Reconcile,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Backend(backend) => backend.name(),
            Self::Reconcile => "reconcile",
        }
    }
}

impl ValueEnum for Subject {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let (package, bench, backends) = match args.subject {
        Subject::Backend(backend) => (backend.require(workspace)?, THROUGHPUT, vec![backend]),
        Subject::Reconcile => (workspace.require(RECONCILE)?, SESSIONS, Vec::new()),
    };
    let target = package.require_target("bench", bench)?;
    let services = Services::ensure(workspace, &backends, &args.servers, None)?;
    let name = &package.name;
    let features = target.required_features.join(",");
    let features = (!features.is_empty()).then(|| format!("--features={features}"));
    let rest = &args.rest;
    cmd!(
        shell,
        "cargo bench --package {name} {features...} --bench {bench} -- {rest...}"
    )
    .envs(services.environment())
    .run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_can_be_measured() {
        for backend in BackendName::ALL {
            assert!(Subject::ALL.contains(&Subject::Backend(backend)));
        }
    }
}
