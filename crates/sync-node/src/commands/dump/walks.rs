use std::io::{BufReader, Seek, Write};

use sync_store::{
    AnyStore, FeedCursor, FeedEntry, FeedKind, FeedPage, Known, Limit, Operation, Payloads, Seq,
    StateKey, Stats, SyncState, SyncStore, TimeRange,
};
use tempfile::SpooledTempFile;

use super::output_failed;
use crate::attempts::is_overtaken;
use crate::dump::{Counts, LOCAL_STATE, PayloadForm, Tombstone, Writer};
use crate::failure::{Failure, Result};
use crate::progress::Progress;

/// Rows of one step of a walk.
const ROWS: usize = 1_000;
/// Keys of one step of a walk.
const KEYS: usize = 10_000;
/// State entries of one step of the listing.
const STATE: usize = 100_000;
/// State is held in memory up to this size, and in a temporary file above it.
const STATE_IN_MEMORY: usize = 8 << 20;

/// The walks of one dump.
pub(super) struct Walks<'a, W> {
    store: &'a AnyStore,
    /// The counters before the first step.
    began: Stats,
    writer: Writer<W>,
    progress: Progress,
}

impl<'a, W: Write + Send> Walks<'a, W> {
    pub(super) async fn begin(store: &'a AnyStore, writer: Writer<W>) -> Result<Self> {
        Ok(Self {
            store,
            began: store.stats().await?,
            writer,
            progress: Progress::new("records written"),
        })
    }

    pub(super) fn into_writer(self) -> Writer<W> {
        self.writer
    }

