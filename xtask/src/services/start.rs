//! One process that is started and waited for: on loopback, on a free port.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::cluster;
use super::edition::Setup;
use super::run::Holding;
use super::server::Server;
use super::settings;
use super::wire;
use super::workdir::Workdir;

/// How long a server may take until it answers.
pub(super) const READY: Duration = Duration::from_mins(1);

/// How often it is asked meanwhile.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// How often another port is tried, where somebody else took the free one in between.
const ATTEMPTS: u32 = 3;

/// A server that is being started.
pub(super) struct Start<'a> {
    pub(super) workdir: Workdir<'a>,
    pub(super) program: &'a Path,
    pub(super) password: &'a str,
    pub(super) setup: Setup,
}

impl Start<'_> {
    /// Starts the server, waits until it answers, and says at which address.
    pub(super) fn run(&self) -> Result<String> {
        if self.workdir.server == Server::Postgres {
            self.create_database()?;
        }
        let program = self.program.display();
        attempt(&program.to_string(), || self.once())
    }

    /// The folder of a PostgreSQL server is made by a program of its own, which lies beside it.
    fn create_database(&self) -> Result<()> {
        let program = self.program.canonicalize()?.with_file_name("initdb");
        let password = self.workdir.write("password", self.password)?;
        let arguments = settings::initdb(&self.data(), &password);
        let pid = self.workdir.spawn(Holding::Process, &program, arguments)?;
        let status = self.workdir.run.wait(pid, READY)?;
        let status = status.context("initdb does not end")?;
        ensure!(status.success(), "initdb failed:\n{}", self.workdir.log());
        Ok(fs::remove_file(password)?)
    }

    /// Starts the server on a free port. If it ends before it answers, this says what it wrote.
    fn once(&self) -> Result<std::result::Result<String, String>> {
        let port = match self.setup {
            Setup::Cluster => cluster::free_port()?,
            Setup::Plain | Setup::Pooled | Setup::Durable => free_port()?,
        };
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let pid = self
            .workdir
            .spawn(Holding::Process, self.program, self.arguments(port)?)?;
        let mut initiated = false;
        await_ready(&self.workdir, self.program, pid, || {
            self.is_ready(&address, pid, &mut initiated)
        })
        .map(|ended| ended.map(|()| address))
    }

    fn arguments(&self, port: u16) -> Result<Vec<OsString>> {
        Ok(match self.workdir.server {
            Server::Postgres => {
                settings::postgres(&self.data(), port, self.setup == Setup::Durable)
            }
            Server::Redis => {
                let mut text = settings::redis(&self.workdir.path, port, self.password);
                if self.setup == Setup::Cluster {
                    text.push_str(&settings::redis_cluster(self.password));
                }
                let file = self.workdir.write("server.conf", &text)?;
                vec![file.into_os_string()]
            }
            Server::Mongo => {
                let data = self.data();
                if !data.is_dir() {
                    fs::create_dir(&data)?;
                }
                self.workdir.home.account.give(&data)?;
                settings::mongo(&data, port)
            }
        })
    }

    /// Whether this server answers, and not another one that took the port before it.
    fn is_ready(&self, address: &str, pid: u32, initiated: &mut bool) -> Result<bool> {
        let server = self.workdir.server;
        match server {
            Server::Postgres => {
                // Written by the server that has this folder, when it has its port.
                let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
                let is_ready = file.lines().nth(7).is_some_and(|l| l.trim() == "ready");
                Ok(is_ready && wire::probe(server, address, None).is_ok())
            }
            Server::Redis => {
                let probe = wire::probe(server, address, Some(self.password))?;
                Ok(probe.process == Some(pid))
            }
            Server::Mongo => {
                if !self.workdir.log_text()?.contains("Waiting for connections") {
                    return Ok(false);
                }
                if !*initiated {
                    wire::initiate(address, settings::REPLICA_SET)?;
                    *initiated = true;
                }
                wire::is_primary(address)
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.workdir.path.join("data")
    }
}

/// Tries again where a process ended at once, because somebody else may have taken its port.
pub(super) fn attempt<T>(
    program: &str,
    mut once: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    for _ in 1..ATTEMPTS {
        if let Ok(started) = once()? {
            return Ok(started);
        }
    }
    once()?.or_else(|log| bail!("{program} ended at its start:\n{log}"))
}

/// Waits until a process is ready. If it ends before that, the answer is what it wrote.
pub(super) fn await_ready(
    workdir: &Workdir<'_>,
    program: &Path,
    pid: u32,
    mut is_ready: impl FnMut() -> Result<bool>,
) -> Result<std::result::Result<(), String>> {
    let started = Instant::now();
    loop {
        if workdir.run.exit_status(pid)?.is_some() {
            return Ok(Err(workdir.log()));
        }
        match is_ready() {
            Ok(true) => return Ok(Ok(())),
            outcome if started.elapsed() > READY => {
                let problem = outcome.err().map(|error| format!("{error:#}"));
                bail!(
                    "{} does not answer: {}\n{}",
                    program.display(),
                    problem.unwrap_or_default(),
                    workdir.log()
                );
            }
            _ => thread::sleep(POLL),
        }
    }
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
