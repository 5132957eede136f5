use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sync_core::Durability;
use sync_kit::fault::Faults;

/// How to open a database file.
///
/// ```
/// use std::time::Duration;
/// use sync_sqlite::{Durability, SqliteConfig};
///
/// let config = SqliteConfig::new("sync.db")
///     .durability(Durability::Process)
///     .busy_timeout(Duration::from_secs(10));
/// ```
#[derive(Clone)]
#[must_use]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) busy_timeout: Duration,
    pub(crate) readers: usize,
    pub(crate) cache_kib: usize,
    pub(crate) read_only: bool,
    pub(crate) faults: Faults,
    #[cfg(feature = "fault-injection")]
    pub(crate) work: Option<crate::fault::Work>,
}

impl SqliteConfig {
    /// The file at `path`, with the defaults of the methods below.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Machine,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            cache_kib: 64_000,
            read_only: false,
            faults: Faults::default(),
            #[cfg(feature = "fault-injection")]
            work: None,
        }
    }

    /// What an acknowledged write survives. Default: [`Durability::Machine`], `synchronous=FULL`.
    ///
    /// [`Durability::Process`] is `synchronous=NORMAL`: a crash of the machine may take the newest
    /// pages, and the first page after a reboot then begins a new epoch. A file knows no less than
    /// that; [`Durability::Memory`] is taken as `Process`.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability.max(Durability::Process);
        self
    }

    /// How long a page waits for a writer of another process or handle before it fails with
    /// [`Busy`](sync_core::ErrorKind::Busy). Default: 5 seconds.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The most connections for reading, each on a thread of its own, started when needed.
    /// Default: 4; 0 means 1.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// How much of the file the writing connection keeps in memory, in KiB; each connection for
    /// reading keeps a quarter of that. Default: 64,000; 0 means 1.
    pub fn cache_kib(mut self, cache_kib: usize) -> Self {
        self.cache_kib = cache_kib.max(1);
        self
    }

    /// Open the file for reading only: every write fails with
    /// [`ReadOnly`](sync_core::ErrorKind::ReadOnly). Default: false.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Calls `hook` at every statement boundary of a page, where an error of it is the fault:
    /// before each statement that writes or looks up, before the commit (`commit`), and after the
    /// commit and before the answer (`committed`).
    #[cfg(feature = "fault-injection")]
    pub fn on_boundary(mut self, hook: crate::fault::Hook) -> Self {
        self.faults = Faults::at_boundaries(hook);
        self
    }

    /// Counts in `work` what the statements of every connection cost.
    #[cfg(feature = "fault-injection")]
    pub fn count_work(mut self, work: crate::fault::Work) -> Self {
        self.work = Some(work);
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("path", &self.path)
            .field("durability", &self.durability)
            .field("busy_timeout", &self.busy_timeout)
            .field("readers", &self.readers)
            .field("cache_kib", &self.cache_kib)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
