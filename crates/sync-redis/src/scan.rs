//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use redis::Pipeline;
use sync_core::{
    Batch, Digest, Error, ErrorKind, GetPart, Known, Limit, Object, OpId, OrderKey, Result, Row,
    Seq, SyncOrder, TimeKey, TimeRange, Ts,
};

use crate::error::{corrupt, named};
use crate::layout::{
    Key, Stored, Tombstone, array, be8, object_prefix, optional_position, position,
};
use crate::reply::{Parts, bytes};
use crate::scripts::Script;
use crate::server::Info;
use crate::servers::{Access, Call};
use crate::space::Space;

/// One more than any position, which no position reaches.
const BEYOND: u64 = 1 << 53;

pub(crate) async fn get(space: &Space, ids: &[OpId], max_bytes: usize) -> Result<GetPart> {
    let max_bytes = number(max_bytes);
    let mut answer = space
        .look("get", Script::Get, &[&concat(ids), max_bytes.as_bytes()])
        .await?;
    let mut found = answer.parts()?;
    let mut rows = Vec::with_capacity(found.len() / 2);
    for id in ids.iter().take(found.len() / 2) {
        let row = found.optional()?;
        let blob = found.optional()?;
        rows.push(match row {
            Some(row) => Some(Stored::unpack(row)?.into_row(*id, blob.unwrap_or_default())?),
            None => None,
        });
    }
    let next = answer.flag()?.then_some(rows.len());
    Ok(GetPart { rows, next })
}

pub(crate) async fn known(space: &Space, ids: &[OpId]) -> Result<Vec<Known>> {
    let mut answer = space.look("known", Script::Known, &[&concat(ids)]).await?;
    let found = answer.parts()?;
    if found.len() != ids.len() {
        return Err(corrupt("an answer for other ids than those asked for"));
    }
    found.map(|found| known_one(bytes(found)?)).collect()
}

fn known_one(mut found: Vec<u8>) -> Result<Known> {
    match found.first() {
        Some(b'U') => Ok(Known::Unknown),
        Some(b'L') => Ok(Known::Live {
            seq: position(array(&found, 1..9)?)?,
            ts: position(array(&found, 9..17)?)?,
            sync_order: optional_position(array(&found, 17..25)?)?,
        }),
        Some(b'T') => {
            let tombstone = Tombstone::unpack(found.split_off(1))?;
            Ok(Known::Tombstoned {
                reason: tombstone.reason,
                seq: tombstone.seq,
                source_seq: tombstone.source_seq,
            })
        }
        _ => Err(corrupt("an answer that has no meaning")),
    }
}

