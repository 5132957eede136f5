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
use super::provider::{Answer, Provider};
use super::run::{Holding, Run, Running};
use super::server::Server;

/// What the program writes on its containers.
const LABEL: &str = "ordered-sync.run";

/// How long it may take to remove what a killed program left.
const REMOVAL: Duration = Duration::from_secs(30);

/// The containers of one server of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Containers {
    run: String,
}

/// Starts the program and waits until it says that the server answers. Whether the engine has the
/// image, the program says.
pub(super) fn start(root: &Path, run: &Run, server: Server) -> Result<Answer<Running>> {
    if !compose::has_engine() {
        return Ok(Err("no container engine answers".to_owned()));
    }
    let name = run.name_for(server);
    run.hold(
        server,
        Holding::Containers(Containers { run: name.clone() }),
    )?;
    let mut program = Command::new("cargo");
    program
        .current_dir(root)
        .args(["run", "--package", "sync-containers", "--"])
        .args(["--run", &name, server.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let pid = run.spawn(server, Holding::Program, &mut program)?;
    let said = BufReader::new(run.take_output(pid)?).lines().next();
    let Some(line) = said.transpose()? else {
        bail!("{server}: the program that starts containers has ended, see above");
    };
    let url = line
        .strip_prefix(server.variable())
        .and_then(|rest| rest.strip_prefix('='))
        .with_context(|| format!("{server}: the program says {line}"))?;
    Ok(Ok(Running {
        server,
        provider: Provider::Containers,
        version: compose::image_in(root, server).ok(),
        address: address(url).map(str::to_owned),
        url: url.to_owned(),
        programs: None,
    }))
}

impl Containers {
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

/// Host and port in a URL of this program: `postgres://postgres@127.0.0.1:5432/postgres`.
pub(super) fn address(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(host.rsplit_once('@').map_or(host, |(_, host)| host))
}
