//! The log: what the source accepted and removed, by position.

use std::collections::{HashMap, HashSet, VecDeque};

use sync_core::{Delete, Known, OpId, Page, SyncOrder, SyncStore, TombstoneReason};

use super::actions::Actions;
use super::cut::{self, Removed, Segment};
use super::{Hydrator, Next};
use crate::state::{self, Anchor, Changes, Entry, Loaded, Mark, POSITION, Position, Resume};
use crate::state::{BACKFILL, BackfillRun, BackfillState};
use crate::{
    Advance, Change, ChangesPage, InvalidRecord, Phase, Result, Source, SourceOperation, invalid,
};

/// How many positions above the settled tip are remembered. If there are more, some rows are stored
/// again, which changes nothing.
const SEEN: usize = 100_000;

/// One reading of the log: from the cursor to the tip, then again the rows that were published too
/// recently for all positions below them to be there.
#[derive(Debug)]
pub(super) struct Poll {
    /// When it began.
    began: u64,
    /// The tip then.
    tip: Option<SyncOrder>,
    /// After which position the next page is.
    after: SyncOrder,
    /// The row that the first page has to hold.
    anchor: Option<Anchor>,
    /// What is read again, once the tip is reached.
    stage: Stage,
    /// The cursor when it began: up to there rows are read again.
    until: SyncOrder,
    /// A row below the cursor appeared. The rows after it are stored again, because the store may have
    /// treated them otherwise without it.
    again: bool,
}

