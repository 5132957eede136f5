//! Where servers and what is known of them lie.

use std::env;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::workspace::Workspace;

use super::account::Account;
use super::server::Server;

/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";

/// What a file system in memory must have free to hold databases.
const MEMORY_NEEDED: u64 = 2 << 30;

/// The folders of one checkout.
pub(super) struct Home {
    folder: PathBuf,
    /// The same, unless the account that servers run as may not enter it.
    public: PathBuf,
    pub(super) account: Account,
}

impl Home {
    pub(super) fn of(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("services");
        fs::create_dir_all(folder.join("runs")).with_context(|| folder.display().to_string())?;
        let account = Account::current()?;
        let public = if account.reaches(&folder) {
            folder.clone()
        } else {
            public_folder(account, &folder)?
        };
        Ok(Self {
            folder,
            public,
            account,
        })
    }

    /// Waits until no other command of this checkout changes what lies here. The lock ends with the
    /// file, and with the process.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        file.lock().with_context(|| path.display().to_string())?;
        Ok(file)
    }

    /// A folder per run that has not been cleaned up.
    pub(super) fn runs(&self) -> Result<Vec<PathBuf>> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(self.folder.join("runs"))? {
            runs.push(entry?.path());
        }
        runs.sort();
        Ok(runs)
    }

    /// A name for a new run that no other has, on this machine or another with the same folder.
    pub(super) fn new_run(&self) -> Result<PathBuf> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let name = format!("{nanos:x}-{}", hex::encode(random::<4>()?));
        Ok(self.folder.join("runs").join(name))
    }

    /// Where the data of a run's server goes: into memory if there is enough of it.
    pub(super) fn data(&self, run: &Path, server: Server) -> PathBuf {
        let run = run.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("ordered-sync-{run}-{server}");
        if has_room(Path::new(MEMORY)) {
            Path::new(MEMORY).join(name)
        } else {
            self.public.join("data").join(name)
        }
    }

    /// Where fetched programs are kept.
    pub(super) fn programs(&self) -> PathBuf {
        self.public.join("programs")
    }
}

/// Random bytes, good enough for a password.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes)
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= MEMORY_NEEDED)
}

/// A folder that belongs to root and that everybody may enter, for a checkout that only root may.
fn public_folder(account: Account, folder: &Path) -> Result<PathBuf> {
    let name = folder.as_os_str().as_encoded_bytes();
    let name = hex::encode(Sha256::digest(name));
    let name = format!("ordered-sync-{}", name.get(..16).unwrap_or_default());
    let parents = [env::temp_dir(), "/var/tmp".into(), "/tmp".into()];
    let Some(parent) = parents.iter().find(|parent| account.reaches(parent)) else {
        bail!(
            "{}: the account that servers run as may not enter this folder",
            folder.display()
        );
    };
    let public = parent.join(name);
    match fs::create_dir(&public) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| public.display().to_string());
        }
        _ => {}
    }
    // Anybody may make folders there, with any name. Nothing is run from another's.
    let found = public.symlink_metadata()?;
    ensure!(
        found.is_dir() && found.uid() == rustix::process::getuid().as_raw(),
        "{} belongs to somebody else",
        public.display()
    );
    fs::set_permissions(&public, Permissions::from_mode(0o755))?;
    Ok(public)
}
