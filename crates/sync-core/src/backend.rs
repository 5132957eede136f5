use std::time::Duration;

use crate::{Result, SpaceName, SyncStore};

/// The connection to one database, which holds any number of spaces.
pub trait Backend: Send + Sync + Sized + 'static {
    /// How to reach the database.
    type Config: Send + Sync;
    /// A handle on one space.
    type Store: SyncStore + 'static;

    /// The backend's name in messages, errors and tables: `sqlite`.
    const NAME: &'static str;

    /// Connects.
    ///
    /// - Never migrates: another schema than the supported one is
    ///   [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch), what belongs to something else is
    ///   [`Foreign`](crate::ErrorKind::Foreign), and neither is written to.
    fn connect(config: Self::Config) -> impl Future<Output = Result<Self>> + Send;

    /// Brings the database to the supported schema, creating it where there is none.
    ///
    /// - Forward only, under a lock: of many that start together one migrates.
    /// - A newer schema is refused and nothing is written.
    fn migrate(config: &Self::Config) -> impl Future<Output = Result<Migrated>> + Send;

    /// What the backend promises.
    fn capabilities(&self) -> Capabilities;

    /// The database behind the connection, and how it is set up. For people: nothing in a program
    /// should depend on it.
    ///
    /// - O(1) in the number of rows, and never a secret.
    fn describe(&self) -> impl Future<Output = Result<Description>> + Send;

    /// A handle on a space, in O(1).
    ///
    /// - Writes nothing: a space that does not exist is created by its first page that writes.
    fn open(&self, space: &SpaceName) -> impl Future<Output = Result<Self::Store>> + Send;

    /// The names of at most `limit` spaces after `after`, by their bytes.
    fn spaces(
        &self,
        after: Option<&SpaceName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SpaceName>>> + Send;

    /// Removes a space at once and sweeps what it held later. Whether it existed.
    ///
    /// - Open handles read it as a space that does not exist; a page through one creates it anew,
    ///   with a new epoch.
    fn drop_space(&self, space: &SpaceName) -> impl Future<Output = Result<bool>> + Send;

    /// Removes at most `rows` rows that resets and drops left behind.
    ///
    /// - Backends also sweep on their own, while they have nothing better to do.
    /// - Never touches a current incarnation.
    fn sweep(&self, rows: usize) -> impl Future<Output = Result<Swept>> + Send;
}

/// What a backend promises. The conformance suite asserts what is declared.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What an answered page survives.
    pub durability: Durability,
    /// Several processes may use one database.
    pub multi_process: bool,
    /// How long [`changed`](SyncStore::changed) may take to notice a page applied through another
    /// handle or process.
    pub notify_delay: Duration,
}

/// What an answered page survives.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: the data lives as long as the process that holds it, which is the program's own, or
    /// a server that keeps nothing on a disk.
    Memory,
    /// The end of the process, however sudden; not a crash of the machine, after which the next
    /// page begins a new epoch.
    Process,
    /// A crash of the machine.
    Machine,
}

/// A database, as people look at it.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name and version: `SQLite 3.53.0`, `Valkey 9.1.2`.
    pub server: String,
    /// Settings that decide what of an answered page survives, as the database calls them:
    /// `appendfsync` is `everysec`.
    pub settings: Vec<(String, String)>,
    /// How many bytes the database takes in memory or on disk, indexes included, as far as it
    /// tells. With other things in the same database, an upper bound.
    pub bytes: Option<u64>,
}

/// What a migration did.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The schema version found; 0 where there was none.
    pub from: u32,
    /// The schema version now.
    pub to: u32,
}

/// What a sweep did.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows, tombstones and state entries removed.
    pub removed: u64,
    /// Whether some are left.
    pub more: bool,
}
