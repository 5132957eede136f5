//! Filling a space from a source: the snapshot, then the log.

mod actions;
mod admit;
mod changes;
mod cut;
mod cycle;
mod history;
mod snapshot;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::future;
use sync_core::{Applied, ErrorKind as StoreErrorKind, Page, SyncStore};

use self::changes::Poll;
use self::cycle::CycleDetector;
use crate::state::{self, BACKFILL, Entry, Loaded, NAME, POSITION, Position, Resume};
use crate::{
    Advance, BackfillStep, ChangesPage, Error, ErrorKind, HydrateConfig, Phase, Progress, Result,
    SnapshotCursor, SnapshotPage, Source, SourceError, SyncOrder,
};

/// Fills one space from one source, and keeps it current.
///
/// Everything it remembers is in the space's state and changes with the rows, so that a hydrator may
/// be dropped, killed or cancelled at any moment, and another one resumes there. Several may work on one
/// space: of two pages that begin at one position one is stored, and the other hydrator goes on behind it.
///
/// - A new space begins with a [snapshot](crate::Start::Snapshot) or with the
///   [log](crate::Start::Log), and remembers its source's name. Another source is refused.
/// - Memory holds one page of the source and the next one; it does not grow with the log.
/// - After an error the same call may be made again.
#[derive(Debug)]
pub struct Hydrator<St, So> {
    pub(crate) store: St,
    pub(crate) source: So,
    pub(crate) config: HydrateConfig,
    pub(crate) progress: Progress,
    /// The state, as long as nothing can have changed it but the page that comes next.
    pub(crate) loaded: Option<Loaded>,
    /// The reading of the log that is under way.
    poll: Option<Poll>,
    /// Positions above the settled tip that were read. The missing ones may still appear.
    seen: BTreeSet<SyncOrder>,
    /// What was read while the page before it was stored.
    prefetched: Option<Prefetched>,
    /// Detects a snapshot that does not end.
    cycle: CycleDetector,
}

/// A request that was made ahead, and its answer.
#[derive(Debug)]
enum Prefetched {
    Snapshot(SnapshotCursor, SnapshotPage),
    Changes(SyncOrder, ChangesPage),
    Failed(Next, SourceError),
}

