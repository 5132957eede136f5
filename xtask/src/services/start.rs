//! One process that is started and waited for: on loopback, on a free port.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::ask::ask;
use super::cluster;
use super::edition::Setup;
use super::run::Holding;
use super::server::Server;
use super::settings::{self, filled};
use super::workdir::Workdir;

/// How long a server may take until it is ready.
const READY: Duration = Duration::from_mins(1);

/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(25);

/// How often a start is tried. Another process may take the free port in between.
const ATTEMPTS: u32 = 3;

/// A server that is being started.
pub(super) struct Start<'a> {
    pub(super) workdir: Workdir<'a>,
    pub(super) program: &'a Path,
    pub(super) password: &'a str,
    pub(super) setup: Setup,
}

impl Start<'_> {
    /// Starts the server, waits until it is ready, and says at which address.
    pub(super) fn run(&self) -> Result<String> {
        let server = self.workdir.server;
        match server {
            Server::Postgres => self.create_database()?,
            Server::Redis => {}
            Server::Mongo => {
                fs::create_dir(self.data())?;
                self.workdir.home.account.give(&self.data())?;
            }
        }
        let program = self.program.display();
        let address = attempt(&program.to_string(), || self.once())?;
        if server == Server::Mongo {
            ask(self.workdir.home, server, &["initiate", &address], &[]).with_context(|| {
                format!("the replica set was not initiated\n{}", self.workdir.log())
            })?;
        }
        Ok(address)
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

    /// Starts the server on a free port. If it ends before it is ready, this says what it wrote.
    fn once(&self) -> Result<std::result::Result<String, String>> {
        let port = match self.setup {
            Setup::Cluster => cluster::free_port()?,
            Setup::Plain | Setup::Pooled | Setup::Durable => free_port()?,
        };
        let arguments = self.arguments(port)?;
        let pid = self
            .workdir
            .spawn(Holding::Process, self.program, arguments)?;
        let ready = await_ready(&self.workdir, self.program, pid, || self.is_ready())?;
        Ok(ready.map(|()| format!("{}:{port}", Ipv4Addr::LOCALHOST)))
    }

    /// Settings go into a file, because a command line is public and a password is not.
    fn arguments(&self, port: u16) -> Result<Vec<OsString>> {
        let (data, folder) = (self.data(), self.workdir.path.display().to_string());
        let durable = if self.setup == Setup::Durable {
            "on"
        } else {
            "off"
        };
        let values = [
            ("port", &*port.to_string()),
            ("password", self.password),
            ("folder", &folder),
            ("data", &data.display().to_string()),
            ("durable", durable),
        ];
        let write = |name, text| self.workdir.write(name, &filled(text, &values));
        Ok(match self.workdir.server {
            Server::Postgres => {
                let mut option = OsString::from("--config-file=");
                option.push(write("postgresql.conf", settings::POSTGRES)?);
                vec!["-D".into(), data.into(), option]
            }
            Server::Redis if self.setup == Setup::Cluster => {
                let text = [settings::REDIS, settings::REDIS_CLUSTER].concat();
                vec![write("server.conf", &text)?.into()]
            }
            Server::Redis => vec![write("server.conf", settings::REDIS)?.into()],
            Server::Mongo => vec![
                "--config".into(),
                write("mongod.yaml", settings::MONGO)?.into(),
            ],
        })
    }

    /// Whether this server takes commands: it says so in its own folder, where a server that took
    /// the port before it cannot.
    fn is_ready(&self) -> Result<bool> {
        let says = |text| Ok(self.workdir.log_text()?.contains(text));
        match self.workdir.server {
            Server::Postgres => {
                let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
                Ok(file
                    .lines()
                    .nth(7)
                    .is_some_and(|line| line.trim() == "ready"))
            }
            Server::Redis => says("Ready to accept connections"),
            Server::Mongo => says("Waiting for connections"),
        }
    }

    fn data(&self) -> PathBuf {
        self.workdir.path.join("data")
    }
}

/// Tries again if a process ended at once, because another may have taken its port.
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
    is_ready: impl Fn() -> Result<bool>,
) -> Result<std::result::Result<(), String>> {
    let started = Instant::now();
    loop {
        if workdir.run.exit_status(pid)?.is_some() {
            return Ok(Err(workdir.log()));
        }
        match is_ready() {
            Ok(true) => return Ok(Ok(())),
            _ if started.elapsed() < READY => thread::sleep(POLL),
            outcome => {
                let problem = outcome.err().map(|error| format!("{error:#}"));
                bail!(
                    "{} is not ready: {}\n{}",
                    program.display(),
                    problem.unwrap_or_default(),
                    workdir.log()
                );
            }
        }
    }
}

/// A port that no process listens on at this moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
