//! `cargo xtask test`: everything that can be tested on this machine, and proof that it ran.

mod tally;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use xshell::{Cmd, Shell, cmd};

use crate::backend::BackendName;
use crate::conformance::{self, Output};
use crate::problems::conclude;
use crate::services::{Options, Services};
use crate::workspace::Workspace;

use tally::Tally;

pub(crate) fn run(shell: &Shell, workspace: &Workspace, options: &Options) -> Result<()> {
    let backends = BackendName::present(workspace);
    let mut services = Services::ensure(workspace, &backends, options)?;
    conclude(&services.find_programs(workspace)?)?;
    let output = Output::fresh(shell, workspace)?;
    let mut tally = Tally::default();
    let mut problems = Vec::new();

    // All features: an adapter's fault injection is behind one, and its tests need it. xtask is
    // tested alone, so that the build that started this command is the one under test, and the
    // features of its dependencies do not reach the others.
    let (variable, folder) = output.variable();
    let everything = cmd!(
        shell,
        "cargo test --workspace --exclude xtask --all-features --no-fail-fast"
    )
    .env(variable, folder)
    .envs(services.environment());
    let own = cmd!(shell, "cargo test --package xtask --no-fail-fast");
    for command in [everything, own] {
        println!("\n$ {command}");
        if !tee(command, &mut tally)? {
            problems.push("cargo test failed, see above".to_owned());
        }
    }

    let mut table = output.table(&backends)?;
    table.name_servers(&services);
    problems.extend(table.problems());
    problems.extend(tally.problems());

    println!("\n{table}");
    if workspace.package(conformance::SUITE).is_some() {
        match output.controls() {
            Ok(controls) => {
                println!("controls: {}", controls.summary());
                problems.extend(controls.problems());
            }
            Err(error) => problems.push(format!("controls: {error:#}")),
        }
    }
    println!("tests: {tally}");
    for backend in BackendName::absent(workspace) {
        println!("{backend}: not in this workspace yet");
    }
    conclude(&problems)?;
    println!("all passed");
    Ok(())
}

/// Runs a test command, passes its lines on and counts what they say. Answers whether it succeeded.
fn tee(command: Cmd<'_>, tally: &mut Tally) -> Result<bool> {
    let mut child = Command::from(command).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("the output of cargo test")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        // A test may print bytes that are not UTF-8; that is no reason to stop counting.
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(&line);
    }
    Ok(child.wait()?.success())
}