/// A request for the page after the one that is being stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Snapshot(SnapshotCursor),
    Changes(SyncOrder),
}

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// A hydrator of `store` from `source`. Nothing is read yet.
    pub fn new(store: St, source: So, config: HydrateConfig) -> Self {
        Self {
            store,
            source,
            config,
            progress: Progress::default(),
            loaded: None,
            poll: None,
            seen: BTreeSet::new(),
            prefetched: None,
            cycle: CycleDetector::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &St {
        &self.store
    }

    /// The source.
    pub fn source(&self) -> &So {
        &self.source
    }

    /// How far it is, and what it did.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Fills the space to the source's tip, then backfills to the end, and reads what was
    /// published meanwhile. `observe` is called after every page.
    ///
    /// Dropping the future ends it at once, and loses nothing that was stored.
    pub async fn run(
        &mut self,
        clock: impl Fn() -> SystemTime + Send,
        mut observe: impl FnMut(&Progress) + Send,
    ) -> Result<()> {
        let mut backfilled = true;
        while backfilled {
            backfilled = false;
            loop {
                let advance = self.advance(clock()).await?;
                observe(&self.progress);
                // Backfill comes before reading again, which may be long: a process that is always
                // killed before the end of that still gets on with backfill.
                if matches!(advance, Advance::Again | Advance::AtTip) {
                    while self.backfill(clock()).await? == BackfillStep::Page {
                        backfilled = true;
                        observe(&self.progress);
                    }
                }
                if advance == Advance::AtTip {
                    break;
                }
            }
        }
        observe(&self.progress);
        Ok(())
    }

    /// Reads and stores the next page: of the snapshot, then of the log. At the tip it looks for
    /// what is new with every call.
    pub async fn advance(&mut self, now: SystemTime) -> Result<Advance> {
        let loaded = self.load().await?;
        match loaded.position.value.as_ref().map(|p| &p.resume) {
            Some(Resume::Changes(at)) => {
                let at = at.clone();
                self.advance_changes(loaded, at, seconds(now)).await
            }
            Some(Resume::Snapshot { .. }) => self.advance_snapshot(loaded, seconds(now)).await,
            None => self.begin(loaded, seconds(now)).await,
        }
    }

    /// The state of the space, if this source may fill it.
    pub(crate) async fn load(&mut self) -> Result<Loaded> {
        let loaded = if let Some(loaded) = self.loaded.take() {
            loaded
        } else {
            self.forget();
            Loaded::read(&self.store).await?
        };
        match &loaded.name {
            Some(name) if name != self.source.name().as_bytes() => {
                Err(Error::new(ErrorKind::OtherSource {
                    stored: String::from_utf8_lossy(name).into_owned(),
                }))
            }
            _ => Ok(loaded),
        }
    }

    /// Forgets what was read, which may be of a history that is over.
    fn forget(&mut self) {
        self.poll = None;
        self.seen.clear();
        self.prefetched = None;
        self.cycle = CycleDetector::default();
    }

    /// A page that is stored only if the state still is `loaded`, and that sets `position`. With `reset`
    /// it also empties the space.
    fn page(&self, loaded: &Loaded, position: &Entry<Position>, reset: bool) -> Result<Page> {
        let mut page = Self::fenced(loaded)?.replacing().reviving();
        page.reset = reset;
        if reset || loaded.name.is_none() {
            page = page.set(state::key(NAME)?, self.source.name().to_owned());
        }
        match &position.raw {
            Some(raw) if reset || loaded.position.raw.as_ref() != Some(raw) => {
                Ok(page.set(state::key(POSITION)?, raw.clone()))
            }
            _ => Ok(page),
        }
    }

    /// A page that is stored only if the state still is `loaded`.
    pub(crate) fn fenced(loaded: &Loaded) -> Result<Page> {
        Ok(Page::new()
            .expect(state::key(NAME)?, loaded.name.clone())
            .expect(state::key(POSITION)?, loaded.position.raw.clone())
            .expect(state::key(BACKFILL)?, loaded.backfill.raw.clone()))
    }

    /// Applies a page, while the next one is read. `None` where another hydrator stored it first.
    pub(crate) async fn apply(
        &mut self,
        page: Page,
        next: Option<Next>,
    ) -> Result<Option<Applied>> {
        let store = async {
            let began = Instant::now();
            (self.store.apply(page).await, began.elapsed())
        };
        let prefetched = async {
            let limit = self.config.page_limit;
            let next = next?;
            let page = match &next {
                Next::Snapshot(cursor) => {
                    let page = self.source.snapshot(Some(cursor), limit).await;
                    page.map(|page| Prefetched::Snapshot(cursor.clone(), page))
                }
                Next::Changes(after) => {
                    let page = self.source.changes(*after, limit).await;
                    page.map(|page| Prefetched::Changes(*after, page))
                }
            };
            // The page before is stored even if this request fails; the error is told afterwards.
            Some(page.unwrap_or_else(|error| Prefetched::Failed(next, error)))
        };
        let ((outcome, took), prefetched) = future::join(store, prefetched).await;
        self.progress.stored += took;
        match outcome {
            Ok(applied) => {
                self.progress.totals += applied.totals();
                self.prefetched = prefetched;
                Ok(Some(applied))
            }
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict(_)) => {
                self.progress.conflicts += 1;
                tracing::debug!(space = %self.store.space(), "another hydrator stored the page first");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn snapshot_page(&mut self, after: Option<&SnapshotCursor>) -> Result<SnapshotPage> {
        let page = match self.prefetched.take() {
            Some(Prefetched::Snapshot(asked, page)) if Some(&asked) == after => page,
            Some(Prefetched::Failed(Next::Snapshot(asked), error)) if Some(&asked) == after => {
                return Err(error.into());
            }
            _ => self.source.snapshot(after, self.config.page_limit).await?,
        };
        self.progress.pages += 1;
        self.progress.records += (page.operations.len() + page.invalid.len()) as u64;
        self.progress.spent += page.spent;
        Ok(page)
    }

    pub(crate) async fn log_page(&mut self, after: SyncOrder, limit: u32) -> Result<ChangesPage> {
        let page = match self.prefetched.take() {
            Some(Prefetched::Changes(asked, page))
                if asked == after && limit == self.config.page_limit =>
            {
                page
            }
            Some(Prefetched::Failed(Next::Changes(asked), error))
                if asked == after && limit == self.config.page_limit =>
            {
                return Err(error.into());
            }
            _ => self.source.changes(after, limit).await?,
        };
        self.progress.pages += 1;
        self.progress.records += page.changes.len() as u64;
        self.progress.spent += page.spent;
        if page.more && page.next <= after {
            return Err(Error::new(ErrorKind::NotAdvancing));
        }
        Ok(page)
    }

    /// Notes where the hydrator is, for [`progress`](Self::progress).
    pub(crate) fn at(&mut self, phase: Phase, cursor: Option<SyncOrder>, checkpoint: SyncOrder) {
        self.progress.phase = phase;
        self.progress.cursor = cursor;
        self.progress.checkpoint = Some(checkpoint);
    }
}

/// Seconds since 1970. An earlier time counts as 0.
pub(crate) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