/// A part of a reading. New rows come first, so that a process that is always killed soon still gets
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// New rows.
    Forward {
        /// After which position rows are then read again, if any are.
        then: Option<SyncOrder>,
    },
    /// Rows that were read before.
    Again,
}

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    pub(super) async fn advance_changes(
        &mut self,
        loaded: Loaded,
        at: Changes,
        now: u64,
    ) -> Result<Advance> {
        let mut poll = match self.poll.take() {
            Some(poll) => poll,
            None => match self.begin_poll(&loaded, &at, now).await? {
                Some(poll) => poll,
                None => return self.other_history(loaded, now).await,
            },
        };
        let page = self.log_page(poll.after, self.config.page_limit).await?;
        if is_other_history(&loaded, &at, &page)
            || !shows(poll.anchor.take().as_ref(), &page.changes)
        {
            return self.other_history(loaded, now).await;
        }
        self.store_changes(loaded, at, poll, page, false).await
    }

    /// The first page of a log that is read from its beginning.
    pub(super) async fn begin_log(
        &mut self,
        loaded: Loaded,
        page: ChangesPage,
        reset: bool,
        now: u64,
    ) -> Result<Advance> {
        let at = Changes::beginning(page.checkpoint, now);
        let poll = Poll::beginning(&at, now)?;
        self.store_changes(loaded, at, poll, page, reset).await
    }

    /// A reading from the cursor on. `None` where the last row that was read is no longer there.
    async fn begin_poll(
        &mut self,
        loaded: &Loaded,
        at: &Changes,
        now: u64,
    ) -> Result<Option<Poll>> {
        let mut poll = Poll::beginning(at, now)?;
        let Some(anchor) = &at.anchor else {
            return Ok(Some(poll));
        };
        let before = state::order(anchor.seq.saturating_sub(1))?;
        if anchor.seq == at.cursor && self.config.page_limit > 1 {
            poll.after = before;
            poll.anchor = Some(anchor.clone());
            return Ok(Some(poll));
        }
        let page = self.log_page(before, 1).await?;
        let same = !is_other_history(loaded, at, &page) && shows(Some(anchor), &page.changes);
        Ok(same.then_some(poll))
    }

    async fn store_changes(
        &mut self,
        mut loaded: Loaded,
        mut at: Changes,
        mut poll: Poll,
        page: ChangesPage,
        mut reset: bool,
    ) -> Result<Advance> {
        let tip = *poll.tip.get_or_insert(page.checkpoint);
        let end = page.next;
        let mut rows = self.new_rows(page.changes, &mut poll, &at, end).await?;
        let ends = !page.more || poll.has_read_again(end);
        let is_last_page = ends && poll.stage.follows().is_none();
        let mut first = true;
        while first || !rows.is_empty() {
            first = false;
            let read: Vec<SyncOrder> = rows.iter().filter_map(Change::seq).collect();
            let segment = cut::next(&mut rows, loaded.running().is_some());
            let is_last = rows.is_empty();
            let mut after = at.clone();
            let reached = if is_last { Some(end) } else { segment.last };
            after.cursor = after.cursor.max(reached.map_or(0, SyncOrder::value));
            after.move_anchor(&segment);
            if is_last && is_last_page {
                after.settle(&poll, tip, self.config.settle.as_secs());
            }
            let position = Entry::of(
                POSITION,
                Position {
                    epoch: page.epoch.as_str().to_owned(),
                    held: held_after(&loaded, reset, &at, &segment),
                    resume: Resume::Changes(after.clone()),
                },
            )?;
            let next = (is_last && !ends).then_some(Next::Changes(end));
            let Some(stored) = self
                .store_segment(loaded, &at, segment, position, next, reset, &poll)
                .await?
            else {
                return Ok(Advance::Changes);
            };
            loaded = stored;
            reset = false;
            at = after;
            let left: HashSet<SyncOrder> = rows.iter().filter_map(Change::seq).collect();
            let settled = state::order(at.settled)?;
            let read = read.into_iter().filter(|seq| !left.contains(seq));
            self.seen.extend(read.filter(|seq| *seq > settled));
        }
        self.forget_seen(state::order(at.settled)?);
        let cursor = state::order(at.cursor)?;
        self.at(Phase::Changes, Some(cursor), page.checkpoint);
        let is_backfilling = loaded.running().is_some();
        self.loaded = Some(loaded);
        if !is_last_page {
            match poll.stage.follows().filter(|_| ends) {
                Some(behind) => {
                    poll.stage = Stage::Again;
                    poll.after = behind;
                }
                None => poll.after = end,
            }
            let advance = match poll.stage {
                Stage::Forward { .. } => Advance::Changes,
                Stage::Again => Advance::Again,
            };
            self.poll = Some(poll);
            return Ok(advance);
        }
        if page.more && end >= cursor {
            return Ok(Advance::Changes);
        }
        if !is_backfilling {
            self.progress.phase = Phase::Current;
        }
        Ok(Advance::AtTip)
    }

    /// The rows of a page that have to be stored: those that were not read before, and all that come
    /// after such a row below the cursor.
    async fn new_rows(
        &mut self,
        page: Vec<Change>,
        poll: &mut Poll,
        at: &Changes,
        end: SyncOrder,
    ) -> Result<VecDeque<Change>> {
        let reads_again = poll.stage == Stage::Again;
        // No row appears at or below the settled tip any more.
        let is_open = |seq: SyncOrder| seq.value() > at.settled && seq.value() <= at.cursor;
        let unseen = page.iter().filter(|row| {
            let seq = row.seq();
            reads_again && seq.is_some_and(|seq| is_open(seq) && !self.seen.contains(&seq))
        });
        let ids: Vec<OpId> = unseen.filter_map(id_of).collect();
        let known = self.store.known(&ids).await?;
        let known: HashMap<OpId, Known> = ids.into_iter().zip(known).collect();

        let mut rows = VecDeque::with_capacity(page.len());
        for row in page {
            let Some(seq) = row.seq() else {
                if end.value() > at.cursor {
                    rows.push_back(row);
                }
                continue;
            };
            let is_new = if seq.value() > at.cursor || poll.again {
                true
            } else if !reads_again || !is_open(seq) || self.seen.contains(&seq) {
                false
            } else if id_of(&row).is_some_and(|id| is_stored(&row, seq, known.get(&id))) {
                // Another process has read it.
                self.seen.insert(seq);
                false
            } else {
                poll.again = id_of(&row).is_some();
                true
            };
            if is_new {
                rows.push_back(row);
            }
        }
        Ok(rows)
    }

    /// Stores a part of a page of the log. `None` where another hydrator stored it first.
    #[expect(
        clippy::too_many_arguments,
        reason = "a part of a page, and the position after it"
    )]
    async fn store_segment(
        &mut self,
        loaded: Loaded,
        at: &Changes,
        segment: Segment,
        position: Entry<Position>,
        next: Option<Next>,
        reset: bool,
        poll: &Poll,
    ) -> Result<Option<Loaded>> {
        let now = poll.began;
        let mut page = self.page(&loaded, &position, reset)?;
        let invalid = self.not_kept_yet(segment.invalid, at, poll).await?;
        page = self.keep_invalid(page, &invalid, now).await?;
        let cursor = state::order(at.cursor)?;
        let added = self.admit(segment.added, Some(cursor), reset).await?;
        let mut backfill = loaded.backfill.clone();
        if reset || backfill.raw.is_none() && loaded.position.raw.is_none() {
            backfill = Entry::of(
                BACKFILL,
                BackfillState::Done {
                    at: now,
                    unordered: 0,
                },
            )?;
        }
        let run = loaded.running().filter(|_| !reset);
        let actions = Actions {
            removed: segment.removed,
            added,
            cursor,
        };
        let (mut page, deferred) = self.put_actions(page, actions, run).await?;
        if let (Some(run), true) = (run, deferred) {
            let run = BackfillRun {
                deferred: run.deferred + 1,
                ..run.clone()
            };
            backfill = Entry::of(BACKFILL, BackfillState::Running(run))?;
        }
        if let Some(raw) = &backfill.raw
            && (reset || loaded.backfill.raw.as_ref() != Some(raw))
        {
            page = page.set(state::key(BACKFILL)?, raw.clone());
        }
        let stored = Loaded {
            name: Some(self.source.name().to_owned().into()),
            position,
            backfill,
        };
        let is_empty = page.operations() == 0 && page.state.is_empty() && !page.reset;
        if is_empty && next.is_none() {
            return Ok(Some(stored));
        }
        Ok(self.apply(page, next).await?.map(|_| stored))
    }

    /// Counts `records`, and adds them to what the space keeps.
    pub(super) async fn keep_invalid(
        &mut self,
        page: Page,
        records: &[InvalidRecord],
        now: u64,
    ) -> Result<Page> {
        for record in records {
            *self
                .progress
                .invalid
                .entry(record.reason.clone())
                .or_default() += 1;
        }
        invalid::keep(&self.store, page, records, now).await
    }

    /// Those of `records` that were not kept when they were read before.
    async fn not_kept_yet(
        &self,
        mut records: Vec<InvalidRecord>,
        at: &Changes,
        poll: &Poll,
    ) -> Result<Vec<InvalidRecord>> {
        // If the page begins below the cursor, a record without position may be an old one.
        let is_old = |record: &InvalidRecord| match record.seq {
            Some(seq) => seq.value() <= at.cursor,
            None => poll.after.value() < at.cursor,
        };
        if records.iter().any(is_old) {
            let kept = invalid::invalid_records(&self.store).await?;
            let kept: HashSet<_> = kept
                .iter()
                .map(|k| (k.record.seq, k.record.sha256))
                .collect();
            // A snapshot showed the record without its position.
            records.retain(|record| {
                let seqs = [record.seq, None];
                !seqs.iter().any(|seq| kept.contains(&(*seq, record.sha256)))
            });
        }
        Ok(records)
    }

    fn forget_seen(&mut self, settled: SyncOrder) {
        if let Some(next) = settled.next() {
            self.seen = self.seen.split_off(&next);
        }
        while self.seen.len() > SEEN {
            self.seen.pop_first();
        }
    }
}

