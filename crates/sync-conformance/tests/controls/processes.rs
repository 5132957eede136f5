//! The store of the cases that start other processes: a file of `sync-sqlite`, which is sound, and
//! a broken layer around its calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sync_conformance::{BoundaryHook, Case, Database, Harness, Outcome, Power, run_case_in};
use sync_core::{
    Applied, Backend, Batch, Bytes, Capabilities, Description, Epoch, Error, ErrorKind, FeedCursor,
    FeedPage, GetPart, Known, Limit, Migrated, Object, OpId, OrderKey, Page, Payloads, Pruned,
    Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, Swept, SyncState, SyncStore, TimeKey,
    TimeRange,
};
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig};
use tempfile::TempDir;

use crate::disk::lock;
use crate::fault::{CONTROLS, Fault};

/// The name under which its processes find their entry point.
pub(crate) const SUITE: &str = "processes";

/// Runs a case that starts processes.
pub(crate) fn run(fault: Option<Fault>, case: &Case) -> Outcome {
    run_case_in(&ProcessHarness { fault }, case, SUITE)
}

pub(crate) fn the_sound_store_passes() {
    let cases = sync_conformance::CASES.iter();
    for case in cases.filter(|case| case.needs.contains(&Power::Processes)) {
        assert_eq!(run(None, case), Outcome::Passed, "{case}");
    }
}

#[derive(Default)]
pub(crate) struct ProcessHarness {
    fault: Option<Fault>,
}

/// A file, in a directory of its own unless another process owns it.
pub(crate) struct File {
    config: Config,
    _directory: Option<TempDir>,
}

#[derive(Clone)]
pub(crate) struct Config {
    sqlite: SqliteConfig,
    fault: Option<Fault>,
}

impl File {
    fn new(path: PathBuf, fault: Option<Fault>, directory: Option<TempDir>) -> Self {
        let sqlite = SqliteConfig::new(path)
            .durability(Durability::Process)
            .busy_timeout(Duration::from_mins(1));
        Self {
            config: Config { sqlite, fault },
            _directory: directory,
        }
    }
}

impl Harness for ProcessHarness {
    type Backend = Layer;
    type Database = File;

    fn powers(&self) -> &[Power] {
        &[Power::Processes, Power::Boundaries, Power::Unmigrated]
    }

    fn fresh(&self) -> Result<File> {
        let file = self.empty()?;
        self.block_on(SqliteBackend::migrate(&file.config.sqlite))?;
        Ok(file)
    }

    fn empty(&self) -> Result<File> {
        let directory =
            TempDir::new().map_err(|error| Error::new(ErrorKind::Failed).with_source(error))?;
        let path = directory.path().join("control.db");
        Ok(File::new(path, self.fault, Some(directory)))
    }

    /// The other process learns from the locator what is wrong with the store.
    fn attach(&self, locator: &str) -> Result<File> {
        let Some((name, path)) = locator.split_once(':') else {
            return Err(Error::new(ErrorKind::NotFound));
        };
        let control = CONTROLS.iter().find(|control| control.name == name);
        Ok(File::new(
            path.into(),
            control.map(|control| control.fault),
            None,
        ))
    }
}

impl Database for File {
    type Backend = Layer;

    async fn connect(&self) -> Result<Layer> {
        Layer::connect(self.config.clone()).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        Layer::migrate(&self.config).await
    }

    fn locator(&self) -> Option<String> {
        let Config { sqlite, fault } = &self.config;
        let control = CONTROLS
            .iter()
            .find(|control| Some(control.fault) == *fault);
        let name = control.map_or("", |control| control.name);
        Some(format!("{name}:{}", sqlite.path().display()))
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<Layer> {
        let Config { sqlite, fault } = self.config.clone();
        let sqlite = sqlite.on_boundary(hook);
        Layer::connect(Config { sqlite, fault }).await
    }
}

/// A connection, and what goes wrong around it.
pub(crate) struct Layer {
    inner: SqliteBackend,
    fault: Option<Fault>,
    /// Rows that a sweep says it has removed.
    swept: Mutex<u64>,
}

impl Backend for Layer {
    type Config = Config;
    type Store = LayerStore;

    const NAME: &'static str = "control-sqlite";

    async fn connect(Config { sqlite, fault }: Config) -> Result<Self> {
        Ok(Self {
            inner: SqliteBackend::connect(sqlite).await?,
            fault,
            swept: Mutex::default(),
        })
    }

