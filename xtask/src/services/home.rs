//! The folders that hold servers and the records of them.

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

/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";

/// What it must have free to hold databases.
const MEMORY_NEEDED: u64 = 2 << 30;

/// The folders of one checkout.
pub(super) struct Home {
    folder: PathBuf,
    /// The same, unless the account that servers run as may not enter it.
    public: PathBuf,
    root: PathBuf,
    servers_program: Option<PathBuf>,
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
            root: workspace.root().to_owned(),
            servers_program: None,
            account,
        })
    }

    /// The root of the checkout.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The program `servers` of `tests/`, if a build has left it already.
    pub(super) fn servers_program(&self) -> Option<&Path> {
        self.servers_program.as_deref()
    }

    pub(super) fn with_servers_program(self, program: Option<&Path>) -> Self {
        let servers_program = program.map(Path::to_owned);
        Self {
            servers_program,
            ..self
        }
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

    /// Where the data of a server goes: into memory if there is enough of it.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        let name = format!("ordered-sync-{name}");
        memory()
            .map_or_else(|| self.public.join("data"), Path::to_owned)
            .join(name)
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

/// A folder in memory, if this machine has one with enough room.
pub(crate) fn memory() -> Option<&'static Path> {
    let has_room = rustix::fs::statvfs(MEMORY)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= MEMORY_NEEDED);
    has_room.then_some(Path::new(MEMORY))
}

/// A name for what belongs to a folder and lies elsewhere.
pub(crate) fn name_of(folder: &Path) -> String {
    let hash = hex::encode(Sha256::digest(folder.as_os_str().as_encoded_bytes()));
    format!("ordered-sync-{}", hash.get(..16).unwrap_or_default())
}

/// A folder that belongs to root and that every account may enter, for a checkout that only root may.
fn public_folder(account: Account, folder: &Path) -> Result<PathBuf> {
    let parents = [env::temp_dir(), "/var/tmp".into(), "/tmp".into()];
    let Some(parent) = parents.iter().find(|parent| account.reaches(parent)) else {
        bail!(
            "{}: the account that servers run as may not enter this folder",
            folder.display()
        );
    };
    let public = parent.join(name_of(folder));
    match fs::create_dir(&public) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| public.display().to_string());
        }
        _ => {}
    }
    // Every account may make folders there, with any name. Programs of another one are not run.
    let found = public.symlink_metadata()?;
    ensure!(
        found.is_dir() && found.uid() == rustix::process::getuid().as_raw(),
        "{} belongs to another account",
        public.display()
    );
    fs::set_permissions(&public, Permissions::from_mode(0o755))?;
    Ok(public)
}
