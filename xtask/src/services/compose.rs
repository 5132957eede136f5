//! Servers in containers, from `docker-compose.yml`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::provider::{Answer, Provider};
use super::run::{Holding, Run, Running};
use super::server::Server;
use super::wire;

pub(super) const FILE: &str = "docker-compose.yml";

/// How long the engine, or compose, may take to answer a question about itself. On a machine that is
/// busy with builds, seconds do not suffice.
const ANSWER: Duration = Duration::from_mins(1);

/// How long images may take to arrive.
const PULL: Duration = Duration::from_mins(10);

/// How long a container may take to become healthy.
const HEALTHY: Duration = Duration::from_mins(2);

/// A way to call compose: `docker compose`, or `docker-compose` where it is a program of its own.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Compose {
    command: Vec<String>,
    file: PathBuf,
}

/// The containers of one server of one run.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Project {
    compose: Compose,
    name: String,
}

impl Compose {
    /// Compose with an engine that has this server's image, or why not.
    pub(super) fn find(root: &Path, server: Server) -> Result<Answer<Self>> {
        let file = root.join(FILE);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let image = image(&text, server)
            .with_context(|| format!("{FILE} names no image for {server}"))?
            .to_owned();
        if !has_engine() {
            return Ok(Answer::No("no container engine answers".to_owned()));
        }
        let ways: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let way = ways.into_iter().find(|way| {
            let command = way.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
            succeeds(start(&command).arg("version"), ANSWER)
        });
        let Some(way) = way else {
            return Ok(Answer::No(
                "docker compose is not installed, or does not answer".to_owned(),
            ));
        };
        let mut inspect = Command::new("docker");
        if !succeeds(inspect.args(["image", "inspect", &image]), ANSWER) {
            eprintln!("{server}: pulling {image}");
            let mut pull = Command::new("docker");
            if !succeeds(pull.args(["pull", "--quiet", &image]), PULL) {
                return Ok(Answer::No(format!(
                    "the image {image} is not here and cannot be pulled"
                )));
            }
        }
        Ok(Answer::Yes(Self {
            command: way.iter().map(|&word| word.to_owned()).collect(),
            file,
        }))
    }

    /// Starts the containers and waits until they are healthy.
    pub(super) fn start(self, run: &Run, server: Server) -> Result<Running> {
        let id = run.folder().file_name().unwrap_or_default();
        let project = Project {
            name: format!("ordered-sync-{}-{server}", id.to_string_lossy()),
            compose: self,
        };
        run.hold_project(server, project.clone())?;
        // A process of the run: whoever stops the run stops it before it takes the project down.
        let mut up = project.command(&["up", "--detach", server.name()]);
        let pid = run.spawn(
            server,
            Holding::Process,
            up.stdin(Stdio::null()).stdout(Stdio::null()),
        )?;
        let status = run.wait(pid, HEALTHY)?;
        ensure!(
            status.is_some_and(|status| status.success()),
            "{FILE}: {server} did not start"
        );
        project.wait(server)?;
        let port = server.default_port().to_string();
        let address = project.read(&["port", server.name(), &port])?;
        let probe = wire::probe(server, &address, None)
            .with_context(|| format!("{server} in a container at {address}"))?;
        Ok(Running {
            server,
            provider: Provider::Compose,
            version: probe.version,
            url: match server {
                Server::Postgres => format!("postgres://postgres@{address}/postgres"),
                Server::Redis => format!("redis://{address}"),
                // The member's own name for itself is that inside its container.
                Server::Mongo => format!("mongodb://{address}/?directConnection=true"),
            },
            address: Some(address),
            programs: None,
        })
    }
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

    fn wait(&self, server: Server) -> Result<()> {
        let container = self.read(&["ps", "--quiet", server.name()])?;
        let started = Instant::now();
        loop {
            let health = read(
                Command::new("docker")
                    .args([
                        "inspect",
                        "--format",
                        "{{.State.Status}} {{.State.Health.Status}}",
                    ])
                    .arg(&container),
            )?;
            match health.as_str() {
                "running healthy" => return Ok(()),
                "running starting" | "created starting" => {}
                other => bail!(
                    "the container of {server} is {other}: {}",
                    self.logs(server)
                ),
            }
            ensure!(
                started.elapsed() < HEALTHY,
                "the container of {server} did not become healthy: {}",
                self.logs(server)
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn logs(&self, server: Server) -> String {
        self.read(&["logs", "--tail", "20", server.name()])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    fn read(&self, arguments: &[&str]) -> Result<String> {
        read(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = start(&self.compose.command);
        command
            .args(["--project-name", &self.name, "--file"])
            .arg(&self.compose.file)
            .args(arguments);
        command
    }
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

fn start(command: &[String]) -> Command {
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