pub(crate) async fn scan_time(
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<Row, TimeKey>> {
    let (min, max) = time_bounds(range, after);
    let part = Part {
        index: Key::Time,
        min: &min,
        max: &max,
    };
    walk(space, "scan_time", part, limit, |row| {
        row.operation.time_key()
    })
    .await
}

/// All rows after `after` by time, each with the digest it is stored with.
pub(crate) async fn digested(
    space: &Space,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<(Vec<(Row, Digest)>, bool)> {
    let (min, max) = time_bounds(TimeRange::ALL, after);
    let part = Part {
        index: Key::Time,
        min: &min,
        max: &max,
    };
    rows(space, "check", part, limit).await
}

/// The keys alone, without a script: the server hands out its index as it lies there.
pub(crate) async fn scan_keys(
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<TimeKey, TimeKey>> {
    let (min, max) = time_bounds(range, after);
    let wanted = limit.max_rows();
    let rows = i64::try_from(wanted).unwrap_or(i64::MAX).saturating_add(1);
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.atomic();
    pipeline.cmd("INFO").arg("replication");
    let meta = space.keys.name(Key::Meta);
    pipeline.cmd("HMGET").arg(meta).arg("epoch").arg("server");
    let time = space.keys.name(Key::Time);
    pipeline
        .cmd("ZRANGEBYLEX")
        .arg(time)
        .arg(&min[..])
        .arg(&max[..]);
    pipeline.arg("LIMIT").arg(0).arg(rows);
    // Once more under the epoch of the server that answers.
    for _ in 0..2 {
        let answer = space
            .inner
            .servers
            .call(space.keys.slot, Access::Repeatable, Call::Many(&pipeline))
            .await
            .map_err(|failure| failure.into_error("scan_keys", false))?;
        let mut answer = Parts::of(answer)?;
        let info = Info::of(answer.value()?)?;
        if !info.is_primary() {
            return Err(named("scan_keys")(replica()));
        }
        let mut meta = answer.parts()?;
        let (epoch, server) = (meta.optional()?, meta.optional()?);
        if epoch.is_some() && server.as_deref() != info.replication_id().map(str::as_bytes) {
            space.adopt("scan_keys").await?;
            continue;
        }
        let mut members = answer.parts()?;
        let more = members.len() > wanted;
        let mut items = Vec::with_capacity(members.len().min(wanted));
        for member in members.by_ref().take(wanted) {
            items.push(time_key(&bytes(member)?)?);
        }
        let next = items.last().copied().filter(|_| more);
        return Ok(Batch { items, next });
    }
    Err(corrupt("the server changes all the time"))
}

pub(crate) async fn scan_order(
    space: &Space,
    after: Option<OrderKey>,
    limit: Limit,
) -> Result<Batch<Row, OrderKey>> {
    let min = match after {
        Some(key) => [&b"("[..], &be8(key.sync_order), key.id.as_bytes()].concat(),
        None => b"-".to_vec(),
    };
    let part = Part {
        index: Key::Order,
        min: &min,
        max: b"+",
    };
    walk(space, "scan_order", part, limit, |row| OrderKey {
        // Only rows with an order are in the index.
        sync_order: row.operation.sync_order.unwrap_or(SyncOrder::ZERO),
        id: row.operation.id,
    })
    .await
}

pub(crate) async fn scan_object(
    space: &Space,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> Result<Batch<Row, Seq>> {
    let bound = |seq: u64| {
        let mut bound = b"[".to_vec();
        object_prefix(object, &mut bound);
        bound.extend_from_slice(&seq.to_be_bytes());
        bound
    };
    let min = bound(after.map_or(0, |after| after.value() + 1));
    let part = Part {
        index: Key::Object,
        min: &min,
        max: &bound(BEYOND),
    };
    walk(space, "scan_object", part, limit, |row| row.seq).await
}

/// The rows of a part of an index.
async fn walk<Cursor>(
    space: &Space,
    operation: &'static str,
    part: Part<'_>,
    limit: Limit,
    cursor: impl Fn(&Row) -> Cursor,
) -> Result<Batch<Row, Cursor>> {
    let (found, more) = rows(space, operation, part, limit).await?;
    let items: Vec<Row> = found.into_iter().map(|(row, _)| row).collect();
    let next = items.last().filter(|_| more).map(cursor);
    Ok(Batch { items, next })
}

/// A part of an index, from one bound to the other.
struct Part<'a> {
    index: Key,
    min: &'a [u8],
    max: &'a [u8],
}

/// The rows of a part of an index, each with the digest it is stored with, and whether some are left.
async fn rows(
    space: &Space,
    operation: &'static str,
    part: Part<'_>,
    limit: Limit,
) -> Result<(Vec<(Row, Digest)>, bool)> {
    let index = part.index.number().to_string();
    let (rows, bytes) = (number(limit.max_rows()), number(limit.max_bytes()));
    let arguments = [
        index.as_bytes(),
        part.min,
        part.max,
        rows.as_bytes(),
        bytes.as_bytes(),
    ];
    let mut answer = space.look(operation, Script::Scan, &arguments).await?;
    let mut found = answer.parts()?;
    let mut rows = Vec::with_capacity(found.len() / 3);
    while found.len() > 0 {
        let id = found.id()?;
        let stored = Stored::unpack(found.bytes()?)?;
        let digest = stored.digest;
        rows.push((stored.into_row(id, found.bytes()?)?, digest));
    }
    Ok((rows, answer.flag()?))
}

/// The bounds of a walk by time.
fn time_bounds(range: TimeRange, after: Option<TimeKey>) -> (Vec<u8>, Vec<u8>) {
    let min = match after {
        Some(after) if after.ts >= range.from => {
            [&b"("[..], &be8(after.ts), after.id.as_bytes()].concat()
        }
        _ => [&b"["[..], &be8(range.from)].concat(),
    };
    let max = [&b"("[..], &(range.to.value() + 1).to_be_bytes()].concat();
    (min, max)
}

fn time_key(member: &[u8]) -> Result<TimeKey> {
    Ok(TimeKey {
        ts: position::<Ts>(array(member, 0..8)?)?,
        id: OpId::new(array(member, 8..40)?),
    })
}

/// A count as the scripts read it: none of them can have more.
pub(crate) fn number(count: usize) -> String {
    (count as u64).min(BEYOND - 1).to_string()
}

/// Ids in one string.
fn concat(ids: &[OpId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 * ids.len());
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes
}

fn replica() -> Error {
    Error::new(ErrorKind::ReadOnly)
        .with_message("the server is a replica; connect to its primary")
        .with_retry(sync_core::Retry::Later)
}
