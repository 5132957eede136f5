//! Where tests put their files: in memory, because a test of SQLite that waits for a disk waits most of
//! the time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::services::{memory, name_of};

/// A folder for temporary files. What a killed run left in it goes when the next one begins.
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// A folder of this checkout in memory; none where there is no room, and tests use the
    /// system's.
    pub(super) fn create(target: &Path) -> Result<Option<Self>> {
        let Some(memory) = memory() else {
            return Ok(None);
        };
        let scratch = Self {
            folder: memory.join(format!("{}-tests", name_of(target))),
        };
        scratch.remove();
        fs::create_dir(&scratch.folder)
            // Servers that tests start as another account have to get through.
            .and_then(|()| fs::set_permissions(&scratch.folder, Permissions::from_mode(0o755)))
            .with_context(|| scratch.folder.display().to_string())?;
        Ok(Some(scratch))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn remove(&self) {
        // A folder that is not there, or one that stays, is for the next run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}
