//! Servers started from programs on this machine: on loopback, on a free port, on data of their own
//! that goes when they stop.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::home::{Home, random};
use super::provider::{Answer, Provider};
use super::run::{Run, Running};
use super::server::{Server, Version};
use super::settings;
use super::wheel::Release;
use super::wire;

/// How long a server may take until it answers.
const READY: Duration = Duration::from_mins(1);

/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(25);

/// How often another port is tried, where somebody else took the free one in between.
const ATTEMPTS: u32 = 3;

const LOG: &str = "server.log";

/// A server program that runs here.
pub(super) struct Program {
    path: PathBuf,
    version: Version,
}

/// A server that is being started.
struct Start<'a> {
    run: &'a Run,
    home: &'a Home,
    server: Server,
    program: &'a Program,
    /// Its own folder.
    folder: PathBuf,
    password: String,
}

impl Program {
    /// The program in `PATH`, or why not.
    pub(super) fn in_path(server: Server, home: &Home) -> Answer<Self> {
        let Some(path) = server.programs().iter().find_map(|name| in_path(name)) else {
            let names = server.programs().join(" or ");
            return Answer::No(format!("there is no {names} in PATH"));
        };
        Self::check(server, path, home)
    }

    /// A pinned release, fetched unless it is there; or why it cannot be had.
    pub(super) fn fetched(release: &Release, home: &Home) -> Result<Answer<Self>> {
        match release.program(home)? {
            Ok(path) => Ok(Self::check(release.server, path, home)),
            Err(reason) => Ok(Answer::No(reason)),
        }
    }

    fn check(server: Server, path: PathBuf, home: &Home) -> Answer<Self> {
        let shown = path.display();
        if !home.account.reaches(&path) {
            return Answer::No(format!(
                "the account that servers run as may not run {shown}"
            ));
        }
        let output = match Command::new(&path).arg("--version").output() {
            Ok(output) => output,
            Err(error) => return Answer::No(format!("{shown} does not run: {error}")),
        };
        let Some(version) = Version::parse(&String::from_utf8_lossy(&output.stdout)) else {
            let error = String::from_utf8_lossy(&output.stderr);
            return Answer::No(format!("{shown} does not run: {}", error.trim()));
        };
        let oldest = server.oldest();
        if version.release() < oldest {
            return Answer::No(format!(
                "{shown} is {version}, and {}.{} is the oldest that will do",
                oldest.0, oldest.1
            ));
        }
        Answer::Yes(Self { path, version })
    }

    /// Starts the server and waits until it answers.
    pub(super) fn start(
        &self,
        run: &Run,
        home: &Home,
        server: Server,
        provider: Provider,
    ) -> Result<Running> {
        let start = Start {
            run,
            home,
            server,
            program: self,
            folder: run.create_folder(server, home)?,
            password: hex::encode(random::<16>()?),
        };
        if server == Server::Postgres {
            start.create_cluster()?;
        }
        for _ in 1..ATTEMPTS {
            if let Ok(address) = start.once()? {
                return Ok(start.running(address, provider));
            }
        }
        match start.once()? {
            Ok(address) => Ok(start.running(address, provider)),
            Err(log) => bail!("{} ended at its start:\n{log}", self.path.display()),
        }
    }
}

impl Start<'_> {
    /// The folder of a PostgreSQL cluster is made by a program of its own, which lies beside it.
    fn create_cluster(&self) -> Result<()> {
        let program = self.program.path.canonicalize()?.with_file_name("initdb");
        let password = self.folder.join("password");
        self.write(&password, &self.password)?;
        let arguments = settings::initdb(&self.data(), &password);
        let pid = self.spawn(&program, arguments)?;
        let status = self.run.wait(pid, READY)?;
        let status = status.context("initdb does not end")?;
        ensure!(status.success(), "initdb failed:\n{}", self.log());
        Ok(fs::remove_file(password)?)
    }

    /// Starts the server on a free port. If it ends before it answers, this says what it wrote.
    fn once(&self) -> Result<std::result::Result<String, String>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let arguments = match self.server {
            Server::Postgres => settings::postgres(&self.data(), port),
            Server::Redis => {
                let file = self.folder.join("server.conf");
                self.write(&file, &settings::redis(&self.folder, port, &self.password))?;
                vec![file.into_os_string()]
            }
            Server::Mongo => {
                let data = self.data();
                if !data.is_dir() {
                    fs::create_dir(&data)?;
                }
                self.home.account.give(&data)?;
                settings::mongo(&data, port)
            }
        };
        let pid = self.spawn(&self.program.path, arguments)?;
        let started = Instant::now();
        let mut initiated = false;
        loop {
            if self.run.exit_status(pid)?.is_some() {
                return Ok(Err(self.log()));
            }
            match self.is_ready(&address, pid, &mut initiated) {
                Ok(true) => return Ok(Ok(address)),
                outcome if started.elapsed() > READY => {
                    let problem = outcome.err().map(|error| format!("{error:#}"));
                    bail!(
                        "{} does not answer: {}\n{}",
                        self.program.path.display(),
                        problem.unwrap_or_default(),
                        self.log()
                    );
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    /// Whether this server answers, and not another one that took the port before it.
    fn is_ready(&self, address: &str, pid: u32, initiated: &mut bool) -> Result<bool> {
        let password = Some(self.password.as_str());
        match self.server {
            Server::Postgres => {
                // Written by the server that has this folder, when it has its port.
                let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
                let is_ready = file.lines().nth(7).is_some_and(|l| l.trim() == "ready");
                Ok(is_ready && wire::probe(self.server, address, None).is_ok())
            }
            Server::Redis => {
                let probe = wire::probe(self.server, address, password)?;
                Ok(probe.process == Some(pid))
            }
            Server::Mongo => {
                if !self.log_file()?.contains("Waiting for connections") {
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

    fn running(&self, address: String, provider: Provider) -> Running {
        let password = &self.password;
        let url = match self.server {
            Server::Postgres => format!("postgres://postgres:{password}@{address}/postgres"),
            Server::Redis => format!("redis://:{password}@{address}"),
            Server::Mongo => format!("mongodb://{address}/?replicaSet={}", settings::REPLICA_SET),
        };
        Running {
            server: self.server,
            provider,
            version: Some(self.program.version.to_string()),
            address: Some(address),
            url,
        }
    }

    /// Runs a program as the unprivileged account, in an environment that holds nobody's settings.
    fn spawn(&self, program: &Path, arguments: Vec<impl AsRef<OsStr>>) -> Result<u32> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(LOG))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        self.home.account.run(&mut command);
        self.run.spawn(self.server, &mut command)
    }

    /// A file that only the server's account may read.
    fn write(&self, path: &Path, text: &str) -> Result<()> {
        // The folder is closed to others already.
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        self.home.account.give(path)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_file(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join(LOG))?).into_owned())
    }

    /// The last lines the server wrote.
    fn log(&self) -> String {
        let text = self.log_file().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines.len().saturating_sub(20);
        lines.get(last..).unwrap_or_default().join("\n")
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
