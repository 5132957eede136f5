//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use std::collections::HashMap;

use mongodb::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use mongodb::bson::rawdoc;
use sync_core::{
    Budget, Known, Limit, Object, OpId, OrderKey, Result, Row, Seq, SyncOrder, TimeKey, TimeRange,
};
use sync_kit::Answer;

use crate::documents::{
    BATCH, Fields, KEYS, OperationKey, binary, find_tombstones, in_force, one_of, operation_keys,
    tombstone,
};
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;

/// Ids of one look-up that returns payloads.
const IDS: usize = 500;

pub(crate) async fn get(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    ids: &[OpId],
    max_bytes: usize,
) -> Result<Answer> {
    let mut rows: Vec<Option<Row>> = Vec::new();
    let mut budget = Budget::new(max_bytes);
    for chunk in ids.chunks(IDS) {
        // The rows of one look-up are fetched whatever their size; where they turn out not to fit,
        // their sizes are asked for instead.
        let mut fitting = chunk.len();
        let mut found = fetch(snapshot, space, chunk, budget.left()).await?;
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
            if !budget.takes(row.map_or(0, Row::weight)) {
                return Ok(Answer::Found(rows));
            }
            rows.push(row.cloned());
        }
        if fitting < chunk.len() {
            break;
        }
    }
    Ok(Answer::Found(rows))
}

/// `take_while` hands out references to the references.
fn fits_each<'i>(mut fits: impl FnMut(&'i OpId) -> bool) -> impl FnMut(&&'i OpId) -> bool {
    move |id| fits(id)
}

/// The rows of `ids`, or `None` where they are several, and larger than `max_bytes` together.
async fn fetch(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
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
        bytes = bytes.saturating_add(row.weight());
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
    space: &SpaceDocument,
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
    space: &SpaceDocument,
    ids: &[OpId],
) -> Result<Answer> {
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
            let collections = &snapshot.database.collections;
            let command = find_tombstones(collections, space.incarnation, ids);
            let found = in_force(snapshot.find_all(command, tombstone).await?);
            known.extend(found.into_iter().map(|(id, tombstone)| {
                let known = Known::Tombstoned {
                    reason: tombstone.reason,
                    seq: tombstone.seq,
                    source_seq: tombstone.source_seq,
                };
                (id, known)
            }));
        }
    }
    let unknown = |id| known.get(id).copied().unwrap_or(Known::Unknown);
    Ok(Answer::Known(ids.iter().map(unknown).collect()))
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

pub(crate) async fn time(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Answer> {
    let Some((min, max)) = bounds(space, range, after.as_ref()) else {
        return Ok(no_rows());
    };
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": {},
        "hint": "operation_ts",
        "min": min,
        "max": max,
    };
    rows(snapshot, command, limit).await
}

pub(crate) async fn keys(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Answer> {
    let (mut keys, mut more) = (Vec::new(), false);
    if let Some((min, max)) = bounds(space, range, after.as_ref()) {
        let command = rawdoc! {
            "find": snapshot.database.collections.operations.as_str(),
            "filter": {},
            "projection": { "_id": 1, "ts": 1 },
            "hint": "operation_ts",
            "min": min,
            "max": max,
        };
        let found = snapshot.find(limited(command, limit), time_key).await?;
        let cut;
        (keys, cut) = found.take(limit, |_| 0).await?;
        more = cut.is_some();
    }
    Ok(Answer::Keys { keys, more })
}

fn time_key(document: &RawDocument) -> Result<TimeKey> {
    let fields = Fields::of(document)?;
    Ok(TimeKey {
        ts: fields.ts()?,
        id: fields.id()?,
    })
}

pub(crate) async fn order(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    after: Option<OrderKey>,
    limit: Limit,
) -> Result<Answer> {
    let incarnation = space.incarnation;
    let (order, id) = match &after {
        Some(after) => place_after(after.sync_order.as_i64(), after.id.as_bytes()),
        None => (0, OpId::new([0; 32])),
    };
    if order > SyncOrder::MAX.as_i64() {
        return Ok(no_rows());
    }
    let least = OperationKey::new(incarnation, &id);
    let beyond = OperationKey::lowest(incarnation);
    let command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        // The index is partial: the server uses it only where the filter implies its condition.
        "filter": { "order": { "$exists": true } },
        "hint": "operation_order",
        "min": { "inc": incarnation, "order": order, "_id": least.binary() },
        "max": { "inc": incarnation, "order": SyncOrder::MAX.as_i64() + 1, "_id": beyond.binary() },
    };
    rows(snapshot, command, limit).await
}

pub(crate) async fn object(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> Result<Answer> {
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
    rows(snapshot, command, limit).await
}

/// Rows up to the limit and the byte budget.
async fn rows(snapshot: &mut Snapshot, command: RawDocumentBuf, limit: Limit) -> Result<Answer> {
    let found = snapshot.find(limited(command, limit), row).await?;
    let (rows, cut) = found.take(limit, Row::weight).await?;
    let more = cut.is_some();
    Ok(Answer::Rows { rows, more })
}

fn no_rows() -> Answer {
    Answer::Rows {
        rows: Vec::new(),
        more: false,
    }
}

/// The bounds of a scan of the index by time: its first key, and the first one beyond its last.
/// `None` where no key is between them.
fn bounds(
    space: &SpaceDocument,
    range: TimeRange,
    after: Option<&TimeKey>,
) -> Option<(RawDocumentBuf, RawDocumentBuf)> {
    let (ts, id) = range.first_after(after);
    let (ts, id) = match id.try_into() {
        Ok(id) => place_after(ts.as_i64(), id),
        // No bytes: the first key is that of the lowest id.
        Err(_) => (ts.as_i64(), OpId::new([0; 32])),
    };
    if ts > range.to.as_i64() {
        return None;
    }
    let incarnation = space.incarnation;
    let bound = |ts: i64, key: RawBsonRef<'_>| rawdoc! { "inc": incarnation, "ts": ts, "_id": key };
    let beyond = OperationKey::lowest(incarnation);
    Some((
        bound(ts, OperationKey::new(incarnation, &id).binary()),
        bound(range.to.as_i64() + 1, beyond.binary()),
    ))
}

/// The place right after a number and an id: `min` includes the key that it names.
fn place_after(number: i64, id: &[u8; 32]) -> (i64, OpId) {
    let mut bytes = *id;
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return (number, OpId::new(bytes));
        }
    }
    (number + 1, OpId::new(bytes))
}

/// Asks for one row more than the limit, which tells whether some are left. A limit above any
/// possible count means no limit.
pub(crate) fn limited(mut command: RawDocumentBuf, limit: Limit) -> RawDocumentBuf {
    let rows = limit.fetch_rows();
    command.append(cstr!("batchSize"), i64::from(rows).min(BATCH));
    if rows < u32::MAX {
        command.append(cstr!("limit"), i64::from(rows));
    }
    command
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
            id
        };
        assert_eq!(place_after(5, &last(0)), (5, OpId::new(last(1))));
        let mut carried = [0; 32];
        carried[30] = 1;
        assert_eq!(place_after(5, &last(0xff)), (5, OpId::new(carried)));
        assert_eq!(place_after(5, &[0xff; 32]), (6, OpId::new(last(0))));
        assert_eq!(place_after(Ts::MAX.as_i64(), &[0xff; 32]).0, 1 << 53);
    }
}
