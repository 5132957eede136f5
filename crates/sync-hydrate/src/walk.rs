//! Backfill: the orders of rows that came without one, from a walk of the log.
//!
//! Two passes, because whether a row stands for the first addition of its operation or for one
//! after a removal only shows once the removals are known.
//!
//! 1. *Collect*: the last removal of each operation, and the first addition after it.
//! 2. *Order*: each addition that no later removal undoes gives its row the order, if the row has
//!    none yet. The first one to come is the first there is.
//! 3. *Settle*: operations that ended removed are rejected, so that no peer brings them back, and
//!    orders that changes left to the walk are set.
//!
//! Changes go on meanwhile. An addition that meets a row without order does not know whether the
//! log holds an earlier one, and is collected with the rest.

pub(crate) mod buckets;

use std::time::SystemTime;

use sync_core::{Delete, Known, OpId, Page, SyncOrder, SyncStore, TombstoneReason};

use self::buckets::Buckets;
use crate::hydrate::seconds;
use crate::state::{self, Entry, Loaded, Pass, Place, WALK, WalkState, Walking};
use crate::{Change, ChangesPage, Hydrator, Phase, Result, Source, Walk};

/// Rows of the log in one page of a walk that looks at state keys: one each at most.
const ROWS: u32 = 500;
/// How long after a walk the next one may begin, in seconds.
const PAUSE: u64 = 24 * 60 * 60;

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Does one page of the walk that gives rows their order, where there is something to walk
    /// for: after a snapshot, and at most once a day where more rows lack an order than the last
    /// walk left.
    ///
    /// It never inserts a row, and mints seqs for tombstones only. It may be called at any time
    /// between pages of [`advance`](Self::advance).
    pub async fn backfill(&mut self, now: SystemTime) -> Result<Walk> {
        let now = seconds(now);
        let loaded = self.load().await?;
        let place = loaded.position.value.as_ref().map(|p| &p.place);
        let Some(Place::Changes(at)) = place else {
            self.loaded = Some(loaded);
            return Ok(Walk::Done);
        };
        let tip = at.cursor;
        match loaded.walk.value.clone() {
            Some(WalkState::Walking(walking)) => match walking.pass {
                Pass::Collect => self.collect(loaded, walking, now).await,
                Pass::Order => self.order(loaded, walking, now).await,
                Pass::Settle => self.settle(loaded, walking, now).await,
            },
            Some(WalkState::Done { at, unordered }) => {
                let is_due = now >= at.saturating_add(PAUSE);
                self.walk_again(loaded, is_due, unordered, tip).await
            }
            None => self.walk_again(loaded, true, 0, tip).await,
        }
    }

    /// Begins another walk, where it is due and rows without order came in since the last one.
    async fn walk_again(
        &mut self,
        loaded: Loaded,
        is_due: bool,
        left: u64,
        tip: u64,
    ) -> Result<Walk> {
        self.progress.unordered = Some(left);
        let unordered = if is_due { self.unordered().await? } else { 0 };
        if unordered <= left {
            self.loaded = Some(loaded);
            return Ok(Walk::Done);
        }
        let walking = Walking::new(state::order(tip)?)?;
        let page = Self::fenced(&loaded)?;
        self.step(loaded, WalkState::Walking(walking), page).await
    }

    async fn collect(&mut self, loaded: Loaded, walking: Walking, now: u64) -> Result<Walk> {
        let Some(page) = self.walk_page(&loaded, &walking, true).await? else {
            self.other_history(loaded, now).await?;
            return Ok(Walk::Page);
        };
        let mut buckets = Buckets::new(&walking.salt);
        let has_removals = page
            .changes
            .iter()
            .any(|row| matches!(row, Change::Removed { .. }));
        let mut removed = walking.removed;
        if has_removals || removed > 0 {
            let ids = rows(&page, &walking).filter_map(|row| match row {
                Change::Added(added) => Some(added.operation.id),
                Change::Removed { id, .. } => Some(*id),
                Change::Invalid(_) => None,
            });
            buckets.load(&self.store, ids).await?;
        }
        for row in rows(&page, &walking) {
            match row {
                Change::Removed { seq, id, object } => {
                    // Changes may have collected an addition of it already.
                    let is_first = buckets
                        .of(id)
                        .is_none_or(|entry| entry.removed().is_empty());
                    buckets.change(*id, |entry| entry.remove(*seq, object))?;
                    removed += u64::from(is_first);
                }
                Change::Added(added) => {
                    let Some(seq) = added.operation.sync_order else {
                        continue;
                    };
                    let (id, object) = (added.operation.id, added.operation.object.as_ref());
                    let is_removed_too = buckets
                        .of(&id)
                        .is_some_and(|entry| !entry.removed().is_empty());
                    if is_removed_too {
                        buckets.change(id, |entry| entry.add(seq, object))?;
                    }
                }
                Change::Invalid(_) => {}
            }
        }
        let next = Walking {
            removed,
            ..walking.after(&page, Pass::Order)
        };
        let stored = buckets.write(Self::fenced(&loaded)?);
        self.step(loaded, WalkState::Walking(next), stored).await
    }

    async fn order(&mut self, loaded: Loaded, walking: Walking, now: u64) -> Result<Walk> {
        let looks = walking.removed > 0;
        let Some(page) = self.walk_page(&loaded, &walking, looks).await? else {
            self.other_history(loaded, now).await?;
            return Ok(Walk::Page);
        };
        let added = || {
            rows(&page, &walking).filter_map(|row| match row {
                Change::Added(added) => Some((&added.operation, added.operation.sync_order?)),
                Change::Removed { .. } | Change::Invalid(_) => None,
            })
        };
        let mut buckets = Buckets::new(&walking.salt);
        if looks {
            let ids = added().map(|(operation, _)| operation.id);
            buckets.load(&self.store, ids).await?;
        }
        let mut stored = Self::fenced(&loaded)?;
        for (operation, seq) in added() {
            let object = operation.object.as_ref();
            let collected = buckets.of(&operation.id);
            if collected.is_none_or(|entry| !entry.is_removed(seq, object)) {
                stored = stored.backfill(operation.id, seq);
            }
        }
        let next = walking.after(&page, Pass::Settle);
        self.step(loaded, WalkState::Walking(next), stored).await
    }

    async fn settle(&mut self, loaded: Loaded, walking: Walking, now: u64) -> Result<Walk> {
        let buckets = Buckets::first(&self.store, &walking.salt).await?;
        let mut page = Self::fenced(&loaded)?;
        if buckets.is_empty() {
            let unordered = self.unordered().await?;
            let done = WalkState::Done { at: now, unordered };
            let walk = self.step(loaded, done, page).await?;
            self.progress.unordered = Some(unordered);
            return Ok(walk);
        }
        let ids: Vec<OpId> = buckets.entries().map(|(id, _)| *id).collect();
        let known = self.store.known(&ids).await?;
        for ((id, entry), known) in buckets.entries().zip(known) {
            // One that came back and is not here was left out: it is private, or was refused.
            if let (Some(seq), Known::Live { .. }) = (entry.added, known) {
                page = page.backfill(*id, seq);
                continue;
            }
            for (seq, object) in entry.removed() {
                let delete = Delete::new(*id, TombstoneReason::Removed)
                    .at(*seq)
                    .of(object.clone())
                    .reject();
                page = page.delete(delete);
            }
        }
        let page = buckets.remove(page);
        self.step(loaded, WalkState::Walking(walking), page).await
    }

    /// Applies a page of the walk, and what it leaves the walk at.
    async fn step(&mut self, loaded: Loaded, walk: WalkState, mut page: Page) -> Result<Walk> {
        let walk = Entry::of(WALK, walk)?;
        if let Some(raw) = &walk.raw
            && loaded.walk.raw.as_ref() != Some(raw)
        {
            page = page.set(state::key(WALK)?, raw.clone());
        }
        if self.apply(page, None).await?.is_none() {
            return Ok(Walk::Page);
        }
        match &walk.value {
            Some(WalkState::Walking(walking)) => {
                let phase = match walking.pass {
                    Pass::Collect => Phase::Collect,
                    Pass::Order => Phase::Order,
                    Pass::Settle => Phase::Settle,
                };
                let cursor = state::order(walking.cursor)?;
                self.at(phase, Some(cursor), state::order(walking.end)?);
            }
            _ => self.progress.phase = Phase::Current,
        }
        self.loaded = Some(Loaded { walk, ..loaded });
        Ok(Walk::Page)
    }

    /// The next page of the log for a pass. `None` where it is another log.
    async fn walk_page(
        &mut self,
        loaded: &Loaded,
        walking: &Walking,
        looks: bool,
    ) -> Result<Option<ChangesPage>> {
        let limit = self.config.page_limit;
        let limit = if looks { limit.min(ROWS) } else { limit };
        let page = self.log_page(state::order(walking.cursor)?, limit).await?;
        let position = loaded.position.value.as_ref();
        let is_other = position.is_some_and(|position| position.epoch != page.epoch.as_str())
            || page.checkpoint.value() < walking.end;
        Ok((!is_other).then_some(page))
    }

    async fn unordered(&self) -> Result<u64> {
        let stats = self.store.stats().await?;
        Ok(stats.total.saturating_sub(stats.ordered))
    }
}

/// The rows that belong to the walk.
fn rows<'p>(page: &'p ChangesPage, walking: &Walking) -> impl Iterator<Item = &'p Change> {
    let end = walking.end;
    let inside = move |seq: SyncOrder| seq.value() <= end;
    page.changes
        .iter()
        .filter(move |row| row.seq().is_some_and(inside))
}

impl Walking {
    /// The walk behind `page`: in the same pass, or at the beginning of the one that `follows`.
    fn after(&self, page: &ChangesPage, follows: Pass) -> Self {
        let (pass, cursor) = if page.more && page.next.value() < self.end {
            (self.pass, page.next.value())
        } else {
            (follows, 0)
        };
        Self {
            pass,
            cursor,
            ..self.clone()
        }
    }
}
