//! Servers in containers that testcontainers starts: a program of `tests/` does, because this crate
//! has no runtime. The containers live as long as the program, and the program no longer than this
//! process: it ends when its standard input does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::compose;
use super::external;
use super::provider::{Answer, Provider};
use super::run::{Holding, Run, Running};
use super::server::Server;
use super::wire;

/// What the program writes on its containers.
const LABEL: &str = "ordered-sync.run";

/// How long it may take to remove what a killed program left.
const REMOVAL: Duration = Duration::from_secs(30);

/// The containers of one server of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Containers {
    run: String,
}

impl Containers {
    /// Whether there is an engine. Whether it has the image, the program says.
    pub(super) fn find(run: &Run, server: Server) -> Answer<Self> {
        if !compose::has_engine() {
            return Answer::No("no container engine answers".to_owned());
        }
        let id = run.folder().file_name().unwrap_or_default();
        Answer::Yes(Self {
            run: format!("{}-{server}", id.to_string_lossy()),
        })
    }

    /// Starts the program and waits until it says that the server answers.
    pub(super) fn start(self, root: &Path, run: &Run, server: Server) -> Result<Running> {
        run.hold_containers(server, self.clone())?;
        let mut program = Command::new("cargo");
        program
            .current_dir(root)
            .args(["run", "--quiet", "--package", "sync-tests"])
            .args(["--no-default-features", "--features", "containers"])
            .args(["--bin", "containers", "--"])
            .args(["--run", &self.run, server.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let pid = run.spawn(server, Holding::Program, &mut program)?;
        let output = run.take_output(pid)?;
        let said = BufReader::new(output).lines().next();
        let Some(line) = said.transpose()? else {
            bail!("{server}: the program that starts containers has ended, see above");
        };
        let url = line
            .split_once('=')
            .and_then(|(variable, url)| (variable == server.variable()).then(|| url.to_owned()));
        let url = url.with_context(|| format!("{server}: the program says {line}"))?;
        let address = external::address(server, &url).context("a URL without host")?;
        let probe = wire::probe(server, &address, None)
            .with_context(|| format!("{server} in a container at {address}"))?;
        Ok(Running {
            server,
            provider: Provider::Containers,
            version: probe.version,
            address: Some(address),
            url,
            programs: None,
        })
    }

    /// Removes what the program has left, which is nothing unless it was killed.
    pub(super) fn remove(&self) -> Result<()> {
        let label = format!("label={LABEL}={}", self.run);
        let started = Instant::now();
        loop {
            let mut list = Command::new("docker");
            let left = compose::read(list.args(["ps", "--all", "--quiet", "--filter", &label]))?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < REMOVAL,
                "containers are left with the label {LABEL}={}",
                self.run
            );
            let mut remove = Command::new("docker");
            remove.args(["rm", "--force", "--volumes"]);
            // One that is being removed already is what was wanted: the next look tells.
            let _ = compose::read(remove.args(left.split_whitespace()));
            thread::sleep(Duration::from_millis(100));
        }
    }
}
