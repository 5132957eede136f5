//! Backfill: the orders of rows that came without one, from the log.
//!
//! A run reads the log twice, because whether a row comes from the first addition of its operation or
//! from one after a removal is known only once the removals are.
//!
//! 1. *Collect*: the last removal of each operation, and the first addition after it.
//! 2. *Order*: each addition that no later removal undoes gives its row the order, if the row has
//!    none yet. The first one to come is the first there is.
//! 3. *Settle*: operations that ended removed are rejected, so that no peer brings them back, and
//!    orders that changes left to the run are set.
//!
//! Changes are stored meanwhile. Where an addition meets a row without order, the log may hold an earlier
//! addition, so its order is collected too.

pub(crate) mod buckets;

use std::time::SystemTime;

use sync_core::{Delete, Known, OpId, Page, SyncOrder, SyncStore, TombstoneReason};

use self::buckets::Buckets;
use crate::hydrate::seconds;
use crate::state::{self, BACKFILL, BackfillRun, BackfillState, Entry, Loaded, Pass, Resume};
use crate::{BackfillStep, Change, ChangesPage, Hydrator, Phase, Result, Source};

/// Rows of the log in one page that looks up state keys, at most one for each row.
const ROWS: u32 = 500;
/// How long after a run the next one may begin, in seconds.
const PAUSE: u64 = 24 * 60 * 60;

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Does one page of the run that gives rows their order. A run begins after a snapshot, and at most
    /// once a day if more rows lack an order than the last run left.
    ///
    /// It never inserts a row, and mints seqs for tombstones only. It may be called at any time
    /// between pages of [`advance`](Self::advance).
    pub async fn backfill(&mut self, now: SystemTime) -> Result<BackfillStep> {
        let now = seconds(now);
        let loaded = self.load().await?;
        let resume = loaded.position.value.as_ref().map(|p| &p.resume);
        let Some(Resume::Changes(at)) = resume else {
            self.loaded = Some(loaded);
            return Ok(BackfillStep::Done);
        };
        let tip = at.cursor;
        match loaded.backfill.value.clone() {
            Some(BackfillState::Running(run)) => match run.pass {
                Pass::Collect => self.collect(loaded, run, now).await,
                Pass::Order => self.order(loaded, run, now).await,
                Pass::Settle => self.settle(loaded, run, now).await,
            },
            Some(BackfillState::Done { at, unordered }) => {
                let is_due = now >= at.saturating_add(PAUSE);
                self.begin_again(loaded, is_due, unordered, tip).await
            }
            None => self.begin_again(loaded, true, 0, tip).await,
        }
    }

    /// Begins another run, if it is due and rows without order came in since the last one.
    async fn begin_again(
        &mut self,
        loaded: Loaded,
        is_due: bool,
        left: u64,
        tip: u64,
    ) -> Result<BackfillStep> {
        self.progress.unordered = Some(left);
        let unordered = if is_due { self.unordered().await? } else { 0 };
        if unordered <= left {
            self.loaded = Some(loaded);
            return Ok(BackfillStep::Done);
        }
        let run = BackfillRun::new(state::order(tip)?)?;
        let page = Self::fenced(&loaded)?;
        self.step(loaded, BackfillState::Running(run), page).await
    }

    async fn collect(
        &mut self,
        loaded: Loaded,
        run: BackfillRun,
        now: u64,
    ) -> Result<BackfillStep> {
        let Some(page) = self.read_page(&loaded, &run, true).await? else {
            self.other_history(loaded, now).await?;
            return Ok(BackfillStep::Page);
        };
        let mut buckets = Buckets::new(&run.salt);
        let has_removals = page
            .changes
            .iter()
            .any(|row| matches!(row, Change::Removed { .. }));
        let mut removed = run.removed;
        if has_removals || removed > 0 {
            let ids = rows(&page, &run).filter_map(|row| match row {
                Change::Added(added) => Some(added.operation.id),
                Change::Removed { id, .. } => Some(*id),
                Change::Invalid(_) => None,
            });
            buckets.load(&self.store, ids).await?;
        }
        for row in rows(&page, &run) {
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
        let next = BackfillRun {
            removed,
            ..run.after(&page, Pass::Order)
        };
        let stored = buckets.write(Self::fenced(&loaded)?);
        self.step(loaded, BackfillState::Running(next), stored)
            .await
    }

    async fn order(&mut self, loaded: Loaded, run: BackfillRun, now: u64) -> Result<BackfillStep> {
        let looks = run.removed > 0;
        let Some(page) = self.read_page(&loaded, &run, looks).await? else {
            self.other_history(loaded, now).await?;
            return Ok(BackfillStep::Page);
        };
        let added = || {
            rows(&page, &run).filter_map(|row| match row {
                Change::Added(added) => Some((&added.operation, added.operation.sync_order?)),
                Change::Removed { .. } | Change::Invalid(_) => None,
            })
        };
        let mut buckets = Buckets::new(&run.salt);
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
        let next = run.after(&page, Pass::Settle);
        self.step(loaded, BackfillState::Running(next), stored)
            .await
    }

    async fn settle(&mut self, loaded: Loaded, run: BackfillRun, now: u64) -> Result<BackfillStep> {
        let buckets = Buckets::first(&self.store, &run.salt).await?;
        let mut page = Self::fenced(&loaded)?;
        if buckets.is_empty() {
            let unordered = self.unordered().await?;
            let done = BackfillState::Done { at: now, unordered };
            let step = self.step(loaded, done, page).await?;
            self.progress.unordered = Some(unordered);
            return Ok(step);
        }
        let ids: Vec<OpId> = buckets.entries().map(|(id, _)| *id).collect();
        let known = self.store.known(&ids).await?;
        for ((id, entry), known) in buckets.entries().zip(known) {
            // An operation that was added again and has no row was left out as private, or refused.
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
        self.step(loaded, BackfillState::Running(run), page).await
    }

    /// Applies a page of the run together with the state after it.
    async fn step(
        &mut self,
        loaded: Loaded,
        state: BackfillState,
        mut page: Page,
    ) -> Result<BackfillStep> {
        let backfill = Entry::of(BACKFILL, state)?;
        if let Some(raw) = &backfill.raw
            && loaded.backfill.raw.as_ref() != Some(raw)
        {
            page = page.set(state::key(BACKFILL)?, raw.clone());
        }
        if self.apply(page, None).await?.is_none() {
            return Ok(BackfillStep::Page);
        }
        match &backfill.value {
            Some(BackfillState::Running(run)) => {
                let phase = match run.pass {
                    Pass::Collect => Phase::Collect,
                    Pass::Order => Phase::Order,
                    Pass::Settle => Phase::Settle,
                };
                let cursor = state::order(run.cursor)?;
                self.at(phase, Some(cursor), state::order(run.end)?);
            }
            _ => self.progress.phase = Phase::Current,
        }
        self.loaded = Some(Loaded { backfill, ..loaded });
        Ok(BackfillStep::Page)
    }

    /// The next page of the log for a pass. `None` where it is another log.
    async fn read_page(
        &mut self,
        loaded: &Loaded,
        run: &BackfillRun,
        looks: bool,
    ) -> Result<Option<ChangesPage>> {
        let limit = self.config.page_limit;
        let limit = if looks { limit.min(ROWS) } else { limit };
        let page = self.log_page(state::order(run.cursor)?, limit).await?;
        let position = loaded.position.value.as_ref();
        let is_other = position.is_some_and(|position| position.epoch != page.epoch.as_str())
            || page.checkpoint.value() < run.end;
        Ok((!is_other).then_some(page))
    }

    async fn unordered(&self) -> Result<u64> {
        let stats = self.store.stats().await?;
        Ok(stats.total.saturating_sub(stats.ordered))
    }
}

/// The rows that belong to the run.
fn rows<'p>(page: &'p ChangesPage, run: &BackfillRun) -> impl Iterator<Item = &'p Change> {
    let end = run.end;
    let inside = move |seq: SyncOrder| seq.value() <= end;
    page.changes
        .iter()
        .filter(move |row| row.seq().is_some_and(inside))
}

impl BackfillRun {
    /// The run after `page`: in the same pass, or at the beginning of the one that `follows`.
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
