//! A folder of a run in which a process works, and the process.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::home::Home;
use super::process::Identity;
use super::run::{Holding, Run};
use super::server::Server;

const LOG: &str = "server.log";

/// A folder that goes with the run and that only the account of servers may enter.
pub(super) struct Workdir<'a> {
    pub(super) run: &'a Run,
    pub(super) home: &'a Home,
    pub(super) server: Server,
    pub(super) path: PathBuf,
}

impl<'a> Workdir<'a> {
    pub(super) fn create(run: &'a Run, home: &'a Home, server: Server) -> Result<Self> {
        let path = run.create_folder(server, home)?;
        Ok(Self {
            run,
            home,
            server,
            path,
        })
    }

    /// A folder inside for one of several processes.
    pub(super) fn part(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        self.home.account.give(&path)?;
        Ok(Self { path, ..*self })
    }

    /// Writes a file that only the account of servers may read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        // The folder is closed to others already.
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        self.home.account.give(&path)?;
        Ok(path)
    }

    /// Runs a program as the unprivileged account, in an environment without the user's settings.
    /// `holding` says how it is stopped.
    pub(super) fn spawn(
        &self,
        holding: fn(Identity) -> Holding,
        program: &Path,
        arguments: Vec<impl AsRef<OsStr>>,
    ) -> Result<u32> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path.join(LOG))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.path)
            .env_clear()
            .env("HOME", &self.path)
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
        self.run.spawn(self.server, holding, &mut command)
    }

    /// Everything that was written to the log.
    pub(super) fn log_text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.path.join(LOG))?).into_owned())
    }

    /// The last lines of the log, for a message.
    pub(super) fn log(&self) -> String {
        let text = self.log_text().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines.len().saturating_sub(20);
        lines.get(last..).unwrap_or_default().join("\n")
    }
}
