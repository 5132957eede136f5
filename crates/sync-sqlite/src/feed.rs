//! The feed: live rows and tombstones, merged by seq.

use rusqlite::{Connection, Row, params};
use sync_core::{
    Bytes, ErrorKind, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Payloads, Seq,
    TombstoneReason,
};

use crate::columns::{object, op_id, optional_position, position};
use crate::error::corrupt;
use crate::scan::{Budget, limit_plus_one};
use crate::space::Space;

/// Why a cursor is not accepted, or where its reader goes on: the seq to read after, and the floor
/// the reader began with.
pub(crate) fn check(space: Option<&Space>, after: FeedCursor) -> Result<(Seq, Seq), ErrorKind> {
    let FeedCursor::After { epoch, floor, seq } = after else {
        return Ok((Seq::ZERO, space.map_or(Seq::ZERO, |space| space.floor)));
    };
    let current = space.map(|space| space.epoch);
    match space {
        Some(space) if space.epoch == epoch => {
            if seq > space.head {
                Err(ErrorKind::AheadOfLog { head: space.head })
            } else if seq < space.floor && space.floor > floor {
                Err(ErrorKind::Pruned { floor: space.floor })
            } else {
                Ok((seq, floor))
            }
        }
        _ => Err(ErrorKind::WrongEpoch { current }),
    }
}

/// Whether `feed` would answer anything but an empty page.
pub(crate) fn would_answer(
    connection: &Connection,
    space: Option<&Space>,
    after: FeedCursor,
) -> rusqlite::Result<bool> {
    let Ok((after, _)) = check(space, after) else {
        return Ok(true);
    };
    let Some(space) = space.filter(|space| space.head > after) else {
        return Ok(false);
    };
    let mut entry = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM operation WHERE incarnation = ?1 AND seq > ?2)
             OR EXISTS (SELECT 1 FROM tombstone WHERE incarnation = ?1 AND seq > ?2)",
    )?;
    entry.query_row(params![space.incarnation, after.as_i64()], |row| row.get(0))
}

pub(crate) fn feed(
    connection: &Connection,
    space: Option<&Space>,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> rusqlite::Result<Result<FeedPage, ErrorKind>> {
    let (seq, floor) = match check(space, after) {
        Ok(place) => place,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(space) = space else {
        return Ok(Ok(FeedPage {
            entries: Vec::new(),
            next: after,
            more: false,
        }));
    };
    let (entries, more) = entries(connection, space, seq, limit, payloads)?;
    let seen = if more {
        entries.last().map_or(seq, |entry| entry.seq)
    } else {
        space.head
    };
    let next = FeedCursor::After {
        epoch: space.epoch,
        floor,
        seq: seen,
    };
    Ok(Ok(FeedPage {
        entries,
        next,
        more,
    }))
}

/// The entries after `after`, up to the limit, and whether some are left.
fn entries(
    connection: &Connection,
    space: &Space,
    after: Seq,
    limit: Limit,
    payloads: Payloads,
) -> rusqlite::Result<(Vec<FeedEntry>, bool)> {
    let mut live = connection.prepare_cached(
        "SELECT seq, id, ts, object, sync_order, iif(?4, payload, NULL) FROM operation
         WHERE incarnation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut dead = connection.prepare_cached(
        "SELECT seq, id, ts, object, reason, source_seq, lifted FROM tombstone
         WHERE incarnation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let (incarnation, after, rows) = (space.incarnation, after.as_i64(), limit_plus_one(limit));
    let with_payloads = payloads == Payloads::Include;
    let mut live = live.query(params![incarnation, after, rows, with_payloads])?;
    let mut dead = dead.query(params![incarnation, after, rows])?;
    let mut next_live = live.next()?.map(live_entry).transpose()?;
    let mut next_dead = dead.next()?.map(dead_entry).transpose()?;
    let mut entries = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    loop {
        let first_is_live = match (&next_live, &next_dead) {
            (Some(live), Some(dead)) => live.seq < dead.seq,
            (live, _) => live.is_some(),
        };
        let side = if first_is_live {
            &mut next_live
        } else {
            &mut next_dead
        };
        let Some(entry) = side.take() else {
            return Ok((entries, false));
        };
        if entries.len() == limit.max_rows() || !budget.takes(size(&entry)) {
            return Ok((entries, true));
        }
        entries.push(entry);
        if first_is_live {
            next_live = live.next()?.map(live_entry).transpose()?;
        } else {
            next_dead = dead.next()?.map(dead_entry).transpose()?;
        }
    }
}

fn live_entry(row: &Row<'_>) -> rusqlite::Result<FeedEntry> {
    let payload = row
        .get_ref(5)?
        .as_blob_or_null()?
        .map(Bytes::copy_from_slice);
    entry(
        row,
        FeedKind::Live {
            sync_order: optional_position(row, 4)?,
            payload,
        },
    )
}

fn dead_entry(row: &Row<'_>) -> rusqlite::Result<FeedEntry> {
    let kind = FeedKind::Tombstone {
        reason: TombstoneReason::from_code(row.get(4)?).map_err(corrupt)?,
        source_seq: optional_position(row, 5)?,
        lifted: row.get(6)?,
    };
    entry(row, kind)
}

fn entry(row: &Row<'_>, kind: FeedKind) -> rusqlite::Result<FeedEntry> {
    Ok(FeedEntry {
        seq: position(row, 0)?,
        id: op_id(row, 1)?,
        ts: optional_position(row, 2)?,
        object: object(row.get_ref(3)?)?,
        kind,
    })
}

/// What the byte budget counts of an entry: its object, and its payload where it carries one.
fn size(entry: &FeedEntry) -> usize {
    let payload = match &entry.kind {
        FeedKind::Live {
            payload: Some(payload),
            ..
        } => payload.len(),
        FeedKind::Live { .. } | FeedKind::Tombstone { .. } => 0,
    };
    payload
        + entry
            .object
            .as_ref()
            .map_or(0, |object| object.as_bytes().len())
}
