//! The program `servers` of `tests/`, which talks to servers through their drivers: this crate
//! depends on none.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::home::Home;
use super::server::Server;

/// Its name among the programs that a build leaves.
pub(crate) const PROGRAM: &str = "servers";

const PACKAGE: &str = "sync-tests";

/// Runs the program with these arguments and this environment, and answers its line. Cargo builds
/// it first unless a build of the whole workspace has.
pub(super) fn ask(
    home: &Home,
    server: Server,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<String> {
    let output = command(home.servers_program(), server)
        .current_dir(home.root())
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context(PROGRAM)?;
    ensure!(
        output.status.success(),
        "{PROGRAM} {}: {}, see above",
        arguments.first().copied().unwrap_or_default(),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The arguments that let a cargo command build the program for these servers; none for no server.
pub(super) fn build(servers: impl Iterator<Item = Server>) -> Vec<String> {
    let mut arguments: Vec<_> = servers
        .map(|server| format!("--features={PACKAGE}/ask-{server}"))
        .collect();
    if !arguments.is_empty() {
        let program = ["--package", PACKAGE, "--bin", PROGRAM];
        arguments.extend(program.map(str::to_owned));
    }
    arguments
}

fn command(built: Option<&Path>, server: Server) -> Command {
    if let Some(program) = built {
        return Command::new(program);
    }
    let mut command = Command::new("cargo");
    command
        .args(["run", "--no-default-features"])
        .args(build(std::iter::once(server)))
        .arg("--");
    command
}
