//! Filling a space from a source: the snapshot, then the log.

mod admit;
mod changes;
mod cut;
mod history;
mod round;
mod snapshot;
mod weigh;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::future;
use sync_core::{Applied, ErrorKind as StoreErrorKind, Page, SyncStore};

use self::changes::Poll;
use self::round::Round;
use crate::state::{self, Entry, Loaded, NAME, POSITION, Place, Position, WALK};
use crate::{
    Advance, ChangesPage, Error, ErrorKind, HydrateConfig, Phase, Progress, Result, SnapshotCursor,
    SnapshotPage, Source, SourceError, SyncOrder, Walk,
};

/// Fills one space from one source, and keeps it current.
///
/// Everything it has to remember is in the space's state and changes with the rows, so that a
/// hydrator may be dropped, killed or cancelled at any moment and another one goes on where it
/// was. Several may work on one space: of two pages from one place one is stored, and the other
/// hydrator reads where that led.
///
/// - A new space begins with a [snapshot](crate::Start::Snapshot) or with the
///   [log](crate::Start::Log), and remembers its source's name. Another source is refused.
/// - Memory holds a page of the source and the one being read ahead, whatever the log's length.
/// - Errors leave everything in order: the same call may be made again.
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
    /// Positions that were read since the settled tip: those that are missing may still come.
    seen: BTreeSet<SyncOrder>,
    /// What was read while the page before it was stored.
    ahead: Option<Ahead>,
    /// Notices a snapshot that goes round.
    round: Round,
}

/// What was asked, and what came.
#[derive(Debug)]
enum Ahead {
    Snapshot(SnapshotCursor, SnapshotPage),
    Changes(SyncOrder, ChangesPage),
    Failed(Next, SourceError),
}

/// What is asked ahead.
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
            ahead: None,
            round: Round::default(),
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
        let mut walked = true;
        while walked {
            walked = false;
            loop {
                let advance = self.advance(clock()).await?;
                observe(&self.progress);
                // Before it reads again what may be much: a process that never lives for long
                // enough to do that gets on with its walk all the same.
                if matches!(advance, Advance::Again | Advance::AtTip) {
                    while self.backfill(clock()).await? == Walk::Page {
                        walked = true;
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
        match loaded.position.value.as_ref().map(|p| &p.place) {
            Some(Place::Changes(at)) => {
                let at = at.clone();
                self.advance_changes(loaded, at, seconds(now)).await
            }
            Some(Place::Snapshot { .. }) => self.advance_snapshot(loaded, seconds(now)).await,
            None => self.begin(loaded, seconds(now)).await,
        }
    }

    /// The state of a space that is ours to fill.
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

    /// Forgets what was read: it may be of a history that is over.
    fn forget(&mut self) {
        self.poll = None;
        self.seen.clear();
        self.ahead = None;
        self.round = Round::default();
    }

    /// A page that is stored only where the state still is `loaded`, and leaves it at `position`.
    /// With `reset` nothing of what was before stays.
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

    /// A page that is stored only where the state still is `loaded`.
    pub(crate) fn fenced(loaded: &Loaded) -> Result<Page> {
        Ok(Page::new()
            .expect(state::key(NAME)?, loaded.name.clone())
            .expect(state::key(POSITION)?, loaded.position.raw.clone())
            .expect(state::key(WALK)?, loaded.walk.raw.clone()))
    }

    /// Applies a page, while the next one is read. `None` where another hydrator was ahead.
    pub(crate) async fn apply(
        &mut self,
        page: Page,
        next: Option<Next>,
    ) -> Result<Option<Applied>> {
        let store = async {
            let began = Instant::now();
            (self.store.apply(page).await, began.elapsed())
        };
        let ahead = async {
            let limit = self.config.page_limit;
            let next = next?;
            let page = match &next {
                Next::Snapshot(cursor) => {
                    let page = self.source.snapshot(Some(cursor), limit).await;
                    page.map(|page| Ahead::Snapshot(cursor.clone(), page))
                }
                Next::Changes(after) => {
                    let page = self.source.changes(*after, limit).await;
                    page.map(|page| Ahead::Changes(*after, page))
                }
            };
            // An error waits for its turn: the page before it is stored all the same.
            Some(page.unwrap_or_else(|error| Ahead::Failed(next, error)))
        };
        let ((outcome, took), ahead) = future::join(store, ahead).await;
        self.progress.stored += took;
        match outcome {
            Ok(applied) => {
                self.progress.totals += applied.totals();
                self.ahead = ahead;
                Ok(Some(applied))
            }
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict(_)) => {
                self.progress.conflicts += 1;
                tracing::debug!(space = %self.store.space(), "another hydrator was ahead");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn snapshot_page(&mut self, after: Option<&SnapshotCursor>) -> Result<SnapshotPage> {
        let page = match self.ahead.take() {
            Some(Ahead::Snapshot(asked, page)) if Some(&asked) == after => page,
            Some(Ahead::Failed(Next::Snapshot(asked), error)) if Some(&asked) == after => {
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
        let page = match self.ahead.take() {
            Some(Ahead::Changes(asked, page))
                if asked == after && limit == self.config.page_limit =>
            {
                page
            }
            Some(Ahead::Failed(Next::Changes(asked), error))
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

    /// Says where the hydrator is.
    pub(crate) fn at(&mut self, phase: Phase, cursor: Option<SyncOrder>, checkpoint: SyncOrder) {
        self.progress.phase = phase;
        self.progress.cursor = cursor;
        self.progress.checkpoint = Some(checkpoint);
    }
}

/// Seconds since 1970. What is before counts as 1970.
pub(crate) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
