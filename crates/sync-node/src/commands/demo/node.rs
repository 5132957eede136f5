use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use sync_hydrate::Status;
use sync_store::sqlite::{SqliteBackend, SqliteConfig, SqliteStore};
use sync_store::{Backend as _, SpaceName, SyncStore as _, SyncStoreExt as _};

use super::compare;
use crate::count::Count;
use crate::failure::{Failure, Result};

/// How often the file of a process that is to be killed is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// This program, as other processes that fill databases from one Gatekeeper.
pub(super) struct Node {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    page_limit: u32,
    space: SpaceName,
}

/// The contents of a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contents {
    pub(super) phase: &'static str,
    pub(super) rows: u64,
    pub(super) ordered: u64,
    /// All tombstones in the feed.
    pub(super) tombstones: u64,
    /// Those that refuse their operation. The others are history: the operation was added again.
    pub(super) tombstones_in_effect: u64,
    /// How far the log is read.
    pub(super) cursor: Option<u64>,
    /// How far the backfill is.
    pub(super) walked: Option<u64>,
    /// The findings of a recount.
    pub(super) findings: Vec<String>,
}

/// A process that is killed when this value is dropped.
struct Running(Child);

impl Node {
    /// Pages are small enough for a log of `operations` to take many of them.
    pub(super) fn new(folder: &Path, url: &str, operations: u32) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::io("the place of this program", error))?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            url: url.to_owned(),
            page_limit: (operations / 100).clamp(1, 500),
            space: SpaceName::new("demo")?,
        })
    }

    /// Creates the database.
    pub(super) async fn migrate(&self, file: &str) -> Result<()> {
        SqliteBackend::migrate(&SqliteConfig::new(self.folder.join(file))).await?;
        Ok(())
    }

    /// Opens the database for reading, as another process would.
    pub(super) async fn open(&self, file: &str) -> Result<SqliteStore> {
        let config = SqliteConfig::new(self.folder.join(file)).read_only(true);
        let backend = SqliteBackend::connect(config).await?;
        Ok(backend.open(&self.space).await?)
    }

    /// Recounts the file.
    pub(super) async fn look(&self, file: &str) -> Result<Contents> {
        let store = self.open(file).await?;
        let report = store.verify().await?;
        let mut contents = Contents::read(&store).await?;
        contents.tombstones_in_effect = compare::in_effect(&store).await?.len() as u64;
        let findings = report.findings.iter();
        contents.findings.extend(findings.map(ToString::to_string));
        Ok(contents)
    }

    /// Fills the database in a process of its own, to the end.
    pub(super) fn fill(&self, file: &str, flags: &[&str]) -> Result<()> {
        let mut child = self.start(file, flags)?;
        let status = child
            .0
            .wait()
            .map_err(|error| Failure::io("a process", error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the process that fills {file} ended: {status}"
        )))
    }

    /// Fills the database in a process of its own and kills that as soon as the contents of the file
    /// satisfy `is_reached`. Answers the contents after the kill, or nothing where the process ended
    /// before.
    pub(super) async fn kill_when(
        &self,
        file: &str,
        is_reached: impl Fn(&Contents) -> bool + Send + Sync,
    ) -> Result<Option<Contents>> {
        let mut child = self.start(file, &[])?;
        let failed = |error| Failure::io("a process", error);
        let store = self.open(file).await?;
        while !is_reached(&Contents::read(&store).await?) {
            if child.0.try_wait().map_err(failed)?.is_some() {
                return Ok(None);
            }
            thread::sleep(GLANCE);
        }
        child.0.kill().map_err(failed)?;
        child.0.wait().map_err(failed)?;
        drop(store);
        self.look(file).await.map(Some)
    }

    fn start(&self, file: &str, flags: &[&str]) -> Result<Running> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command
            .arg("hydrate")
            .args(["--store", &format!("sqlite:{file}")])
            .args(["--space", self.space.as_str()])
            .args(["--from", &self.url])
            .args(["--page-limit", &self.page_limit.to_string()])
            .args(flags)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn();
        child
            .map(Running)
            .map_err(|error| Failure::io("starting a process", error))
    }
}

fn is_ours(name: &OsString) -> bool {
    name.to_string_lossy().starts_with("SYNC_NODE_")
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Contents {
    async fn read(store: &SqliteStore) -> Result<Self> {
        let status = Status::load(store).await?;
        let status = status.as_ref();
        let counters = store.stats().await?;
        Ok(Self {
            phase: status.map_or("new", |status| status.phase.name()),
            rows: counters.total,
            ordered: counters.ordered,
            tombstones: counters.tombstones,
            // Counted by `look` alone, because it takes a walk.
            tombstones_in_effect: 0,
            cursor: status.and_then(|status| status.cursor).map(u64::from),
            walked: status.and_then(|status| status.backfilled).map(u64::from),
            findings: Vec::new(),
        })
    }
}

/// The end of a sentence.
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the file holds {}, {} of them ordered, and {}, {} of them in effect",
            Count(self.rows, "row"),
            self.ordered,
            Count(self.tombstones, "tombstone"),
            self.tombstones_in_effect
        )?;
        if let Some(cursor) = self.cursor {
            write!(f, ", is read up to {cursor}")?;
        }
        if let Some(walked) = self.walked.filter(|walked| *walked > 0) {
            write!(f, ", backfilled up to {walked} ({})", self.phase)?;
        }
        match self.findings.len() {
            0 => f.write_str(", and is sound"),
            findings => write!(f, ", and has {}", Count(findings, "fault")),
        }
    }
}
