#[cfg(test)]
mod tests;

use futures_util::{TryStreamExt, pin_mut};
use sync_core::{
    ErrorKind, FeedCursor, FeedEntry, FeedKind, Limit, Payloads, Result, Stats, SyncStore,
    SyncStoreExt, TimeKey, TimeRange,
};
use sync_reconcile::{Index, IndexBuilder, View};

/// Keys, or entries of the feed, that are read at once.
const PAGE: Limit = Limit::rows(10_000);

/// How often a load or a check begins again because the space changed meanwhile.
const ATTEMPTS: u32 = 5;

/// An index of a space's keys that follows the space's feed.
///
/// Any number of processes may write to the space. After [`catch_up`](Self::catch_up) the index holds the
/// keys that the space held at some moment of the call. A new epoch, and a feed that was pruned above the
/// index's cursor, lead to a new index; views of the old one do not change.
///
/// All keys of the space are in memory, a little more than 40 bytes each.
#[derive(Debug)]
pub struct IndexKeeper<S> {
    store: S,
    index: Index,
    cursor: FeedCursor,
    loads: u64,
}

/// What a [check](IndexKeeper::check) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct IndexCheck {
    /// Keys of the store that were compared.
    pub compared: u64,
    /// Keys that the store has and the index had not.
    pub missing: u64,
    /// Keys that the index had and the store has not.
    pub surplus: u64,
}

impl IndexCheck {
    /// Whether index and store agreed.
    pub const fn is_clean(&self) -> bool {
        self.missing == 0 && self.surplus == 0
    }
}

impl<S: SyncStore> IndexKeeper<S> {
    /// Loads the keys of a space: O(n), by [`scan_keys`](SyncStore::scan_keys).
    ///
    /// - Rows that are written during the load are in the index too.
    /// - [`Busy`](ErrorKind::Busy) where the space began a new history in each of several attempts.
    /// - [`Corrupt`](ErrorKind::Corrupt) where the store's keys do not ascend.
    pub async fn load(store: S) -> Result<Self> {
        let mut keeper = Self {
            store,
            index: Index::new(),
            cursor: FeedCursor::Beginning,
            loads: 0,
        };
        keeper.reload().await?;
        Ok(keeper)
    }

    /// Applies the changes since the last call to the index: O(log n) for each.
    ///
    /// - If the feed has another epoch, or was pruned above the index's cursor, all keys are loaded anew.
    /// - Dropping the future leaves an index of an earlier moment; the next call continues.
    pub async fn catch_up(&mut self) -> Result<()> {
        match self.follow().await {
            Err(error) if begins_anew(error.kind()) => self.reload().await,
            followed => followed,
        }
    }

    /// Resolves when there is something to [catch up](Self::catch_up) with.
    pub async fn changed(&self) -> Result<()> {
        self.store.changed(self.cursor).await
    }

    /// The keys as they are now. O(1); later changes do not alter the view.
    pub fn snapshot(&self) -> View {
        self.index.snapshot()
    }

    /// The cursor of the feed up to which the index is current.
    pub const fn cursor(&self) -> FeedCursor {
        self.cursor
    }

    /// How often the keys were loaded as a whole.
    pub const fn loads(&self) -> u64 {
        self.loads
    }

    /// The space.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Compares the index, brought up to date, with every key of the store: O(n).
    ///
    /// - If they differ, which is damage or a bug, the index is loaded anew after the comparison.
    /// - [`Busy`](ErrorKind::Busy) where the space changed during each of several comparisons; then
    ///   nothing is known.
    pub async fn check(&mut self) -> Result<IndexCheck> {
        for _ in 0..ATTEMPTS {
            self.catch_up().await?;
            let before = self.store.stats().await?;
            let check = self.compare().await?;
            let after = self.store.stats().await?;
            if self.cursor == end_of(&before, self.cursor) && same_history(&before, &after) {
                if !check.is_clean() {
                    tracing::error!(
                        space = self.store.space().as_str(),
                        missing = check.missing,
                        surplus = check.surplus,
                        "the index of keys and the store differ"
                    );
                    self.reload().await?;
                }
                return Ok(check);
            }
        }
        Err(changing("check"))
    }

    async fn reload(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS {
            // The end of the feed is taken first: changes to keys that were already read are behind it.
            let stats = self.store.stats().await?;
            let index = self.read_keys().await?;
            self.loads += 1;
            self.index = index;
            self.cursor = end_of(&stats, FeedCursor::Beginning);
            match self.follow().await {
                Err(error) if begins_anew(error.kind()) => {}
                followed => return followed,
            }
        }
        Err(changing("load"))
    }

    async fn read_keys(&self) -> Result<Index> {
        let mut builder = IndexBuilder::new();
        let pages = self.store.stream_keys(TimeRange::ALL, None, PAGE);
        pin_mut!(pages);
        while let Some(keys) = pages.try_next().await? {
            builder.extend(keys).map_err(|unsorted| {
                sync_core::Error::new(ErrorKind::Corrupt)
                    .with_message("the store's keys are not in ascending order")
                    .with_source(unsorted)
            })?;
        }
        Ok(builder.finish())
    }

    async fn follow(&mut self) -> Result<()> {
        loop {
            let page = self.store.feed(self.cursor, PAGE, Payloads::Skip).await?;
            for entry in &page.entries {
                self.take(entry);
            }
            self.cursor = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }

    fn take(&mut self, entry: &FeedEntry) {
        // A tombstone without a time is of an id that had no row here.
        let Some(ts) = entry.ts else {
            return;
        };
        let key = TimeKey { ts, id: entry.id };
        match entry.kind {
            FeedKind::Live { .. } => self.index.insert(key),
            FeedKind::Tombstone { .. } => self.index.remove(&key),
        };
    }

    async fn compare(&self) -> Result<IndexCheck> {
        let mut check = IndexCheck::default();
        let ours = self.snapshot();
        let mut ours = ours.iter().peekable();
        let pages = self.store.stream_keys(TimeRange::ALL, None, PAGE);
        pin_mut!(pages);
        while let Some(keys) = pages.try_next().await? {
            for key in keys {
                check.compared += 1;
                while ours.next_if(|our| *our < key).is_some() {
                    check.surplus += 1;
                }
                if ours.next_if_eq(&key).is_none() {
                    check.missing += 1;
                }
            }
        }
        check.surplus += ours.count() as u64;
        Ok(check)
    }
}

/// The cursor at the end of the feed of a space with these counters, for the reader of `cursor`.
fn end_of(stats: &Stats, cursor: FeedCursor) -> FeedCursor {
    let Some(epoch) = stats.epoch else {
        return FeedCursor::Beginning;
    };
    let floor = match cursor {
        FeedCursor::After { floor, .. } => floor,
        FeedCursor::Beginning => stats.floor,
    };
    FeedCursor::After {
        epoch,
        floor,
        seq: stats.head,
    }
}

fn same_history(before: &Stats, after: &Stats) -> bool {
    (before.epoch, before.head) == (after.epoch, after.head)
}

fn begins_anew(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WrongEpoch { .. } | ErrorKind::AheadOfLog { .. } | ErrorKind::Pruned { .. }
    )
}

fn changing(operation: &'static str) -> sync_core::Error {
    sync_core::Error::new(ErrorKind::Busy)
        .with_message("the space was written to throughout")
        .during(operation)
}
