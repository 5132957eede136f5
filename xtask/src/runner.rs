//! Runs tests and says how they ended: for `cargo xtask test` and `cargo xtask conformance`.

mod load;
mod outcome;
mod programs;
mod schedule;
mod scratch;
mod tally;
mod times;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use xshell::Shell;

use crate::conformance::Output;
use crate::services::Services;
use crate::workspace::Workspace;

pub(crate) use outcome::Summary;
pub(crate) use schedule::Task;

use load::Jobs;
use schedule::Runner;
use scratch::Scratch;
use times::Times;

/// The tests that a build has.
pub(crate) struct Tests {
    pub(crate) tasks: Vec<Task>,
    /// [`SERVERS_PROGRAM`](crate::services::SERVERS_PROGRAM), if it is part of the build.
    pub(crate) servers_program: Option<PathBuf>,
}

/// The tests in the programs that a cargo command builds. Runs the command.
pub(crate) fn tests(shell: &Shell, workspace: &Workspace, arguments: &[String]) -> Result<Tests> {
    let built = programs::build(shell, workspace, arguments)?;
    let mut tasks = Vec::new();
    for program in built.tests {
        tasks.extend(Task::all_of(program)?);
    }
    Ok(Tests {
        tasks,
        servers_program: built.servers,
    })
}

/// Runs tests, with a line for each, and lets those of the conformance suite write to `output`.
pub(crate) fn run(
    workspace: &Workspace,
    tasks: Vec<Task>,
    jobs: Option<usize>,
    output: &Output,
    services: Option<&Services>,
) -> Result<Summary> {
    let folder = workspace.target().join("xtask");
    let servers = services.into_iter().flat_map(Services::environment);
    let mut environment: Vec<_> = servers.chain(output.environment()).collect();
    let scratch = Scratch::create(workspace.target())?;
    if let Some(scratch) = &scratch {
        environment.push(("TMPDIR", scratch.folder().as_os_str()));
    }
    let runner = Runner {
        jobs: Jobs::of(jobs),
        environment,
        logs: folder.join("test"),
    };
    let mut times = Times::load(folder.join("times.tsv"));
    let begun = Instant::now();
    let finished = runner.run(tasks, &mut times)?;
    times.save()?;
    Ok(Summary::of(&finished, begun.elapsed()))
}
