#![doc = include_str!("../README.md")]

mod backend;
mod bench;
mod ci;
mod conformance;
mod lines;
mod migrate;
mod problems;
mod runner;
mod services;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xshell::Shell;

use crate::workspace::Workspace;

/// The project's automation.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test of the workspace, or with `--quick` those that need no server
    Test(test::Args),
    /// Run the conformance suite and print the table of cases by backends
    Conformance(conformance::Args),
    /// Start and stop the databases that tests need
    Services(services::Args),
    /// Bring a store to the current schema, or look after the migrations themselves
    Migrate(migrate::Args),
    /// Run a backend's throughput benchmark, or that of reconciliation
    Bench(bench::Args),
    /// Count the lines of `src` without tests, by crate
    Lines,
    /// Run the checks that are not tests: format, lints, features, docs, packages, licences
    Ci(ci::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let shell = Shell::new()?;
    let workspace = Workspace::load(&shell)?;
    shell.change_dir(workspace.root());
    match cli.command {
        Command::Test(args) => test::run(&shell, &workspace, &args),
        Command::Conformance(args) => conformance::run(&shell, &workspace, &args),
        Command::Services(args) => services::run(&workspace, &args),
        Command::Migrate(args) => migrate::run(&shell, &workspace, &args),
        Command::Bench(args) => bench::run(&shell, &workspace, &args),
        Command::Lines => lines::run(&workspace),
        Command::Ci(args) => ci::run(&shell, &workspace, &args),
    }
}