    async fn migrate(Config { sqlite, fault }: &Config) -> Result<Migrated> {
        if *fault == Some(Fault::MigratesWithoutALock) {
            let looked = SqliteBackend::connect(sqlite.clone()).await.is_ok();
            thread::sleep(Duration::from_millis(300));
            let Migrated { to, .. } = SqliteBackend::migrate(sqlite).await?;
            let from = if looked { to } else { 0 };
            return Ok(Migrated { from, to });
        }
        SqliteBackend::migrate(sqlite).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn describe(&self) -> Result<Description> {
        self.inner.describe().await
    }

    async fn open(&self, space: &SpaceName) -> Result<LayerStore> {
        Ok(LayerStore {
            inner: Arc::new(self.inner.open(space).await?),
            fault: self.fault,
            behind: Mutex::default(),
        })
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        self.inner.spaces(after, limit).await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        self.inner.drop_space(space).await
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        match self.fault {
            Some(Fault::SweepTakesLiveRows) => {
                for space in self.inner.spaces(None, rows).await? {
                    let store = self.inner.open(&space).await?;
                    let first = store
                        .scan_keys(TimeRange::ALL, None, Limit::rows(1))
                        .await?;
                    for TimeKey { id, .. } in first.items {
                        let reason = sync_core::TombstoneReason::Removed;
                        let page = Page::new().delete(sync_core::Delete::new(id, reason));
                        let _ = store.apply(page).await?;
                    }
                }
                self.inner.sweep(rows).await
            }
            // Nothing is removed before the last piece.
            Some(Fault::SweepIsForgotten) => {
                let mut swept = lock(&self.swept);
                let removed = (rows as u64).min(2_001 - *swept);
                *swept += removed;
                Ok(Swept {
                    removed,
                    more: *swept < 2_001,
                })
            }
            _ => self.inner.sweep(rows).await,
        }
    }
}

pub(crate) struct LayerStore {
    inner: Arc<<SqliteBackend as Backend>::Store>,
    fault: Option<Fault>,
    /// Pages that were answered and not written.
    behind: Mutex<Vec<Page>>,
}

impl LayerStore {
    /// Puts a page behind the others, and answers all of them when there are many.
    fn due(&self, page: Page) -> Vec<Page> {
        let mut behind = lock(&self.behind);
        behind.push(page);
        if behind.len() < 10_000 {
            return Vec::new();
        }
        std::mem::take(&mut *behind)
    }
}

impl SyncState for LayerStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        self.inner.load(key).await
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        self.inner.load_many(keys).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        self.inner.list(prefix, after, limit).await
    }
}

impl SyncStore for LayerStore {
    fn space(&self) -> &SpaceName {
        self.inner.space()
    }

    async fn apply(&self, mut page: Page) -> Result<Applied> {
        match self.fault {
            Some(Fault::CursorWrittenAfterTheRows) => {
                let state = std::mem::take(&mut page.state);
                let applied = self.inner.apply(page).await?;
                let cursor = Page {
                    state,
                    ..Page::new()
                };
                let _ = self.inner.apply(cursor).await?;
                Ok(applied)
            }
            Some(Fault::PagesAreWrittenBehind) => {
                for page in self.due(page) {
                    let _ = self.inner.apply(page).await?;
                }
                Ok(Applied::default())
            }
            _ => self.inner.apply(page).await,
        }
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        self.inner.get(ids, limit).await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        self.inner.known(ids).await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.inner.scan_time(range, after, limit).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.inner.scan_keys(range, after, limit).await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.inner.scan_order(after, limit).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        self.inner.scan_object(object, after, limit).await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let mut page = self.inner.feed(after, limit, payloads).await?;
        if self.fault == Some(Fault::BoundReadAfterTheRows)
            && !page.more
            && let FeedCursor::After { seq, .. } = &mut page.next
        {
            *seq = self.inner.stats().await?.head;
        }
        Ok(page)
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        if self.fault == Some(Fault::OtherHandlesWakeNobody) {
            let page = self.inner.feed(after, Limit::rows(1), Payloads::Skip).await;
            return match page {
                Ok(page) if page.entries.is_empty() => std::future::pending().await,
                _ => Ok(()),
            };
        }
        self.inner.changed(after).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.inner.stats().await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        if self.fault == Some(Fault::PruneIsNotResumed) {
            let Stats { floor, .. } = self.inner.stats().await?;
            if floor > Seq::ZERO {
                return Ok(Pruned { floor, dropped: 0 });
            }
            // Long enough to be killed between the first piece and the second.
            let first = Seq::ZERO.next().unwrap_or(Seq::MAX);
            self.inner.prune(first.min(up_to)).await?;
            thread::sleep(Duration::from_secs(1));
        }
        self.inner.prune(up_to).await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.inner.new_epoch().await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.inner.check().await
    }
}
