//! The snapshot: what the source holds, without orders.

use sync_core::{Operation, SyncOrder, SyncStore};

use super::{Hydrator, Next, cut};
use crate::backfill::buckets;
use crate::state::{self, BACKFILL, Changes, Entry, Loaded, Mark, Pass, Position, Resume};
use crate::state::{BackfillRun, BackfillState, POSITION};
use crate::{
    Advance, Error, ErrorKind, Phase, Result, SnapshotCursor, SnapshotPage, Source, Start,
};

/// How many positions below a checkpoint may not have been readable when it was taken: those of
/// the transactions that were open then.
const OPEN_POSITIONS: u64 = 1000;

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// The first page of a space without a position.
    pub(super) async fn begin(&mut self, loaded: Loaded, now: u64) -> Result<Advance> {
        match self.config.start {
            Start::Snapshot => {
                let page = self.snapshot_page(None).await?;
                self.store_snapshot(loaded, None, page, false, now).await
            }
            Start::Log => {
                let page = self
                    .log_page(SyncOrder::ZERO, self.config.page_limit)
                    .await?;
                self.begin_log(loaded, page, false, now).await
            }
        }
    }

    pub(super) async fn advance_snapshot(&mut self, loaded: Loaded, now: u64) -> Result<Advance> {
        let Some(Position {
            epoch,
            resume: Resume::Snapshot { cursor, checkpoint },
            ..
        }) = loaded.position.value.clone()
        else {
            return Ok(Advance::Snapshot);
        };
        let after = SnapshotCursor {
            cursor,
            checkpoint: state::order(checkpoint)?,
        };
        let page = self.snapshot_page(Some(&after)).await?;
        if page.epoch.as_str() != epoch {
            return self.other_history(loaded, now).await;
        }
        self.store_snapshot(loaded, Some(after), page, false, now)
            .await
    }

    /// Stores a page of the snapshot, where `reset` says so over an emptied space.
    pub(super) async fn store_snapshot(
        &mut self,
        loaded: Loaded,
        after: Option<SnapshotCursor>,
        page: SnapshotPage,
        reset: bool,
        now: u64,
    ) -> Result<Advance> {
        let came_from = after.as_ref().map(|after| &after.cursor);
        if let Some(next) = &page.next
            && (Some(next) == came_from || self.cycle.repeats(next))
        {
            return Err(Error::new(ErrorKind::NotAdvancing));
        }
        // The snapshot began at the checkpoint of its first page, not of a later one. The log is
        // read from there.
        let checkpoint = after.map_or(page.checkpoint, |after| after.checkpoint);
        let held = match &loaded.position.value {
            Some(position) if !reset => position.held,
            _ => 0,
        };
        let came = (page.operations.len() + page.invalid.len()) as u64;
        let resume = match &page.next {
            Some(cursor) => Resume::Snapshot {
                cursor: cursor.clone(),
                checkpoint: checkpoint.value(),
            },
            None => Resume::Changes(Changes::after(checkpoint, now)),
        };
        let position = Position {
            epoch: page.epoch.as_str().to_owned(),
            held: held + came,
            resume,
        };
        let backfill = match page.next {
            Some(_) => None,
            None => Some(BackfillState::after(checkpoint, now)?),
        };

        let mut operations = self.admit(page.operations, None, reset).await?;
        let mut loaded = loaded;
        let mut reset = reset;
        // A page may exceed what a store takes at once. All parts but the last leave the position.
        while let Some(rest) = split(&mut operations) {
            let part = std::mem::replace(&mut operations, rest);
            let mut stored = Self::fenced(&loaded)?.replacing().reviving();
            stored.reset = reset;
            if self.apply(stored.upserts(part), None).await?.is_none() {
                return Ok(Advance::Snapshot);
            }
            if std::mem::take(&mut reset) {
                loaded = Loaded::nothing();
            }
        }

        let next = page
            .next
            .map(|cursor| Next::Snapshot(SnapshotCursor { cursor, checkpoint }));
        let position = Entry::of(POSITION, position)?;
        let mut stored = self.page(&loaded, &position, reset)?.upserts(operations);
        stored = self.keep_invalid(stored, &page.invalid, now).await?;
        let backfill = match backfill {
            Some(state) => Entry::of(BACKFILL, state)?,
            None if reset => Loaded::nothing().backfill,
            None => loaded.backfill,
        };
        if let (None, Some(raw)) = (&next, &backfill.raw) {
            stored = stored.set(state::key(BACKFILL)?, raw.clone());
        }
        let at_end = next.is_none();
        if self.apply(stored, next).await?.is_none() {
            return Ok(Advance::Snapshot);
        }
        if at_end {
            self.at(Phase::Changes, Some(checkpoint), page.checkpoint);
        } else {
            self.at(Phase::Snapshot, None, checkpoint);
        }
        self.loaded = Some(Loaded {
            name: Some(self.source.name().to_owned().into()),
            position,
            backfill,
        });
        Ok(Advance::Snapshot)
    }
}

impl Changes {
    /// The log after a snapshot that began at `checkpoint`.
    pub(super) fn after(checkpoint: SyncOrder, now: u64) -> Self {
        Self {
            cursor: checkpoint.value(),
            anchor: None,
            settled: checkpoint.value().saturating_sub(OPEN_POSITIONS),
            tip: Mark {
                at: now,
                seq: checkpoint.value(),
            },
        }
    }

    /// The log from its beginning, when its newest position was `tip`.
    pub(super) fn beginning(tip: SyncOrder, now: u64) -> Self {
        Self {
            cursor: 0,
            ..Self::after(tip, now)
        }
    }
}

impl BackfillState {
    /// The run that orders what came with a snapshot.
    fn after(checkpoint: SyncOrder, now: u64) -> Result<Self> {
        if checkpoint == SyncOrder::ZERO {
            return Ok(Self::Done {
                at: now,
                unordered: 0,
            });
        }
        BackfillRun::new(checkpoint).map(Self::Running)
    }
}

impl BackfillRun {
    /// A run from the log's beginning to `end`.
    pub(crate) fn new(end: SyncOrder) -> Result<Self> {
        Ok(Self {
            pass: Pass::Collect,
            cursor: 0,
            end: end.value(),
            removed: 0,
            deferred: 0,
            salt: buckets::salt()?,
        })
    }
}

impl Loaded {
    /// The state of a space that holds nothing.
    pub(super) fn nothing() -> Self {
        Self {
            name: None,
            position: Entry {
                raw: None,
                value: None,
            },
            backfill: Entry {
                raw: None,
                value: None,
            },
        }
    }
}

/// Leaves in `operations` what one page takes, and answers the rest if there is one.
fn split(operations: &mut Vec<Operation>) -> Option<Vec<Operation>> {
    let mut bytes = 0;
    let at = operations.iter().zip(0..).position(|(operation, rows)| {
        bytes += operation.payload.len();
        bytes > cut::BYTES || rows == cut::ROWS
    })?;
    (at.max(1) < operations.len()).then(|| operations.split_off(at.max(1)))
}
