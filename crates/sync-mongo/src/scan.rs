//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use std::collections::HashMap;

use mongodb::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use mongodb::bson::rawdoc;
use sync_core::{
    Batch, GetPart, Known, Limit, Object, OpId, OrderKey, Result, Row, Seq, SyncOrder, TimeKey,
    TimeRange,
};

use crate::documents::{Fields, OperationKey, binary, operation_keys};
use crate::snapshot::{BATCH, Snapshot, one_of};
use crate::space::Space;

/// Ids of one look-up that returns payloads.
const IDS: usize = 500;
/// Ids of one look-up that does not.
const KEYS: usize = 10_000;

pub(crate) async fn get(
    snapshot: &mut Snapshot,
    space: Option<&Space>,
    ids: &[OpId],
    max_bytes: usize,
) -> Result<GetPart> {
    let Some(space) = space else {
        return Ok(GetPart {
            rows: vec![None; ids.len()],
            next: None,
        });
    };
    let mut rows: Vec<Option<Row>> = Vec::new();
    let mut budget = Budget::new(max_bytes);
    for chunk in ids.chunks(IDS) {
        // Few are fetched at once whatever their size. Of many the sizes are asked for where they
        // turn out not to fit.
        let mut fitting = chunk.len();
        let mut found = fetch(snapshot, space, chunk, budget.left).await?;
        if found.is_none() {
            let sizes = sizes(snapshot, space, chunk).await?;
            let mut trial = budget.clone();
            let fits = |id| trial.takes(sizes.get(id).copied().unwrap_or_default());
            fitting = chunk.iter().take_while(fits_each(fits)).count();
            let first = chunk.get(..fitting).unwrap_or_default();
            found = fetch(snapshot, space, first, usize::MAX).await?;
        }
        let found = found.unwrap_or_default();
        for id in chunk.iter().take(fitting) {
            let row = found.get(id);
            if !budget.takes(row.map_or(0, size)) {
                let next = Some(rows.len());
                return Ok(GetPart { rows, next });
            }
            rows.push(row.cloned());
        }
        if fitting < chunk.len() {
            let next = Some(rows.len());
            return Ok(GetPart { rows, next });
        }
    }
    Ok(GetPart { rows, next: None })
}

/// `take_while` hands out references to the references.
fn fits_each<'i>(mut fits: impl FnMut(&'i OpId) -> bool) -> impl FnMut(&&'i OpId) -> bool {
    move |id| fits(id)
}

/// The rows of `ids`, or `None` where they are several, and larger than `max_bytes` together.
async fn fetch(
    snapshot: &mut Snapshot,
    space: &Space,
    ids: &[OpId],
    max_bytes: usize,
) -> Result<Option<HashMap<OpId, Row>>> {
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": one_of(operation_keys(space.incarnation, ids)),
        "hint": { "_id": 1 },
        "batchSize": i64::try_from(IDS).unwrap_or(i64::MAX),
    };
    let mut found = snapshot.find(command, row).await?;
    let mut rows = HashMap::new();
    let mut bytes = 0_usize;
    while let Some(row) = found.next().await? {
        bytes = bytes.saturating_add(size(&row));
        if bytes > max_bytes && ids.len() > 1 {
            return Ok(None);
        }
        rows.insert(row.operation.id, row);
    }
    Ok(Some(rows))
}

/// The sizes of the rows of `ids`, as the byte budget counts them.
async fn sizes(
    snapshot: &mut Snapshot,
    space: &Space,
    ids: &[OpId],
) -> Result<HashMap<OpId, usize>> {
    let object = rawdoc! { "$binarySize": { "$ifNull": ["$object", ""] } };
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": one_of(operation_keys(space.incarnation, ids)),
        "projection": { "size": { "$add": [{ "$binarySize": "$payload" }, object] } },
        "hint": { "_id": 1 },
        "batchSize": i64::try_from(IDS).unwrap_or(i64::MAX),
    };
    let sizes = snapshot.find_all(command, |document| {
        let fields = Fields::of(document)?;
        Ok((fields.id()?, fields.size()?))
    });
    Ok(sizes.await?.into_iter().collect())
}

