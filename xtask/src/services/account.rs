//! Whom servers run as. PostgreSQL refuses to run as root, and no server of a test needs to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

const NAME: &str = "nobody";

/// The account that a server runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    /// Files and processes have to be handed over to it, because this process runs as root.
    other: bool,
}

impl Account {
    /// The account of this process or, as root, one without rights.
    pub(super) fn current() -> Result<Self> {
        let uid = rustix::process::getuid();
        if !uid.is_root() {
            return Ok(Self {
                uid: uid.as_raw(),
                gid: rustix::process::getgid().as_raw(),
                other: false,
            });
        }
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        Self::find(&accounts, NAME)
            .with_context(|| format!("root runs no server, and there is no account `{NAME}`"))
    }

    /// An account of the list of accounts.
    pub(super) fn find(accounts: &str, name: &str) -> Option<Self> {
        let line = accounts
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
        Some(Self {
            uid: ids.next()??,
            gid: ids.next()??,
            other: true,
        })
    }

    /// Makes a file or folder this account's.
    pub(super) fn give(self, path: &Path) -> Result<()> {
        if self.other {
            chown(path, Some(self.uid), Some(self.gid))
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Makes `command` run as this account, without root's other groups.
    pub(super) fn run(self, command: &mut Command) {
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Whether the account may enter every folder on the way to `path`, links resolved.
    pub(super) fn reaches(self, path: &Path) -> bool {
        if !self.other {
            return true;
        }
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        path.ancestors()
            .all(|folder| fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 != 0))
    }
}
