//! Whole walks through a space, which end with a failure where a store would let them run for ever.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_core::{
    Batch, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Object, OpId, OrderKey, Payloads, Row,
    Seq, StateEntry, StateKey, Stats, TimeKey, TimeRange,
};

use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::rig::Space;

/// How often [`Space::at_rest`] looks before it gives up. A statement that was sent before a kill
/// ends, and a look takes longer than most.
const LOOKS: u32 = 50;

/// Everything a reader can see of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) stats: Stats,
    pub(crate) rows: Vec<Row>,
    pub(crate) feed: Vec<FeedEntry>,
    pub(crate) state: Vec<StateEntry>,
}

impl<H: Harness> Space<'_, H> {
    pub(crate) fn dump(&self) -> Verdict<Dump> {
        let limit = Limit::rows(1_000);
        Ok(Dump {
            stats: self.stats()?,
            rows: self.rows_by_time(TimeRange::ALL, limit)?,
            feed: self.entries(FeedCursor::Beginning, limit)?,
            state: self.state_with("", limit)?,
        })
    }

    /// The live rows of `ids`, however many parts the answer comes in.
    pub(crate) fn get(&self, ids: &[OpId]) -> Verdict<Vec<Option<Row>>> {
        self.get_within(ids, Limit::default())
    }

    pub(crate) fn get_within(&self, ids: &[OpId], limit: Limit) -> Verdict<Vec<Option<Row>>> {
        let mut rows = Vec::with_capacity(ids.len());
        let mut rest = ids;
        loop {
            let part = self.part(rest, limit)?;
            let answered = part.rows.len();
            rows.extend(part.rows);
            match part.next {
                None => {
                    ensure_eq!(
                        answered,
                        rest.len(),
                        "ids answered by the last part of a get"
                    );
                    return Ok(rows);
                }
                Some(next) => {
                    ensure_eq!(next, answered, "the ids a part of a get says it answered");
                    ensure!(next > 0, "a part of a get answered nothing");
                    rest = rest.get(next..).unwrap_or_default();
                }
            }
        }
    }

    pub(crate) fn get_one(&self, id: OpId) -> Verdict<Option<Row>> {
        Ok(self.get(&[id])?.pop().flatten())
    }

    pub(crate) fn rows_by_time(&self, range: TimeRange, limit: Limit) -> Verdict<Vec<Row>> {
        walk(
            "scan_time",
            limit,
            |row: &Row| row.operation.time_key(),
            |after| Ok(self.scan_time(range, after.copied(), limit)?),
        )
    }

    pub(crate) fn keys_by_time(&self, range: TimeRange, limit: Limit) -> Verdict<Vec<TimeKey>> {
        walk(
            "scan_keys",
            limit,
            |key: &TimeKey| *key,
            |after| Ok(self.scan_keys(range, after.copied(), limit)?),
        )
    }

    pub(crate) fn rows_by_order(&self, limit: Limit) -> Verdict<Vec<Row>> {
        walk(
            "scan_order",
            limit,
            |row: &Row| {
                // A row without order does not belong here; the lowest key makes the walk fail.
                let sync_order = row.operation.sync_order.unwrap_or_default();
                let id = row.operation.id;
                OrderKey { sync_order, id }
            },
            |after| Ok(self.scan_order(after.copied(), limit)?),
        )
    }

    pub(crate) fn rows_of_object(&self, object: &Object, limit: Limit) -> Verdict<Vec<Row>> {
        walk(
            "scan_object",
            limit,
            |row: &Row| row.seq,
            |after| Ok(self.scan_object(object, after.copied(), limit)?),
        )
    }

    pub(crate) fn state_with(&self, prefix: &str, limit: Limit) -> Verdict<Vec<StateEntry>> {
        walk(
            "list",
            limit,
            |entry: &StateEntry| entry.key.clone(),
            |after: Option<&StateKey>| Ok(self.list(prefix, after, limit)?),
        )
    }

    /// The feed with payloads, from a cursor to its end.
    pub(crate) fn entries(&self, from: FeedCursor, limit: Limit) -> Verdict<Vec<FeedEntry>> {
        let mut follower = Follower::new(from);
        while follower.step(self, limit, Payloads::Include)? {}
        Ok(follower.entries)
    }

    /// The cursor at the head.
    pub(crate) fn cursor(&self) -> Verdict<FeedCursor> {
        let mut follower = Follower::new(FeedCursor::Beginning);
        while follower.step(self, Limit::rows(10_000), Payloads::Skip)? {}
        Ok(follower.cursor)
    }

    /// Recounts everything and compares every walk with every other and with the counters.
    pub(crate) fn audit(&self) -> Verdict {
        self.while_equal(|| Ok(self.stats()?), Self::recount)
    }

    /// What `look` finds while the space does not change.
    ///
    /// After a kill or a lost connection the server may still run what it was sent, so several
    /// calls that are to be compared are made between two equal readings of all that can change.
    pub(crate) fn at_rest<T>(&self, look: impl Fn(&Self) -> Verdict<T>) -> Verdict<T> {
        let reading = || Ok((self.stats()?, self.state_with("", Limit::rows(1_000))?));
        self.while_equal(reading, look)
    }

    fn while_equal<T, Reading: PartialEq + std::fmt::Debug>(
        &self,
        reading: impl Fn() -> Verdict<Reading>,
        look: impl Fn(&Self) -> Verdict<T>,
    ) -> Verdict<T> {
        let mut before = reading()?;
        for _ in 0..LOOKS {
            let found = look(self);
            let after = reading()?;
            if before == after {
                return found;
            }
            before = after;
        }
        fail!(
            "the space changed during each of {LOOKS} looks, and nothing writes to it: {before:?}"
        )
    }

    fn recount(&self) -> Verdict {
        let Dump {
            stats, rows, feed, ..
        } = self.dump()?;
        let limit = Limit::rows(1_000);
        let keys: Vec<TimeKey> = rows.iter().map(|row| row.operation.time_key()).collect();
        ensure_eq!(self.keys_by_time(TimeRange::ALL, limit)?, keys, "scan_keys");
        let mut ordered: Vec<Row> = rows
            .iter()
            .filter(|row| row.operation.sync_order.is_some())
            .cloned()
            .collect();
        ordered.sort_by_key(|row| (row.operation.sync_order, row.operation.id));
        ensure_eq!(self.rows_by_order(limit)?, ordered, "scan_order");
        let mut live: Vec<Row> = feed.iter().filter_map(row_of).collect();
        let tombstones = feed.len() - live.len();
        live.sort_by_key(|row| row.operation.time_key());
        ensure_eq!(live, rows, "the live entries of the feed, by time");
        ensure_eq!(stats.total, rows.len() as u64, "the counter of rows");
        ensure_eq!(
            stats.ordered,
            ordered.len() as u64,
            "the counter of ordered rows"
        );
        ensure_eq!(
            stats.tombstones,
            tombstones as u64,
            "the counter of tombstones"
        );
        if let Some(last) = feed.last() {
            ensure!(
                last.seq <= stats.head,
                "the head is {}, the last entry {}",
                stats.head,
                last.seq
            );
        }
        let ids: Vec<OpId> = rows.iter().map(|row| row.operation.id).collect();
        let got: Vec<Row> = self.get(&ids)?.into_iter().flatten().collect();
        ensure_eq!(got, rows, "get of every row");
        ensure_eq!(self.check()?, Vec::<String>::new(), "the findings of check");
        Ok(())
    }
}