pub(crate) async fn known(
    snapshot: &mut Snapshot,
    space: Option<&Space>,
    ids: &[OpId],
) -> Result<Vec<Known>> {
    let Some(space) = space else {
        return Ok(vec![Known::Unknown; ids.len()]);
    };
    let mut known: HashMap<OpId, Known> = HashMap::new();
    for ids in ids.chunks(KEYS) {
        let command = rawdoc! {
            "find": snapshot.database.collections.operations.as_str(),
            "filter": one_of(operation_keys(space.incarnation, ids)),
            "projection": { "ts": 1, "seq": 1, "order": 1 },
            "hint": { "_id": 1 },
            "batchSize": BATCH,
        };
        known.extend(snapshot.find_all(command, live).await?);
    }
    if space.counters.tombstones > 0 {
        let gone = |id: &&OpId| !known.contains_key(id);
        let gone: Vec<_> = ids.iter().filter(gone).copied().collect();
        for ids in gone.chunks(KEYS) {
            let command = rawdoc! {
                "find": snapshot.database.collections.tombstones.as_str(),
                "filter": { "op": { "$in": operation_keys(space.incarnation, ids) } },
                "projection": { "op": 1, "seq": 1, "reason": 1, "source_seq": 1, "lifted": 1 },
                "hint": "tombstone_op",
                "batchSize": BATCH,
            };
            bury(&mut known, snapshot.find_all(command, dead).await?);
        }
    }
    let unknown = |id| known.get(id).copied().unwrap_or(Known::Unknown);
    Ok(ids.iter().map(unknown).collect())
}

fn live(document: &RawDocument) -> Result<(OpId, Known)> {
    let fields = Fields::of(document)?;
    let live = Known::Live {
        ts: fields.ts()?,
        seq: fields.seq()?,
        sync_order: fields.order()?,
    };
    Ok((fields.id()?, live))
}

/// A tombstone: whose, its seq, and what it says of the id.
fn dead(document: &RawDocument) -> Result<(OpId, Seq, Known)> {
    let fields = Fields::of(document)?;
    let seq = fields.seq()?;
    let dead = if fields.lifted() {
        Known::Unknown
    } else {
        Known::Tombstoned {
            reason: fields.reason()?,
            seq,
            source_seq: fields.source_seq()?,
        }
    };
    Ok((fields.buried()?, seq, dead))
}

/// Of several tombstones of one id the newest counts.
fn bury(known: &mut HashMap<OpId, Known>, mut tombstones: Vec<(OpId, Seq, Known)>) {
    tombstones.sort_unstable_by_key(|(_, seq, _)| *seq);
    known.extend(tombstones.into_iter().map(|(id, _, dead)| (id, dead)));
}

pub(crate) async fn scan_time(
    snapshot: &mut Snapshot,
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<Row, TimeKey>> {
    let Some((min, max)) = bounds(space, range, after) else {
        return Ok(nothing());
    };
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": {},
        "hint": "operation_ts",
        "min": min,
        "max": max,
    };
    let command = limited(command, limit);
    walk(snapshot, command, limit, |row| row.operation.time_key()).await
}

pub(crate) async fn scan_keys(
    snapshot: &mut Snapshot,
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<TimeKey, TimeKey>> {
    let Some((min, max)) = bounds(space, range, after) else {
        return Ok(nothing());
    };
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": {},
        "projection": { "_id": 1, "ts": 1 },
        "hint": "operation_ts",
        "min": min,
        "max": max,
    };
    let mut found = snapshot.find(limited(command, limit), time_key).await?;
    let mut items: Vec<TimeKey> = Vec::new();
    while let Some(key) = found.next().await? {
        if items.len() == limit.max_rows() {
            let next = items.last().copied();
            return Ok(Batch { items, next });
        }
        items.push(key);
    }
    Ok(Batch { items, next: None })
}

fn time_key(document: &RawDocument) -> Result<TimeKey> {
    let fields = Fields::of(document)?;
    Ok(TimeKey {
        ts: fields.ts()?,
        id: fields.id()?,
    })
}

pub(crate) async fn scan_order(
    snapshot: &mut Snapshot,
    space: &Space,
    after: Option<OrderKey>,
    limit: Limit,
) -> Result<Batch<Row, OrderKey>> {
    let incarnation = space.incarnation;
    let from = match after {
        Some(OrderKey { sync_order, id }) => after_key(sync_order.as_i64(), id),
        None => (0, OpId::new([0; 32])),
    };
    let least = OperationKey::new(incarnation, &from.1);
    let beyond = OperationKey::lowest(incarnation);
    if from.0 > SyncOrder::MAX.as_i64() {
        return Ok(nothing());
    }
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        // The index has no others; saying so is what lets the server use it.
        "filter": { "order": { "$exists": true } },
        "hint": "operation_order",
        "min": { "inc": incarnation, "order": from.0, "_id": least.binary() },
        "max": { "inc": incarnation, "order": SyncOrder::MAX.as_i64() + 1, "_id": beyond.binary() },
    };
    let command = limited(command, limit);
    walk(snapshot, command, limit, |row| OrderKey {
        // Only rows with an order are found.
        sync_order: row.operation.sync_order.unwrap_or(SyncOrder::ZERO),
        id: row.operation.id,
    })
    .await
}

