//! The migrations under `migrations/<backend>/`, and the seal on those that were released.
//!
//! A migration that ran on a user's database cannot be changed: the change would reach new
//! databases only. `migrations/SHA256SUMS` lists the released ones, in the format of `sha256sum`.
//! A listed migration stays as it is; new ones come after it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

/// The folder below the workspace's root.
pub(super) const FOLDER: &str = "migrations";

const SUMS: &str = "SHA256SUMS";

/// One migration file.
#[derive(Debug)]
struct Migration {
    /// `sqlite/V1__init.sql`: from the migrations folder, with `/` on every system.
    path: String,
    backend: String,
    /// Absent if the file's name is not `V<N>__<name>.<extension>`.
    version: Option<u32>,
    sum: String,
}

/// All migrations, and what the seal says about them.
#[derive(Debug)]
pub(crate) struct Migrations {
    folder: PathBuf,
    files: Vec<Migration>,
    /// Path to checksum.
    sealed: BTreeMap<String, String>,
}

impl Migrations {
    /// Reads `folder`. One that does not exist holds no migrations.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for backend in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&backend)? {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                files.push(Migration {
                    path: format!("{}/{}", file_name(&backend), file_name(&path)),
                    backend: file_name(&backend),
                    version: version(&file_name(&path)),
                    sum: hex::encode(Sha256::digest(&bytes)),
                });
            }
        }
        files.sort_by(|a, b| {
            (&a.backend, a.version, &a.path).cmp(&(&b.backend, b.version, &b.path))
        });
        let sums = match fs::read_to_string(folder.join(SUMS)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            sums => sums.with_context(|| folder.join(SUMS).display().to_string())?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            files,
            sealed: parse_sums(&sums)?,
        })
    }

    /// Everything that breaks the rule of forward-only migrations.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        for Migration {
            path,
            backend,
            version,
            ..
        } in &self.files
        {
            let Some(version) = *version else {
                problems.push(format!("{path}: expected a name like V2__add_index.sql"));
                continue;
            };
            let last = last.entry(backend).or_default();
            if version != *last + 1 {
                problems.push(format!("{path}: version {version} does not follow {last}"));
            }
            *last = version;
        }
        for (path, sum) in &self.sealed {
            match self.files.iter().find(|file| file.path == *path) {
                None => problems.push(format!("{path}: a released migration is gone")),
                Some(file) if file.sum != *sum => {
                    problems.push(format!("{path}: a released migration has changed"));
                }
                Some(_) => {}
            }
        }
        problems
    }

    /// Writes the checksums of all migrations. Call it only where there are no problems.
    pub(super) fn seal(&self) -> Result<()> {
        ensure!(!self.files.is_empty(), "there is no migration to seal");
        let lines = self
            .files
            .iter()
            .map(|file| format!("{}  {}\n", file.sum, file.path));
        let path = self.folder.join(SUMS);
        fs::write(&path, lines.collect::<String>()).with_context(|| path.display().to_string())
    }

    /// One line for a summary.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} migrations, {} sealed",
            self.files.len(),
            self.sealed.len()
        )
    }
}

impl fmt::Display for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Migration { path, sum, .. } in &self.files {
            let state = if self.sealed.contains_key(path) {
                "sealed"
            } else {
                "open"
            };
            writeln!(f, "{sum}  {state:<6}  {path}")?;
        }
        writeln!(f, "{}", self.summary())
    }
}

/// The number in `V<N>__<name>.<extension>`, written without leading zeros.
fn version(name: &str) -> Option<u32> {
    let (number, name) = name.strip_prefix('V')?.split_once("__")?;
    let (name, extension) = name.split_once('.')?;
    let version = number.parse().ok()?;
    let plain = format!("{version}") == number && !name.is_empty() && !extension.is_empty();
    plain.then_some(version)
}

fn parse_sums(text: &str) -> Result<BTreeMap<String, String>> {
    text.lines()
        .map(|line| {
            let (sum, path) = line
                .split_once("  ")
                .with_context(|| format!("{SUMS}: `{line}`"))?;
            Ok((path.to_owned(), sum.to_owned()))
        })
        .collect()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| folder.display().to_string())?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