impl Removed {
    pub(super) fn delete(self) -> Delete {
        Delete::new(self.id, TombstoneReason::Removed)
            .at(self.seq)
            .of(self.object)
            .reject()
    }
}

impl Poll {
    fn beginning(at: &Changes, now: u64) -> Result<Self> {
        let cursor = state::order(at.cursor)?;
        let settled = state::order(at.settled)?;
        Ok(Self {
            began: now,
            tip: None,
            after: cursor,
            anchor: None,
            stage: Stage::Forward {
                then: (settled < cursor).then_some(settled),
            },
            until: cursor,
            again: false,
        })
    }

    /// Whether a page that ends at `end` is the last one that has to be read again.
    fn has_read_again(&self, end: SyncOrder) -> bool {
        self.stage == Stage::Again && !self.again && end >= self.until
    }
}

impl Stage {
    /// After which position the next part begins, if there is one.
    fn follows(self) -> Option<SyncOrder> {
        match self {
            Self::Forward { then } => then,
            Self::Again => None,
        }
    }
}

impl Changes {
    /// Makes the last row of a part the one by which the log is recognised.
    fn move_anchor(&mut self, segment: &Segment) {
        let added = segment.added.iter().filter_map(Anchor::of_added);
        let removed = segment
            .removed
            .iter()
            .map(|r| Anchor::of_removed(r.seq, &r.id));
        self.anchor = self
            .anchor
            .take()
            .into_iter()
            .chain(added)
            .chain(removed)
            .max_by_key(|anchor| anchor.seq);
    }

