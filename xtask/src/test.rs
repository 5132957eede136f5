//! `cargo xtask test`: everything that can be tested on this machine, and proof that it ran.

mod selection;

use anyhow::Result;
use clap::Args as ClapArgs;
use xshell::Shell;

use crate::backend::BackendName;
use crate::conformance::Output;
use crate::problems::conclude;
use crate::runner::{self, Task, Tests};
use crate::services::{Options, Services};
use crate::workspace::Workspace;

use selection::Selection;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Only what needs no server: memory and SQLite, and the crates above them
    #[arg(long, conflicts_with_all = ["provider", "editions"])]
    quick: bool,
    /// How many tests run at once; unless given, as many as keep the processors busy
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    #[command(flatten)]
    servers: Options,
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    let selection = if args.quick {
        Selection::quick()
    } else {
        Selection::everything(workspace)
    };
    let Tests {
        mut tasks,
        servers_program,
    } = runner::tests(shell, workspace, &programs_of(&selection.build))?;
    tasks.push(Task::examples(&selection.build));
    if let Some(own) = &selection.own {
        tasks.extend(runner::tests(shell, workspace, &programs_of(own))?.tasks);
    }
    tasks.retain(|task| selection.has(task.label()));

    let program = servers_program.as_deref();
    let mut services = Services::ensure(workspace, &selection.backends, &args.servers, program)?;
    conclude(&services.find_programs(workspace)?)?;
    let output = Output::fresh(shell, workspace)?;
    let summary = runner::run(workspace, tasks, args.jobs, &output, Some(&services))?;

    let mut table = output.table(&selection.backends)?;
    table.name_servers(&services);
    println!("\n{table}");
    for backend in BackendName::absent(workspace) {
        println!("{backend}: not in this workspace yet");
    }
    let mut problems = table.problems();
    if !args.quick {
        let controls = output.controls()?;
        println!("controls: {}", controls.summary());
        problems.extend(controls.problems());
    }
    problems.extend(summary.print());
    conclude(&problems)?;
    println!("all passed");
    Ok(())
}

/// The cargo command that builds all test programs of a selection.
fn programs_of(selection: &[String]) -> Vec<String> {
    let mut arguments = vec!["test".to_owned(), "--no-run".to_owned()];
    arguments.extend_from_slice(selection);
    arguments
}
