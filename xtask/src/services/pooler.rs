//! PgBouncer in transaction mode in front of a PostgreSQL server. What a session sets, prepares or
//! locks is gone, or belongs to another client, with the next transaction.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::local;
use super::run::Holding;
use super::settings::{self, filled};
use super::start::{attempt, await_ready, free_port};
use super::workdir::Workdir;

const PROGRAM: &str = "pgbouncer";

/// A PgBouncer that runs here.
pub(super) struct Pooler {
    path: PathBuf,
    /// `PgBouncer 1.18.0`.
    pub(super) version: String,
}

impl Pooler {
    pub(super) fn find() -> Result<Self> {
        let path = local::in_path(PROGRAM).next().with_context(|| {
            format!("there is no {PROGRAM} in PATH: distributions have a package of that name")
        })?;
        let output = Command::new(&path).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find(|line| line.starts_with("PgBouncer"));
        let version = version.with_context(|| format!("{} does not run", path.display()))?;
        Ok(Self {
            version: version.trim().to_owned(),
            path,
        })
    }

    /// Starts it in front of the server at `upstream`, and says at which address.
    pub(super) fn start(
        &self,
        workdir: &Workdir<'_>,
        upstream: &str,
        password: &str,
    ) -> Result<String> {
        let users = workdir.write("users.txt", &format!("\"postgres\" \"{password}\"\n"))?;
        attempt(PROGRAM, || self.once(workdir, upstream, &users))
    }

    fn once(
        &self,
        workdir: &Workdir<'_>,
        upstream: &str,
        users: &Path,
    ) -> Result<std::result::Result<String, String>> {
        let port = free_port()?;
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let (host, upstream) = upstream
            .rsplit_once(':')
            .context("an address without port")?;
        let values = [
            ("host", host),
            ("upstream", upstream),
            ("port", &port.to_string()),
            ("users", &users.display().to_string()),
        ];
        let text = filled(settings::PGBOUNCER, &values);
        let file = workdir.write("pgbouncer.ini", &text)?;
        let pid = workdir.spawn(Holding::Pooler, &self.path, vec![file.into_os_string()])?;
        let listens = format!("listening on {address}");
        await_ready(workdir, &self.path, pid, || {
            Ok(workdir.log_text()?.contains(&listens))
        })
        .map(|ended| ended.map(|()| address))
    }
}
