//! A source that begins a new history: another epoch, or a log that was rewound.

use sync_core::{SyncOrder, SyncStore};

use super::Hydrator;
use super::cycle::CycleDetector;
use crate::state::{Loaded, Resume};
use crate::{
    Advance, Change, ChangesPage, Error, ErrorKind, Result, SnapshotPage, Source, SourceEpoch,
    SourceError, SourceErrorKind, Start,
};

/// How often a source may change its history while it is counted.
const COUNTS: u32 = 3;

/// The first page of a new history.
enum First {
    Snapshot(SnapshotPage),
    Log(ChangesPage),
}

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Begins anew, where the source holds at least half of what it held. Otherwise it writes nothing:
    /// one request to an unprotected upstream must not empty the network.
    pub(crate) async fn other_history(&mut self, loaded: Loaded, now: u64) -> Result<Advance> {
        let held = match &loaded.position.value {
            Some(position) if !self.config.accept_shrunk_source => position.held,
            _ => 0,
        };
        self.forget();
        let (first, holds) = self.count(held).await?;
        if let First::Snapshot(page) = &first
            && is_where_it_began(&loaded, page)
        {
            let message = "its log ends before its snapshot, or is of another history";
            return Err(SourceError::new(SourceErrorKind::Protocol, message).into());
        }
        if holds.saturating_mul(2) < held {
            tracing::warn!(space = %self.store.space(), held, holds, "the source shrank");
            return Err(Error::new(ErrorKind::SourceShrank { held, holds }));
        }
        tracing::info!(space = %self.store.space(), held, holds, "the source began a new history");
        let conflicts = self.progress.conflicts;
        let advance = match first {
            First::Snapshot(page) => self.store_snapshot(loaded, None, page, true, now).await?,
            First::Log(page) => self.begin_log(loaded, page, true, now).await?,
        };
        if self.progress.conflicts == conflicts {
            self.progress.resets += 1;
        }
        Ok(match advance {
            Advance::AtTip => Advance::Changes,
            other => other,
        })
    }

    /// The first page of the new history, and how many operations the source holds, at least as
    /// far as half of `held`.
    async fn count(&mut self, held: u64) -> Result<(First, u64)> {
        for _ in 0..COUNTS {
            let counted = match self.config.start {
                Start::Snapshot => self.count_snapshot(held).await?,
                Start::Log => self.count_log(held).await?,
            };
            if let Some(counted) = counted {
                return Ok(counted);
            }
        }
        let message = "the source changed its history again and again while it was counted";
        Err(SourceError::new(SourceErrorKind::Unavailable, message).into())
    }

    /// `None` where the history changed meanwhile.
    async fn count_snapshot(&mut self, held: u64) -> Result<Option<(First, u64)>> {
        let limit = self.config.page_limit;
        let first = self.source.snapshot(None, limit).await?;
        let size = |page: &SnapshotPage| (page.operations.len() + page.invalid.len()) as u64;
        let mut holds = size(&first);
        let mut next = first.next.clone();
        let mut cycle = CycleDetector::default();
        while let Some(cursor) = next
            && holds.saturating_mul(2) < held
        {
            let after = crate::SnapshotCursor {
                cursor,
                checkpoint: first.checkpoint,
            };
            let page = self.source.snapshot(Some(&after), limit).await?;
            if page.epoch != first.epoch {
                return Ok(None);
            }
            if page.next.as_ref() == Some(&after.cursor) || cycle.repeats(&after.cursor) {
                return Err(Error::new(ErrorKind::NotAdvancing));
            }
            holds += size(&page);
            next = page.next;
        }
        Ok(Some((First::Snapshot(first), holds)))
    }

    /// Counts to the end: what a log adds first it may remove later.
    async fn count_log(&mut self, held: u64) -> Result<Option<(First, u64)>> {
        let limit = self.config.page_limit;
        let first = self.source.changes(SyncOrder::ZERO, limit).await?;
        let mut holds = count_rows(0, &first.changes);
        let (epoch, mut after, mut more): (SourceEpoch, _, _) =
            (first.epoch.clone(), first.next, first.more);
        while more && held > 0 {
            let page = self.source.changes(after, limit).await?;
            if page.epoch != epoch {
                return Ok(None);
            }
            if page.more && page.next <= after {
                return Err(Error::new(ErrorKind::NotAdvancing));
            }
            holds = count_rows(holds, &page.changes);
            (after, more) = (page.next, page.more);
        }
        Ok(Some((First::Log(first), holds)))
    }
}

/// Whether a snapshot would begin where the last one did, and no row of the log was read since. Beginning
/// anew would then end at the same mismatch between snapshot and log.
fn is_where_it_began(loaded: &Loaded, page: &SnapshotPage) -> bool {
    loaded.position.value.as_ref().is_some_and(|position| {
        let Resume::Changes(at) = &position.resume else {
            return false;
        };
        position.epoch == page.epoch.as_str()
            && at.anchor.is_none()
            && page.checkpoint.value() >= at.cursor
    })
}

fn count_rows(holds: u64, rows: &[Change]) -> u64 {
    rows.iter().fold(holds, |holds, row| match row {
        Change::Removed { .. } => holds.saturating_sub(1),
        Change::Added(_) | Change::Invalid(_) => holds + 1,
    })
}
