//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use redis::Pipeline;
use sync_core::{
    Digest, Known, Limit, Object, OpId, OrderKey, Result, Retry, Row, Seq, TimeKey, TimeRange, Ts,
};
use sync_kit::Answer;

use crate::command::adopted_in_vain;
use crate::error::corrupt;
use crate::layout::{
    Key, Stored, Tombstone, array, be8, object_prefix, optional_position, position,
};
use crate::reply::{Parts, bytes, unexpected};
use crate::scripts::Script;
use crate::server::{ServerInfo, replica};
use crate::servers::Access;
use crate::space::Space;

/// One more than any position, which no position reaches.
const BEYOND: u64 = 1 << 53;

/// A part of an index, between two bounds as `ZRANGEBYLEX` reads them.
pub(crate) struct Part {
    index: Key,
    min: Vec<u8>,
    max: Vec<u8>,
}

pub(crate) async fn get(space: &Space, ids: &[OpId], max_bytes: usize) -> Result<Answer> {
    let max_bytes = number(max_bytes);
    let arguments = [&concat(ids)[..], max_bytes.as_bytes()];
    let mut found = space.look(Script::Get, &arguments).await?.parts()?;
    let mut rows = Vec::with_capacity(found.len() / 2);
    for id in ids.iter().take(found.len() / 2) {
        let (row, blob) = (found.optional()?, found.optional()?);
        let row = row.map(|row| Stored::unpack(row)?.into_row(*id, blob.unwrap_or_default()));
        rows.push(row.transpose()?);
    }
    Ok(Answer::Found(rows))
}

pub(crate) async fn known(space: &Space, ids: &[OpId]) -> Result<Answer> {
    let mut answer = space.look(Script::Known, &[&concat(ids)]).await?;
    let found = answer.parts()?;
    if found.len() != ids.len() {
        return Err(corrupt("an answer for other ids than those asked for"));
    }
    let known = found.map(|found| known_one(bytes(found)?));
    Ok(Answer::Known(known.collect::<Result<_>>()?))
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
        _ => Err(unexpected()),
    }
}

/// The part of a range of times behind `after`.
pub(crate) fn by_time(range: TimeRange, after: Option<TimeKey>) -> Part {
    let (ts, id) = range.first_after(after.as_ref());
    let bound: &[u8] = if id.is_empty() { b"[" } else { b"(" };
    Part {
        index: Key::Time,
        min: [bound, &be8(ts), id].concat(),
        max: [&b"("[..], &(range.to.value() + 1).to_be_bytes()].concat(),
    }
}

/// The part of the rows with an order behind `after`.
pub(crate) fn by_order(after: Option<OrderKey>) -> Part {
    Part {
        index: Key::Order,
        min: after.map_or_else(
            || b"-".to_vec(),
            |key| [&b"("[..], &be8(key.sync_order), key.id.as_bytes()].concat(),
        ),
        max: b"+".to_vec(),
    }
}

/// The part of one object behind `after`.
pub(crate) fn of_object(object: &Object, after: Option<Seq>) -> Part {
    let bound = |seq: u64| {
        let mut bound = b"[".to_vec();
        object_prefix(object, &mut bound);
        bound.extend_from_slice(&seq.to_be_bytes());
        bound
    };
    Part {
        index: Key::Object,
        min: bound(after.map_or(0, |after| after.value() + 1)),
        max: bound(BEYOND),
    }
}

/// The keys alone, without a script: the server hands out its index as it is.
pub(crate) async fn keys(
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Answer> {
    let Part { min, max, .. } = by_time(range, after);
    let keys = space.keys();
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.atomic();
    pipeline.cmd("INFO").arg("replication");
    let meta = keys.name(Key::Meta);
    pipeline.cmd("HMGET").arg(meta).arg("epoch").arg("server");
    pipeline.cmd("ZRANGEBYLEX").arg(keys.name(Key::Time));
    pipeline.arg(&min[..]).arg(&max[..]);
    pipeline.arg("LIMIT").arg(0).arg(limit.fetch_rows());
    let servers = &space.engine.servers;
    // Once more under the epoch of the server that answers.
    for _ in 0..2 {
        let answer = servers.call(keys.slot, Access::Repeatable, &pipeline);
        let mut answer = Parts::of(answer.await?)?;
        let info = ServerInfo::of(answer.value()?)?;
        if !info.is_primary() {
            // Until a primary takes over.
            return Err(replica().with_retry(Retry::Later));
        }
        let mut meta = answer.parts()?;
        let (epoch, server) = (meta.optional()?, meta.optional()?);
        if epoch.is_some() && server.as_deref() != info.replication_id().map(str::as_bytes) {
            space.adopt().await?;
            continue;
        }
        let members = answer.parts()?;
        let more = members.len() > limit.max_rows();
        let mut keys = Vec::with_capacity(members.len());
        for member in members.take(limit.max_rows()) {
            keys.push(time_key(&bytes(member)?)?);
        }
        return Ok(Answer::Keys { keys, more });
    }
    Err(adopted_in_vain())
}

/// The rows of a part of an index.
pub(crate) async fn rows(space: &Space, part: Part, limit: Limit) -> Result<Answer> {
    let (rows, more) = digested(space, part, limit).await?;
    let rows = rows.into_iter().map(|(row, _)| row).collect();
    Ok(Answer::Rows { rows, more })
}

/// The rows of a part of an index, each with the digest it is stored with, and whether some are left.
pub(crate) async fn digested(
    space: &Space,
    part: Part,
    limit: Limit,
) -> Result<(Vec<(Row, Digest)>, bool)> {
    let index = part.index.number().to_string();
    let (rows, bytes) = (number(limit.max_rows()), number(limit.max_bytes()));
    let arguments = [
        index.as_bytes(),
        &part.min,
        &part.max,
        rows.as_bytes(),
        bytes.as_bytes(),
    ];
    let mut answer = space.look(Script::Scan, &arguments).await?;
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