/// A live entry with its payload, as the row it shows.
pub(crate) fn row_of(entry: &FeedEntry) -> Option<Row> {
    let FeedKind::Live {
        sync_order,
        payload: Some(payload),
    } = &entry.kind
    else {
        return None;
    };
    Some(Row {
        operation: sync_core::Operation {
            id: entry.id,
            ts: entry.ts?,
            object: entry.object.clone(),
            sync_order: *sync_order,
            payload: payload.clone(),
        },
        seq: entry.seq,
    })
}

/// A reader of the feed that fails on whatever breaks the order it was promised.
pub(crate) struct Follower {
    pub(crate) cursor: FeedCursor,
    pub(crate) entries: Vec<FeedEntry>,
    seen: Seq,
}

impl Follower {
    pub(crate) fn new(cursor: FeedCursor) -> Self {
        Self {
            cursor,
            entries: Vec::new(),
            seen: cursor.seq(),
        }
    }

    /// Reads one page. Whether more was left.
    pub(crate) fn step<H: Harness>(
        &mut self,
        space: &Space<'_, H>,
        limit: Limit,
        payloads: Payloads,
    ) -> Verdict<bool> {
        let page = space.feed(self.cursor, limit, payloads)?;
        self.take(page, limit)
    }

    pub(crate) fn take(&mut self, page: FeedPage, limit: Limit) -> Verdict<bool> {
        let FeedPage {
            entries,
            next,
            more,
        } = page;
        ensure!(
            entries.len() <= limit.max_rows(),
            "a feed page of {} entries where {} were asked for",
            entries.len(),
            limit.max_rows()
        );
        for entry in entries {
            ensure!(
                entry.seq > self.seen,
                "the feed shows seq {} to a reader that has seen {}",
                entry.seq,
                self.seen
            );
            self.seen = entry.seq;
            self.entries.push(entry);
        }
        ensure!(
            next.seq() >= self.seen,
            "the next cursor {next} is before the last entry {}",
            self.seen
        );
        ensure!(
            !more || next.seq() > self.cursor.seq(),
            "a feed page says that more is left and its cursor stays at {next}"
        );
        self.seen = next.seq();
        self.cursor = next;
        Ok(more)
    }
}

