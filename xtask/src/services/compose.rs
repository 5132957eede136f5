//! Servers in containers, from `docker-compose.yml`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::provider::{Answer, Provider};
use super::run::{Holding, Run, Running};
use super::server::Server;

pub(super) const FILE: &str = "docker-compose.yml";

/// How long the engine, or compose, may take to answer a question about itself. On a machine that is
/// busy with builds, seconds do not suffice.
const ANSWER: Duration = Duration::from_mins(1);

/// How long images may take to arrive.
const PULL: Duration = Duration::from_mins(10);

/// How long a container may take to become healthy.
const HEALTHY: Duration = Duration::from_mins(2);

/// The containers of one server of one run.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Project {
    /// `docker compose`, or `docker-compose` where it is a program of its own.
    command: Vec<String>,
    file: PathBuf,
    name: String,
}

/// Starts the containers and waits until they are healthy, where there is compose with an engine that
/// has this server's image; or says why not.
pub(super) fn start(root: &Path, run: &Run, server: Server) -> Result<Answer<Running>> {
    let image = image_in(root, server)?;
    if !has_engine() {
        return Ok(Err("no container engine answers".to_owned()));
    }
    // The first version of compose does not wait for a container to become healthy.
    let ways = [vec!["docker", "compose"], vec!["docker-compose"]].into_iter();
    let mut ways = ways.map(|way| way.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let is_there = |way: &Vec<_>| succeeds(call(way).args(["up", "--wait", "--help"]), ANSWER);
    let Some(command) = ways.find(is_there) else {
        let reason = "docker compose 2 is not installed, or does not answer";
        return Ok(Err(reason.to_owned()));
    };
    if !succeeds(
        Command::new("docker").args(["image", "inspect", &image]),
        ANSWER,
    ) {
        eprintln!("{server}: pulling {image}");
        if !succeeds(
            Command::new("docker").args(["pull", "--quiet", &image]),
            PULL,
        ) {
            let reason = format!("the image {image} is not here and cannot be pulled");
            return Ok(Err(reason));
        }
    }
    let project = Project {
        command,
        file: root.join(FILE),
        name: format!("ordered-sync-{}", run.name_for(server)),
    };
    run.hold(server, Holding::Project(project.clone()))?;
    // A process of the run, which is stopped before the project is taken down.
    let mut up = project.command(&["up", "--detach", "--wait", server.name()]);
    let quiet = up.stdin(Stdio::null()).stdout(Stdio::null());
    let pid = run.spawn(server, Holding::Process, quiet)?;
    let status = run.wait(pid, HEALTHY)?;
    ensure!(
        status.is_some_and(|status| status.success()),
        "{FILE}: {server} did not become healthy: {}",
        project.logs(server)
    );
    let port = server.default_port().to_string();
    let address = project.read(&["port", server.name(), &port])?;
    Ok(Ok(Running {
        server,
        provider: Provider::Compose,
        version: Some(image),
        url: match server {
            Server::Postgres => format!("postgres://postgres@{address}/postgres"),
            Server::Redis => format!("redis://{address}"),
            // The member's own name for itself is that inside its container.
            Server::Mongo => format!("mongodb://{address}/?directConnection=true"),
        },
        address: Some(address),
        programs: None,
    }))
}

impl Project {
    /// Stops and removes the containers of this project, and nothing else.
    pub(super) fn down(&self) -> Result<()> {
        let output = self
            .command(&["down", "--volumes", "--timeout", "1"])
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{}: the containers did not stop: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn logs(&self, server: Server) -> String {
        self.read(&["logs", "--tail", "20", server.name()])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    fn read(&self, arguments: &[&str]) -> Result<String> {
        read(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = call(&self.command);
        command
            .args(["--project-name", &self.name, "--file"])
            .arg(&self.file)
            .args(arguments);
        command
    }
}

/// The image of a service of this checkout.
pub(super) fn image_in(root: &Path, server: Server) -> Result<String> {
    let text = std::fs::read_to_string(root.join(FILE)).context(FILE)?;
    let image = image(&text, server).map(str::to_owned);
    image.with_context(|| format!("{FILE} names no image for {server}"))
}

/// The image of a service. The file is read as the lines it is written in: two spaces, four spaces.
pub(super) fn image(text: &str, server: Server) -> Option<&str> {
    let heading = format!("  {server}:");
    text.lines()
        .skip_while(|line| line.trim_end() != heading)
        .skip(1)
        .take_while(|line| line.starts_with("    ") || line.trim().is_empty())
        .find_map(|line| line.strip_prefix("    image: "))
        .map(str::trim)
}

/// Whether a container engine answers.
pub(super) fn has_engine() -> bool {
    succeeds(Command::new("docker").arg("info"), ANSWER)
}

fn call(command: &[String]) -> Command {
    let mut words = command.iter();
    let mut command = Command::new(words.next().map_or("docker", String::as_str));
    command.args(words);
    command
}

/// What a command prints, if it succeeds.
pub(super) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a command succeeds in time. One that is not there does not.
fn succeeds(command: &mut Command, limit: Duration) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
