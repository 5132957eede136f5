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

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use xshell::Shell;

use crate::backend::BackendName;
use crate::problems::conclude;
use crate::runner::{self, Tests};
use crate::services::{self, Options, Services};
use crate::workspace::{Package, Workspace};

use controls::Controls;
pub(crate) use table::Table;

/// The environment variable that tells tests where to leave their lines.
const TABLE_VARIABLE: &str = "SYNC_CONFORMANCE_TABLE";

/// The variable that asks the controls for more lines than they need to pass: those of the cases that
/// do not name a control.
const MATRIX_VARIABLE: &str = "SYNC_CONFORMANCE_MATRIX";

/// The feature of an adapter that lets its tests break it at a chosen point.
const FAULT_FEATURE: &str = "fault-injection";

const TEST: &str = "conformance";
const SUITE: &str = "sync-conformance";
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
    /// How many tests run at once; unless given, as many as keep the processors busy
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
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
    if args.controls {
        run_controls(shell, workspace, args)
    } else {
        run_backends(shell, workspace, args)
    }
}

fn run_backends(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let backends = select(workspace, &args.backends)?;
    let mut packages = Vec::new();
    for backend in &backends {
        packages.push(backend.require(workspace)?);
    }
    let Tests {
        tasks,
        servers_program,
    } = tests(shell, workspace, &packages, TEST, args)?;
    let program = servers_program.as_deref();
    let mut services = Services::ensure(workspace, &backends, &args.servers, program)?;
    // A case that needs them fails; here it is said why.
    for missing in services.find_programs(workspace)? {
        eprintln!("{missing}");
    }
    let output = Output::fresh(shell, workspace)?;
    let summary = runner::run(workspace, tasks, args.jobs, &output, Some(&services))?;
    let mut table = output.table(&backends)?;
    table.name_servers(&services);
    println!("\n{table}");
    let mut problems = table.problems();
    problems.extend(summary.print());
    conclude(&problems)
}

fn run_controls(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let suite = workspace.require(SUITE)?;
    let tasks = tests(shell, workspace, &[suite], CONTROLS, args)?.tasks;
    let mut output = Output::fresh(shell, workspace)?;
    output.whole_matrix = true;
    let summary = runner::run(workspace, tasks, args.jobs, &output, None)?;
    let mut problems = summary.print();
    match output.controls() {
        Ok(controls) => {
            println!("\n{controls}");
            // With a filter, a control whose cases were filtered away proves nothing either way.
            if args.filter.is_none() {
                problems.extend(controls.problems());
            }
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    conclude(&problems)
}

/// The tests of one target of each package, whose cases leave lines in the output.
fn tests(
    shell: &Shell,
    workspace: &Workspace,
    packages: &[&Package],
    target: &str,
    args: &Args,
) -> Result<Tests> {
    let mut build = vec!["build".to_owned(), "--no-default-features".to_owned()];
    build.extend(["--test".to_owned(), target.to_owned()]);
    for package in packages {
        let mut features = package
            .require_target("test", target)?
            .required_features
            .clone();
        if package.features.contains_key(FAULT_FEATURE) {
            features.push(FAULT_FEATURE.to_owned());
        }
        build.extend(["--package".to_owned(), package.name.clone()]);
        for feature in features {
            build.push(format!("--features={}/{feature}", package.name));
        }
    }
    build.extend(services::build_servers_program(packages));
    let mut tests = runner::tests(shell, workspace, &build)?;
    if let Some(filter) = &args.filter {
        tests.tasks.retain(|task| task.name().contains(filter));
    }
    Ok(tests)
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
    whole_matrix: bool,
}

impl Output {
    /// An empty folder: lines of an earlier run would hide a test that no longer runs.
    pub(crate) fn fresh(shell: &Shell, workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("xtask").join("conformance");
        shell.remove_path(&folder)?;
        shell.create_dir(&folder)?;
        Ok(Self {
            folder,
            whole_matrix: false,
        })
    }

    /// What the tests find in their environment.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let matrix = self.whole_matrix.then_some((MATRIX_VARIABLE, "1".as_ref()));
        [(TABLE_VARIABLE, self.folder.as_os_str())]
            .into_iter()
            .chain(matrix)
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
