//! Servers started from programs on this machine: on loopback, on free ports, on data of their own
//! that goes when they stop.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::account::Account;
use super::ask::ask;
use super::cluster;
use super::edition::{Edition, Setup};
use super::fetch::Release;
use super::home::{Home, random};
use super::pooler::Pooler;
use super::programs;
use super::provider::{Answer, Provider};
use super::run::{Run, Running};
use super::server::{Server, Version};
use super::settings;
use super::start::Start;
use super::workdir::Workdir;

/// A server program that runs here.
pub(super) struct Program {
    server: Server,
    path: PathBuf,
    version: Version,
}

impl Program {
    /// The program in `PATH`, or why not: the first, or the first of the release that is asked for.
    pub(super) fn in_path(server: Server, edition: Option<&Edition>, home: &Home) -> Answer<Self> {
        let mut paths = server.programs().iter().flat_map(|name| in_path(name));
        let Some(edition) = edition else {
            let Some(path) = paths.next() else {
                let names = server.programs().join(" or ");
                return Err(format!("there is no {names} in PATH"));
            };
            return Self::check(server, path, home);
        };
        let mut reasons = Vec::new();
        for path in paths {
            match Self::check(server, path, home) {
                Ok(program) if program.version.is_of(&edition.release) => return Ok(program),
                Ok(program) => {
                    reasons.push(format!("{} is {}", program.path.display(), program.version));
                }
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.insert(0, format!("there is no {} in PATH", edition.release));
        Err(reasons.join("; "))
    }

    /// A pinned release, fetched on its first use; or the reason why it cannot be fetched.
    pub(super) fn fetched(release: &Release, home: &Home) -> Result<Answer<Self>> {
        let path = release.program(home)?;
        Ok(path.and_then(|path| Self::check(release.server, path, home)))
    }

    fn check(server: Server, path: PathBuf, home: &Home) -> Answer<Self> {
        let shown = path.display();
        if !home.account.reaches(&path) {
            return Err(format!(
                "the account that servers run as may not run {shown}"
            ));
        }
        let output = Command::new(&path).arg("--version").output();
        let output = output.map_err(|error| format!("{shown} does not run: {error}"))?;
        let Some(version) = Version::parse(&String::from_utf8_lossy(&output.stdout)) else {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{shown} does not run: {}", error.trim()));
        };
        let oldest = server.oldest();
        if version.release() < oldest {
            return Err(format!(
                "{shown} is {version}, and {}.{} is the oldest that will do",
                oldest.0, oldest.1
            ));
        }
        Ok(Self {
            server,
            path,
            version,
        })
    }

    /// The folder with this program and those that tests need beside it, or the programs that are missing there.
    pub(super) fn folder(&self, account: Account) -> Answer<PathBuf> {
        programs::folder_of(self.server, &self.path, account)
    }

    /// Starts the server and waits until it answers.
    pub(super) fn start(
        &self,
        run: &Run,
        home: &Home,
        setup: Setup,
        provider: Provider,
    ) -> Result<Running> {
        let password = hex::encode(random::<16>()?);
        // Before a server runs in vain.
        let pooler = match setup {
            Setup::Pooled => Some(Pooler::find()?),
            Setup::Plain | Setup::Cluster | Setup::Durable => None,
        };
        let workdir = Workdir::create(run, home, self.server)?;
        let (addresses, version) = match (setup, pooler) {
            (Setup::Cluster, _) => (
                self.start_cluster(&workdir, &password)?,
                format!("{}, cluster of {}", self.version, cluster::NODES),
            ),
            (_, Some(pooler)) => {
                let upstream = self.start_one(workdir.part("server")?, &password, setup)?;
                let workdir = workdir.part("pooler")?;
                (
                    vec![pooler.start(&workdir, &upstream, &password)?],
                    format!("{} behind {}", self.version, pooler.version),
                )
            }
            (_, None) => (
                vec![self.start_one(workdir, &password, setup)?],
                self.version.to_string(),
            ),
        };
        Ok(Running {
            server: self.server,
            provider,
            version: Some(version),
            url: url(self.server, setup, &password, &addresses.join(",")),
            address: addresses.into_iter().next(),
            programs: self.folder(home.account).ok(),
        })
    }

    fn start_one(&self, workdir: Workdir<'_>, password: &str, setup: Setup) -> Result<String> {
        let start = Start {
            workdir,
            program: &self.path,
            password,
            setup,
        };
        start.run()
    }

    fn start_cluster(&self, workdir: &Workdir<'_>, password: &str) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        for node in 1..=cluster::NODES {
            let workdir = workdir.part(&format!("node-{node}"))?;
            addresses.push(self.start_one(workdir, password, Setup::Cluster)?);
        }
        let mut words = vec!["cluster"];
        words.extend(addresses.iter().map(String::as_str));
        let password = ("SERVERS_PASSWORD", password);
        ask(workdir.home, self.server, &words, &[password])?;
        Ok(addresses)
    }
}

/// The URL that tells tests where the server is, and what they cannot see from there.
pub(super) fn url(server: Server, setup: Setup, password: &str, hosts: &str) -> String {
    let url = match server {
        Server::Postgres => format!("postgres://postgres:{password}@{hosts}/postgres"),
        Server::Redis => format!("redis://:{password}@{hosts}"),
        Server::Mongo => format!("mongodb://{hosts}/?replicaSet={}", settings::REPLICA_SET),
    };
    match setup {
        // Several hosts are a cluster.
        Setup::Plain | Setup::Cluster | Setup::Durable => url,
        Setup::Pooled => format!("{url}?pooler=transaction"),
    }
}

/// The programs of this name in `PATH`, in its order.
pub(super) fn in_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let programs: Vec<_> = env::split_paths(&path)
        .map(|folder| folder.join(name))
        .filter(|program| program.is_file())
        .collect();
    programs.into_iter()
}
