//! Which migrations a database needs: the decision that every backend with a schema shares.

use crate::{Error, ErrorKind, Result};

/// One step of a backend's schema. A released one never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version that the schema has afterwards. The first one is 1, and none is left out.
    pub version: u32,
    /// A short name, as in its file's name.
    pub name: &'static str,
    /// What the backend runs.
    pub text: &'static str,
}

impl Migration {
    /// The BLAKE3 of its text in hex, which is recorded where it was applied.
    pub fn checksum(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }
}

/// What a database, or the part of it that a backend would use, holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Empty,
    /// Our schema.
    Ours {
        /// Its version.
        version: u32,
    },
    /// Something that is not ours.
    Foreign,
}

/// What a database records of a migration that was applied to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The version.
    pub version: u32,
    /// The checksum of the text that was applied.
    pub checksum: String,
}

/// The version that `all` lead to.
pub fn supported(all: &[Migration]) -> u32 {
    all.last().map_or(0, |migration| migration.version)
}

/// Refuses what a connection cannot use: everything but the supported version.
///
/// The error is [`SchemaMismatch`](ErrorKind::SchemaMismatch), with version 0 for an empty
/// database, or [`Foreign`](ErrorKind::Foreign).
pub fn require(contents: Contents, all: &[Migration]) -> Result<()> {
    let supported = supported(all);
    let found = match contents {
        Contents::Ours { version } if version == supported => return Ok(()),
        Contents::Ours { version } => version,
        Contents::Empty => 0,
        Contents::Foreign => return Err(Error::new(ErrorKind::Foreign)),
    };
    Err(Error::new(ErrorKind::SchemaMismatch { found, supported }))
}

/// The migrations that are missing, oldest first.
///
/// - [`SchemaMismatch`](ErrorKind::SchemaMismatch) for a newer schema.
/// - [`Foreign`](ErrorKind::Foreign) for what is not ours.
/// - [`Corrupt`](ErrorKind::Corrupt) where a migration that was applied is not recorded, or with
///   another text: two builds disagree about what the schema is.
pub fn decide<'m>(
    contents: Contents,
    history: &[Recorded],
    all: &'m [Migration],
) -> Result<Vec<&'m Migration>> {
    let from = match contents {
        Contents::Empty => 0,
        Contents::Ours { version } if version <= supported(all) => version,
        Contents::Ours { .. } | Contents::Foreign => {
            require(contents, all)?;
            0
        }
    };
    for migration in all.iter().filter(|migration| migration.version <= from) {
        let version = migration.version;
        let recorded = history.iter().find(|applied| applied.version == version);
        let what = match recorded {
            Some(recorded) if recorded.checksum == migration.checksum() => continue,
            Some(_) => "has another text than this program's",
            None => "is not recorded in the database",
        };
        return Err(
            Error::new(ErrorKind::Corrupt).with_message(format!("migration {version} {what}"))
        );
    }
    Ok(all.iter().filter(|m| m.version > from).collect())
}

#[cfg(test)]
mod tests;
