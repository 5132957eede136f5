//! `cargo xtask conformance`: the suite, run by every backend, as one table.
//!
//! Each case of a backend's `conformance` test appends a line to `<column>.tsv` in the folder that
//! [`TABLE_VARIABLE`] names, where the column is the backend or one of its configurations; the
//! suite's negative controls append to `controls.tsv`. The tables here are made of those files
//! alone, so that a test that did not run cannot look as if it had.

mod controls;
mod record;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use xshell::{Shell, cmd};

use crate::backend::BackendName;
use crate::problems::conclude;
use crate::services::{Options, Services};
use crate::workspace::{Package, Workspace};

use controls::Controls;
pub(crate) use table::Table;

/// The environment variable that tells tests where to leave their lines.
const TABLE_VARIABLE: &str = "SYNC_CONFORMANCE_TABLE";

/// The feature of an adapter that lets its tests break it at a chosen point.
const FAULT_FEATURE: &str = "fault-injection";

const TEST: &str = "conformance";
pub(crate) const SUITE: &str = "sync-conformance";
/// The controls' test target, and the name of the file it leaves.
const CONTROLS: &str = "controls";

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The backends to run: names, or `all`; every backend of the workspace unless given
    #[arg(value_parser = parse_selection)]
    backends: Vec<Selection>,
    /// Run only the cases whose test name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run the suite against deliberately broken stores instead, and show which fails which case
    #[arg(long, conflicts_with = "backends")]
    controls: bool,
    #[command(flatten)]
    servers: Options,
}

/// What a person may write where a backend is expected.
#[derive(Clone, Copy)]
enum Selection {
    All,
    One(BackendName),
}

fn parse_selection(text: &str) -> Result<Selection, String> {
    if text == "all" {
        return Ok(Selection::All);
    }
    BackendName::ALL
        .into_iter()
        .find(|backend| backend.name() == text)
        .map(Selection::One)
        .ok_or_else(|| {
            let names: Vec<_> = BackendName::ALL
                .iter()
                .map(|backend| backend.name())
                .collect();
            format!("expected all, {}", names.join(", "))
        })
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let output = Output::fresh(shell, workspace)?;
    let filter = args.filter.as_deref();
    if args.controls {
        run_controls(shell, workspace, &output, filter)
    } else {
        let backends = select(workspace, &args.backends)?;
        let mut services = Services::ensure(workspace, &backends, &args.servers)?;
        // A case that needs them fails; here it is said why.
        for missing in services.find_programs(workspace)? {
            eprintln!("{missing}");
        }
        run_backends(shell, workspace, &output, &services, &backends, filter)
    }
}

fn run_backends(
    shell: &Shell,
    workspace: &Workspace,
    output: &Output,
    services: &Services,
    backends: &[BackendName],
    filter: Option<&str>,
) -> Result<()> {
    let mut problems = Vec::new();
    for backend in backends {
        let package = backend.require(workspace)?;
        if let Err(error) = run_test(shell, package, TEST, output, Some(services), filter) {
            problems.push(format!("{backend}: {error:#}"));
        }
    }
    let mut table = output.table(backends)?;
    table.name_servers(services);
    println!("\n{table}");
    problems.extend(table.problems());
    conclude(&problems)
}

fn run_controls(
    shell: &Shell,
    workspace: &Workspace,
    output: &Output,
    filter: Option<&str>,
) -> Result<()> {
    let package = workspace.require(SUITE)?;
    let mut problems = Vec::new();
    if let Err(error) = run_test(shell, package, CONTROLS, output, None, filter) {
        problems.push(format!("{error:#}"));
    }
    match output.controls() {
        Ok(controls) => {
            println!("\n{controls}");
            // With a filter, a control whose cases were filtered away proves nothing either way.
            if filter.is_none() {
                problems.extend(controls.problems());
            }
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    conclude(&problems)
}

/// Runs one test target whose cases leave lines in `output`.
fn run_test(
    shell: &Shell,
    package: &Package,
    test: &str,
    output: &Output,
    services: Option<&Services>,
    filter: Option<&str>,
) -> Result<()> {
    let target = package.require_target("test", test)?;
    let mut features = target.required_features.clone();
    let is_there = package.features.contains_key(FAULT_FEATURE);
    if is_there && !features.iter().any(|feature| feature == FAULT_FEATURE) {
        features.push(FAULT_FEATURE.to_owned());
    }
    let features = (!features.is_empty()).then(|| format!("--features={}", features.join(",")));
    let name = &package.name;
    cmd!(
        shell,
        "cargo test --package {name} {features...} --test {test} -- {filter...}"
    )
    .env(TABLE_VARIABLE, output.folder())
    .envs(services.into_iter().flat_map(Services::environment))
    .run()?;
    Ok(())
}

fn select(workspace: &Workspace, selections: &[Selection]) -> Result<Vec<BackendName>> {
    let mut backends = Vec::new();
    for selection in selections {
        match *selection {
            Selection::All => backends.extend(BackendName::present(workspace)),
            Selection::One(backend) => {
                backend.require(workspace)?;
                backends.push(backend);
            }
        }
    }
    if selections.is_empty() {
        backends = BackendName::present(workspace);
    }
    backends.sort();
    backends.dedup();
    if backends.is_empty() {
        bail!("this workspace has no backend yet");
    }
    Ok(backends)
}

/// The folder that the tests of one run write to.
pub(crate) struct Output {
    folder: PathBuf,
}

impl Output {
    /// An empty folder: lines of an earlier run would hide a test that no longer runs.
    pub(crate) fn fresh(shell: &Shell, workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("xtask").join("conformance");
        shell.remove_path(&folder)?;
        shell.create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// What the tests find in their environment.
    pub(crate) fn variable(&self) -> (&'static str, &Path) {
        (TABLE_VARIABLE, &self.folder)
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    /// The table of cases by these backends.
    pub(crate) fn table(&self, backends: &[BackendName]) -> Result<Table> {
        Table::read(&self.folder, backends)
    }

    /// The table of cases by broken stores.
    pub(crate) fn controls(&self) -> Result<Controls> {
        Controls::read(&self.folder.join(format!("{CONTROLS}.tsv")))
    }
}