    pub(super) async fn by_time(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self
                .store
                .scan_time(TimeRange::ALL, after, Limit::rows(ROWS))
                .await?;
            for row in &batch.items {
                self.row(&row.operation)?;
            }
            after = batch.next;
            if after.is_none() {
                return self.counts_of_one_epoch().await;
            }
        }
    }

    pub(super) async fn by_order(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self.store.scan_order(after, Limit::rows(ROWS)).await?;
            for row in &batch.items {
                self.row(&row.operation)?;
            }
            after = batch.next;
            if after.is_none() {
                return self.counts_of_one_epoch().await;
            }
        }
    }

    pub(super) async fn keys(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self
                .store
                .scan_keys(TimeRange::ALL, after, Limit::rows(KEYS))
                .await?;
            let ids: Vec<_> = batch.items.iter().map(|key| key.id).collect();
            let known = self.store.known(&ids).await?;
            for (key, known) in batch.items.into_iter().zip(known) {
                // A row that was deleted or replaced between the two reads is left out: a dump has
                // to show only rows that are live throughout it.
                if let Known::Live { ts, sync_order, .. } = known
                    && ts == key.ts
                {
                    self.writer.key(key, sync_order).map_err(output_failed)?;
                }
            }
            self.progress.at(self.writer.counts().rows);
            after = batch.next;
            if after.is_none() {
                return self.counts_of_one_epoch().await;
            }
        }
    }

    pub(super) async fn by_seq(&mut self) -> Result<Counts> {
        // A prune drops no row, and rows are all that is written. A cursor whose reader began above
        // every floor is never refused because of one.
        let mut next = self.cursor(Seq::MAX);
        while let Some(cursor) = next {
            let page = self.feed(cursor).await?;
            for entry in page.entries {
                if let Entry::Row(operation) = Entry::of(entry)? {
                    self.row(&operation)?;
                }
            }
            next = page.more.then_some(page.next);
        }
        self.counts_of_one_epoch().await
    }

    /// Header, entries with the floor among them, state, end.
    pub(super) async fn everything(&mut self) -> Result<Counts> {
        // State goes last, so that a copy has its cursors only when it has the rows behind them,
        // and is read first, so that no cursor is ahead of the rows.
        let (mut state, entries) = self.state().await?;
        self.writer
            .header(self.store.space())
            .map_err(output_failed)?;
        self.entries().await?;
        let counts = Counts {
            state: entries,
            ..self.counts_of_one_epoch().await?
        };
        state
            .rewind()
            .and_then(|()| self.writer.append(BufReader::new(state)))
            .and_then(|()| self.writer.end(counts))
            .map_err(output_failed)?;
        Ok(counts)
    }

    /// The state's lines, and how many there are.
    async fn state(&mut self) -> Result<(SpooledTempFile, u64)> {
        let spool = SpooledTempFile::new(STATE_IN_MEMORY);
        let mut writer = Writer::new(spool, PayloadForm::Base64);
        let mut after: Option<StateKey> = None;
        loop {
            let batch = self
                .store
                .list("", after.as_ref(), Limit::rows(STATE))
                .await?;
            for entry in &batch.items {
                if !entry.key.as_str().starts_with(LOCAL_STATE) {
                    writer.state(entry).map_err(output_failed)?;
                }
            }
            after = batch.next;
            if after.is_none() {
                let entries = writer.counts().state;
                return Ok((writer.finish().map_err(output_failed)?, entries));
            }
        }
    }

    async fn entries(&mut self) -> Result<()> {
        let Stats { head, floor, .. } = self.began;
        // The cursor of a reader that began at the head, behind every tombstone of that moment. A
        // prune up to there refuses it nothing: the tombstones that it drops are of rows that were
        // gone before, so that no row is written whose tombstone is missing.
        let mut next = self.cursor(head);
        // Set while entries at or below the floor were written and none above it.
        let mut below_floor = false;
        let mut first_tombstone = None;
        let mut is_newer = false;
        while let Some(cursor) = next {
            let page = self.feed(cursor).await?;
            for entry in page.entries {
                let above = entry.seq > floor;
                if above && std::mem::take(&mut below_floor) {
                    self.writer.floor().map_err(output_failed)?;
                }
                let seq = entry.seq;
                is_newer |= seq > head;
                match Entry::of(entry)? {
                    Entry::Row(operation) => {
                        self.row(&operation)?;
                        below_floor = !above;
                    }
                    // Left below the floor by an interrupted prune: it counts as pruned.
                    Entry::Tombstone(tombstone) if !above && !tombstone.outlives_prune() => {}
                    Entry::Tombstone(tombstone) => {
                        self.writer.tombstone(&tombstone).map_err(output_failed)?;
                        below_floor = !above;
                        if !tombstone.outlives_prune() {
                            first_tombstone = first_tombstone.or(Some(seq));
                        }
                    }
                }
            }
            next = page.more.then_some(page.next);
        }
        if below_floor {
            self.writer.floor().map_err(output_failed)?;
        }
        // An entry that came meanwhile may be one that a tombstone before it would have refused, had
        // a prune not dropped that after it was written.
        let pruned = self.store.stats().await?.floor;
        if is_newer && first_tombstone.is_some_and(|first| first <= pruned) {
            return Err(overtaken());
        }
        Ok(())
    }

    /// Before the first entry, for a reader that began at `floor`; none where there is no space.
    fn cursor(&self, floor: Seq) -> Option<FeedCursor> {
        let epoch = self.began.epoch?;
        Some(FeedCursor::After {
            epoch,
            floor,
            seq: Seq::ZERO,
        })
    }

    async fn feed(&mut self, cursor: FeedCursor) -> Result<FeedPage> {
        let page = self
            .store
            .feed(cursor, Limit::rows(ROWS), Payloads::Include)
            .await;
        page.map_err(|error| {
            if is_overtaken(&error) {
                overtaken()
            } else {
                error.into()
            }
        })
    }

    /// What was written, unless a reset or a failover came between its records.
    async fn counts_of_one_epoch(&mut self) -> Result<Counts> {
        let epoch = self.store.stats().await?.epoch;
        if epoch == self.began.epoch {
            Ok(self.writer.counts())
        } else {
            Err(overtaken())
        }
    }

    fn row(&mut self, operation: &Operation) -> Result<()> {
        self.writer.row(operation).map_err(output_failed)?;
        self.progress.at(self.writer.counts().rows);
        Ok(())
    }
}

fn overtaken() -> Failure {
    Failure::moved(
        "the space was pruned or reset while it was dumped, so the records so far are no dump of it",
    )
}

/// A feed entry as a record of a dump.
enum Entry {
    Row(Operation),
    Tombstone(Tombstone),
}

impl Entry {
    fn of(entry: FeedEntry) -> Result<Self> {
        let FeedEntry {
            id,
            ts,
            object,
            kind,
            ..
        } = entry;
        match (kind, ts) {
            (
                FeedKind::Live {
                    sync_order,
                    payload: Some(payload),
                },
                Some(ts),
            ) => Ok(Self::Row(Operation {
                id,
                ts,
                object,
                sync_order,
                payload,
            })),
            (FeedKind::Live { .. }, _) => Err(Failure::refused(format!(
                "the feed shows row {id} without its ts or payload: run `sync-node verify`"
            ))),
            (
                FeedKind::Tombstone {
                    reason,
                    source_seq,
                    lifted,
                },
                ts,
            ) => Ok(Self::Tombstone(Tombstone {
                id,
                ts,
                object,
                reason,
                source_seq,
                lifted,
            })),
        }
    }
}