    /// Ends a reading. If it began after the newer tip had settled, every row up to that tip has been
    /// read.
    fn settle(&mut self, poll: &Poll, tip: SyncOrder, settle: u64) {
        let is_settled = poll.began >= self.tip.at.saturating_add(settle);
        if is_settled && (self.tip.seq != self.settled || tip.value() != self.tip.seq) {
            self.settled = self.tip.seq.min(self.cursor);
            self.tip = Mark {
                at: poll.began,
                seq: tip.value(),
            };
        }
    }
}

impl Anchor {
    fn of_added(added: &SourceOperation) -> Option<Self> {
        let seq = added.operation.sync_order?.value();
        let row = format!("added {}", added.operation.id);
        Some(Self { seq, row })
    }

    fn of_removed(seq: SyncOrder, id: &OpId) -> Self {
        let seq = seq.value();
        let row = format!("removed {id}");
        Self { seq, row }
    }

    fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Added(added) => Self::of_added(added),
            Change::Removed { seq, id, .. } => Some(Self::of_removed(*seq, id)),
            Change::Invalid(_) => None,
        }
    }
}

fn id_of(row: &Change) -> Option<OpId> {
    match row {
        Change::Added(added) => Some(added.operation.id),
        Change::Removed { id, .. } => Some(*id),
        Change::Invalid(_) => None,
    }
}

/// Whether the state of a row's id is what this row, or a higher one, made it.
fn is_stored(row: &Change, seq: SyncOrder, known: Option<&Known>) -> bool {
    match known {
        Some(Known::Live { sync_order, .. }) => match (row, sync_order) {
            (Change::Added(_), Some(_)) => true,
            (_, Some(order)) => *order > seq,
            (_, None) => false,
        },
        Some(Known::Tombstoned {
            reason, source_seq, ..
        }) => *source_seq >= Some(seq) || *reason == TombstoneReason::Operator,
        Some(Known::Unknown) | None => false,
    }
}

/// Whether the page is of a log that began anew, or that ends before the cursor.
fn is_other_history(loaded: &Loaded, at: &Changes, page: &ChangesPage) -> bool {
    let position = loaded.position.value.as_ref();
    position.is_some_and(|position| position.epoch != page.epoch.as_str())
        || page.checkpoint.value() < at.cursor
}

/// Whether the rows hold the one by which the log is recognised.
fn shows(anchor: Option<&Anchor>, rows: &[Change]) -> bool {
    anchor.is_none_or(|anchor| rows.iter().filter_map(Anchor::of).any(|row| row == *anchor))
}

/// Operations the source holds after a part of the log.
fn held_after(loaded: &Loaded, reset: bool, at: &Changes, segment: &Segment) -> u64 {
    let before = match &loaded.position.value {
        Some(position) if !reset => position.held,
        _ => 0,
    };
    let is_new = |seq: Option<SyncOrder>| seq.is_none_or(|seq| seq.value() > at.cursor);
    let added = segment.added.iter().map(|a| a.operation.sync_order);
    let invalid = segment.invalid.iter().map(|record| record.seq);
    let came = added.chain(invalid).filter(|seq| is_new(*seq)).count() as u64;
    let removed = segment.removed.iter().filter(|r| is_new(Some(r.seq)));
    (before + came).saturating_sub(removed.count() as u64)
}