pub(crate) async fn scan_object(
    snapshot: &mut Snapshot,
    space: &Space,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> Result<Batch<Row, Seq>> {
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": {
            "inc": space.incarnation,
            "object": binary(object.as_bytes()),
            "seq": { "$gt": after.map_or(0, Seq::as_i64) },
        },
        "sort": { "seq": 1 },
        "hint": "operation_object",
    };
    let command = limited(command, limit);
    walk(snapshot, command, limit, |row| row.seq).await
}

/// Reads rows up to the limit and the byte budget.
async fn walk<Cursor>(
    snapshot: &mut Snapshot,
    command: RawDocumentBuf,
    limit: Limit,
    cursor: impl Fn(&Row) -> Cursor,
) -> Result<Batch<Row, Cursor>> {
    let mut found = snapshot.find(command, row).await?;
    let mut items: Vec<Row> = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    while let Some(row) = found.next().await? {
        if items.len() == limit.max_rows() || !budget.takes(size(&row)) {
            let next = items.last().map(cursor);
            return Ok(Batch { items, next });
        }
        items.push(row);
    }
    Ok(Batch { items, next: None })
}

/// The bounds of a walk in the index by time: the first key, and the first beyond the last. `None`
/// where there is none between them.
fn bounds(
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
) -> Option<(RawDocumentBuf, RawDocumentBuf)> {
    let (ts, id) = match after {
        Some(TimeKey { ts, id }) if ts >= range.from => after_key(ts.as_i64(), id),
        _ => (range.from.as_i64(), OpId::new([0; 32])),
    };
    if ts > range.to.as_i64() {
        return None;
    }
    let incarnation = space.incarnation;
    let bound = |ts: i64, key: RawBsonRef<'_>| rawdoc! { "inc": incarnation, "ts": ts, "_id": key };
    Some((
        bound(ts, OperationKey::new(incarnation, &id).binary()),
        bound(
            range.to.as_i64() + 1,
            OperationKey::lowest(incarnation).binary(),
        ),
    ))
}

/// The place right after a number and an id, because the server includes where a walk begins.
fn after_key(number: i64, id: OpId) -> (i64, OpId) {
    let mut bytes = *id.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return (number, OpId::new(bytes));
        }
    }
    (number + 1, OpId::new(bytes))
}

/// One row more than asked for tells whether the walk goes on. What is more than anyone has is no
/// limit.
pub(crate) fn limited(mut command: RawDocumentBuf, limit: Limit) -> RawDocumentBuf {
    let rows = i64::try_from(limit.max_rows()).unwrap_or(i64::MAX);
    let rows = rows.saturating_add(1);
    command.append(cstr!("batchSize"), rows.min(BATCH));
    if rows <= i64::from(u32::MAX) {
        command.append(cstr!("limit"), rows);
    }
    command
}

/// The walk over nothing.
pub(crate) fn nothing<Item, Cursor>() -> Batch<Item, Cursor> {
    Batch {
        items: Vec::new(),
        next: None,
    }
}

/// What a read may still return: everything for the first row, then `left` bytes.
#[derive(Clone)]
pub(crate) struct Budget {
    left: usize,
    first: bool,
}

impl Budget {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            left: max_bytes,
            first: true,
        }
    }

    /// Whether `bytes` more may be returned; then they are counted.
    pub(crate) fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        if !fits && !self.first {
            return false;
        }
        self.first = false;
        self.left = self.left.saturating_sub(bytes);
        true
    }
}

fn size(row: &Row) -> usize {
    let object = row
        .operation
        .object
        .as_ref()
        .map_or(0, |object| object.as_bytes().len());
    row.operation.payload.len() + object
}

fn row(document: &RawDocument) -> Result<Row> {
    Fields::of(document)?.row()
}

#[cfg(test)]
mod tests {
    use sync_core::Ts;

    use super::*;

    #[test]
    fn the_place_after_a_key_is_the_next_one_there_can_be() {
        let last = |byte| {
            let mut id = [0; 32];
            id[31] = byte;
            OpId::new(id)
        };
        assert_eq!(after_key(5, last(0)), (5, last(1)));
        let mut carried = [0; 32];
        carried[30] = 1;
        assert_eq!(after_key(5, last(0xff)), (5, OpId::new(carried)));
        assert_eq!(after_key(5, OpId::new([0xff; 32])), (6, last(0)));
        assert_eq!(
            after_key(Ts::MAX.as_i64(), OpId::new([0xff; 32])).0,
            1 << 53
        );
    }
}