/// Walks to the end, in strictly rising order.
fn walk<Item, Cursor: Ord + std::fmt::Debug>(
    name: &str,
    limit: Limit,
    cursor_of: impl Fn(&Item) -> Cursor,
    read: impl Fn(Option<&Cursor>) -> Verdict<Batch<Item, Cursor>>,
) -> Verdict<Vec<Item>> {
    let mut items = Vec::new();
    let mut last = None;
    let mut after: Option<Cursor> = None;
    loop {
        let batch = read(after.as_ref())?;
        ensure!(
            batch.items.len() <= limit.max_rows(),
            "{name} answers {} items where {} were asked for",
            batch.items.len(),
            limit.max_rows()
        );
        for item in batch.items {
            let at = cursor_of(&item);
            if last.as_ref().is_some_and(|last| at <= *last) {
                fail!("{name} shows {at:?} after {last:?}");
            }
            last = Some(at);
            items.push(item);
        }
        let Some(next) = batch.next else {
            return Ok(items);
        };
        ensure!(
            after.as_ref().is_none_or(|after| next > *after),
            "{name} after {after:?} goes on after {next:?}"
        );
        ensure!(
            last.as_ref().is_none_or(|last| next >= *last),
            "{name} goes on after {next:?}, before the last item {last:?}"
        );
        after = Some(next);
    }
}

/// Applies feed entries, in order, to a set of (ts, id).
pub(crate) fn replay(set: &mut BTreeSet<TimeKey>, entries: &[FeedEntry]) {
    for entry in entries {
        // The tombstone of an operation that was never here takes nothing away.
        let Some(ts) = entry.ts else { continue };
        let key = TimeKey { ts, id: entry.id };
        match entry.kind {
            FeedKind::Live { .. } => set.insert(key),
            FeedKind::Tombstone { .. } => set.remove(&key),
        };
    }
}

/// Bytes that count towards a byte budget.
pub(crate) fn weight(row: &Row) -> usize {
    let object = row.operation.object.as_ref();
    row.operation.payload.len() + object.map_or(0, |object| object.as_bytes().len())
}

/// A text as the value of a state key.
pub(crate) fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
