use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use sync_core::{
    Batch, FeedCursor, FeedEntry, FeedKind, FeedPage, GetPart, Limit, Object, OpId, OrderKey,
    Payloads, Result, Row, Seq, StateEntry, StateKey, TimeKey, TimeRange,
};

use super::Model;

impl Model {
    /// See [`SyncStore::get`](sync_core::SyncStore::get).
    pub fn get(&self, ids: &[OpId], limit: Limit) -> GetPart {
        let mut budget = Budget::new(limit.max_rows(), limit.max_bytes());
        let mut rows = Vec::new();
        for id in ids {
            let row = self.rows.get(id);
            if !budget.takes(row.map_or(0, bytes_of_row)) {
                let next = Some(rows.len());
                return GetPart { rows, next };
            }
            rows.push(row.cloned());
        }
        GetPart { rows, next: None }
    }

    /// See [`SyncStore::scan_time`](sync_core::SyncStore::scan_time).
    pub fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Batch<Row, TimeKey> {
        let rows = self
            .keys(range, after)
            .filter_map(|key| self.rows.get(&key.id));
        batch(rows.cloned(), limit, bytes_of_row, |row| {
            row.operation.time_key()
        })
    }

    /// See [`SyncStore::scan_keys`](sync_core::SyncStore::scan_keys).
    pub fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Batch<TimeKey, TimeKey> {
        batch(self.keys(range, after), limit, |_| 0, |key| *key)
    }

    /// See [`SyncStore::scan_order`](sync_core::SyncStore::scan_order).
    pub fn scan_order(&self, after: Option<OrderKey>, limit: Limit) -> Batch<Row, OrderKey> {
        let from = after.map_or(Unbounded, |key| Excluded((key.sync_order, key.id)));
        let rows = self
            .by_order
            .range((from, Unbounded))
            .filter_map(|(sync_order, id)| Some((*sync_order, self.rows.get(id)?)));
        let found = batch(
            rows.map(|(sync_order, row)| (sync_order, row.clone())),
            limit,
            |(_, row)| bytes_of_row(row),
            |(sync_order, row)| OrderKey {
                sync_order: *sync_order,
                id: row.operation.id,
            },
        );
        Batch {
            items: found.items.into_iter().map(|(_, row)| row).collect(),
            next: found.next,
        }
    }

    /// See [`SyncStore::scan_object`](sync_core::SyncStore::scan_object).
    pub fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Batch<Row, Seq> {
        let from = match after {
            Some(seq) => Excluded((object.clone(), seq)),
            None => Included((object.clone(), Seq::ZERO)),
        };
        let rows = self
            .by_object
            .range((from, Included((object.clone(), Seq::MAX))))
            .filter_map(|(_, seq)| self.rows.get(self.by_seq.get(seq)?));
        batch(rows.cloned(), limit, bytes_of_row, |row| row.seq)
    }

    /// See [`SyncStore::feed`](sync_core::SyncStore::feed).
    pub fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let (floor, seen) = self.check_cursor(after)?;
        let Some(epoch) = self.epoch else {
            return Ok(FeedPage {
                entries: Vec::new(),
                next: FeedCursor::Beginning,
                more: false,
            });
        };
        let entries = self.entries(seen, payloads);
        let Batch { items, next } = batch(entries, limit, bytes_of_entry, |entry| entry.seq);
        Ok(FeedPage {
            entries: items,
            next: FeedCursor::After {
                epoch,
                floor,
                seq: next.unwrap_or(super::seq(self.head)),
            },
            more: next.is_some(),
        })
    }

    /// See [`SyncState::load`](sync_core::SyncState::load).
    pub fn load(&self, key: &StateKey) -> Option<Bytes> {
        self.state.get(key).cloned()
    }

    /// See [`SyncState::list`](sync_core::SyncState::list).
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Batch<StateEntry, StateKey> {
        let entries = self
            .state
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| *key > after))
            .map(|(key, value)| StateEntry {
                key: key.clone(),
                value: value.clone(),
            });
        batch(
            entries,
            limit,
            |entry| entry.value.len(),
            |entry| entry.key.clone(),
        )
    }

    fn keys(&self, range: TimeRange, after: Option<TimeKey>) -> impl Iterator<Item = TimeKey> {
        let lowest = (range.from, OpId::new([0; 32]));
        let after = after.map(|key| (key.ts, key.id));
        let from = match after {
            Some(after) if after >= lowest => Excluded(after),
            _ => Included(lowest),
        };
        self.by_time
            .range((from, Unbounded))
            .map(|(ts, id)| TimeKey { ts: *ts, id: *id })
            .take_while(move |key| key.ts <= range.to)
    }

    /// Live entries and tombstones above `seen`, merged by seq.
    fn entries(&self, seen: Seq, payloads: Payloads) -> impl Iterator<Item = FeedEntry> {
        let above = (Excluded(seen), Unbounded);
        let live = self.by_seq.range(above).filter_map(move |(_, id)| {
            let Row { operation, seq } = self.rows.get(id)?;
            Some(FeedEntry {
                seq: *seq,
                id: *id,
                ts: Some(operation.ts),
                object: operation.object.clone(),
                kind: FeedKind::Live {
                    sync_order: operation.sync_order,
                    payload: (payloads == Payloads::Include).then(|| operation.payload.clone()),
                },
            })
        });
        let dead = self
            .tombstones
            .range(above)
            .map(|(seq, tombstone)| FeedEntry {
                seq: *seq,
                id: tombstone.id,
                ts: tombstone.ts,
                object: tombstone.object.clone(),
                kind: FeedKind::Tombstone {
                    reason: tombstone.reason,
                    source_seq: tombstone.source_seq,
                    lifted: tombstone.lifted,
                },
            });
        let (mut live, mut dead) = (live.peekable(), dead.peekable());
        std::iter::from_fn(move || match (live.peek(), dead.peek()) {
            (Some(row), Some(tombstone)) if row.seq < tombstone.seq => live.next(),
            (Some(_), None) => live.next(),
            _ => dead.next(),
        })
    }
}

/// What a read may still take.
struct Budget {
    rows: usize,
    bytes: usize,
    begun: bool,
}

impl Budget {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            rows,
            bytes,
            begun: false,
        }
    }

    /// Whether the next item fits; the first always does.
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.rows > 0 && (bytes <= self.bytes || !self.begun);
        if fits {
            self.begun = true;
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        fits
    }
}

fn batch<Item, Cursor>(
    found: impl Iterator<Item = Item>,
    limit: Limit,
    bytes_of: impl Fn(&Item) -> usize,
    cursor_of: impl Fn(&Item) -> Cursor,
) -> Batch<Item, Cursor> {
    let mut budget = Budget::new(limit.max_rows(), limit.max_bytes());
    let mut items = Vec::new();
    for item in found {
        if !budget.takes(bytes_of(&item)) {
            let next = items.last().map(cursor_of);
            return Batch { items, next };
        }
        items.push(item);
    }
    Batch { items, next: None }
}

fn bytes_of_row(row: &Row) -> usize {
    let object = row.operation.object.as_ref();
    row.operation.payload.len() + object.map_or(0, |object| object.as_bytes().len())
}

fn bytes_of_entry(entry: &FeedEntry) -> usize {
    let payload = match &entry.kind {
        FeedKind::Live { payload, .. } => payload.as_ref().map_or(0, Bytes::len),
        FeedKind::Tombstone { .. } => 0,
    };
    payload
        + entry
            .object
            .as_ref()
            .map_or(0, |object| object.as_bytes().len())
}
