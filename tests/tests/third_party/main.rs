//! A backend by somebody else, judged by the suite: one dev-dependency and one line.
//!
//! It keeps every page in a journal file and replays the file when it is opened. `codec`,
//! `journal` and `maps` are its medium; `engine` and `space` are what the contract asks of it, on
//! `sync-kit`.

mod codec;
mod engine;
mod journal;
mod maps;
mod space;

use std::fs;
use std::path::PathBuf;

use sync_conformance::{Database, Harness, Power};
use sync_core::{Backend, Migrated, Result};
use tempfile::TempDir;

use engine::{JournalBackend, JournalConfig};
use journal::failed;

/// What the suite has to know. The journal cannot be opened by two processes, has no statements to
/// fail or count, and no way to set a head, so it declares none of these powers.
#[derive(Default)]
struct JournalHarness;

struct JournalDatabase {
    config: JournalConfig,
    directory: TempDir,
}

impl JournalDatabase {
    fn aside(&self) -> PathBuf {
        self.directory.path().join("aside")
    }
}

impl Harness for JournalHarness {
    type Backend = JournalBackend;
    type Database = JournalDatabase;

    fn powers(&self) -> &[Power] {
        &[Power::Copies, Power::Unmigrated, Power::Newer]
    }

    fn fresh(&self) -> Result<JournalDatabase> {
        let database = self.empty()?;
        self.block_on(database.migrate())?;
        Ok(database)
    }

    fn empty(&self) -> Result<JournalDatabase> {
        let directory = TempDir::new().map_err(failed)?;
        let config = JournalConfig::new(directory.path().join("journal"));
        Ok(JournalDatabase { config, directory })
    }

    fn newer(&self) -> Result<JournalDatabase> {
        let database = self.empty()?;
        fs::write(&database.config.path, "journal 2\n").map_err(failed)?;
        Ok(database)
    }
}

impl Database for JournalDatabase {
    type Backend = JournalBackend;

    async fn connect(&self) -> Result<JournalBackend> {
        JournalBackend::connect(self.config.clone()).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        JournalBackend::migrate(&self.config).await
    }

    fn copy_aside(&self) -> Result<()> {
        fs::copy(&self.config.path, self.aside()).map_err(failed)?;
        Ok(())
    }

    fn put_back(&self) -> Result<()> {
        fs::copy(self.aside(), &self.config.path).map_err(failed)?;
        Ok(())
    }
}

sync_conformance::suite!(JournalHarness);
