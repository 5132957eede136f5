//! The feed: live rows and tombstones, merged by seq.

use futures_util::future::join5;
use sync_core::{
    ErrorKind, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Payloads, Result, Seq, SpaceName,
};
use tokio_postgres::Row;

use crate::apply::reason;
use crate::columns::{bytes, object, op_id, optional_position, position, value};
use crate::pool::{Connection, Parameters};
use crate::scan::{self, Budget, limit_plus_one, most_bytes};
use crate::space::{Found, Space};

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
pub(crate) async fn would_answer(
    connection: &Connection,
    name: &SpaceName,
    after: FeedCursor,
) -> Result<bool> {
    let any = &connection.statements().any_after;
    let seq = after.seq().as_i64();
    let (space, rows) = scan::snapshot(connection, name, any, &[&name.as_str(), &seq]).await?;
    if check(space.as_ref(), after).is_err() {
        return Ok(true);
    }
    match rows.first() {
        Some(row) => value(row, 0),
        None => Ok(false),
    }
}

pub(crate) async fn feed(
    connection: &Connection,
    name: &SpaceName,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<Result<FeedPage, ErrorKind>> {
    let (space, live, dead) = entries(connection, name, after.seq(), limit, payloads).await?;
    let (seq, floor) = match check(space.as_ref(), after) {
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
    let (entries, more) = merge(&live, &dead, limit)?;
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

/// The space, and its rows and tombstones after `after`, of one snapshot.
async fn entries(
    connection: &Connection,
    name: &SpaceName,
    after: Seq,
    limit: Limit,
    payloads: Payloads,
) -> Result<(Option<Space>, Vec<Row>, Vec<Row>)> {
    let statements = connection.statements();
    let (name_text, after) = (name.as_str(), after.as_i64());
    let (rows, bytes) = (limit_plus_one(limit), most_bytes(limit));
    let plain: Parameters<'_> = &[&name_text, &after, &rows];
    let weighed: Parameters<'_> = &[&name_text, &after, &rows, &bytes];
    let (live, parameters) = match payloads {
        Payloads::Skip => (&statements.feed_live, plain),
        Payloads::Include => (&statements.feed_live_payloads, weighed),
    };
    let (space, dead) = (&statements.space, &statements.feed_dead);
    connection.prepare(&[space, live, dead]).await?;
    let (begun, found, live, dead, ended) = join5(
        connection.begin_read(),
        Found::load(connection, name),
        connection.rows(live, parameters),
        connection.rows(dead, plain),
        connection.end(),
    )
    .await;
    begun?;
    let (found, live, dead) = (found?, live?, dead?);
    ended?;
    Ok((found.space, live, dead))
}

/// The entries up to the limit, and whether some are left.
fn merge(live: &[Row], dead: &[Row], limit: Limit) -> Result<(Vec<FeedEntry>, bool)> {
    let (mut live, mut dead) = (live.iter(), dead.iter());
    let mut next_live = live.next().map(live_entry).transpose()?;
    let mut next_dead = dead.next().map(dead_entry).transpose()?;
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
            next_live = live.next().map(live_entry).transpose()?;
        } else {
            next_dead = dead.next().map(dead_entry).transpose()?;
        }
    }
}

fn live_entry(row: &Row) -> Result<FeedEntry> {
    let payload = (row.len() > 5).then(|| bytes(row, 5)).transpose()?;
    let sync_order = optional_position(row, 4)?;
    entry(
        row,
        FeedKind::Live {
            sync_order,
            payload,
        },
    )
}

fn dead_entry(row: &Row) -> Result<FeedEntry> {
    let kind = FeedKind::Tombstone {
        reason: reason(row, 4)?,
        source_seq: optional_position(row, 5)?,
        lifted: value(row, 6)?,
    };
    entry(row, kind)
}

fn entry(row: &Row, kind: FeedKind) -> Result<FeedEntry> {
    Ok(FeedEntry {
        seq: position(row, 0)?,
        id: op_id(row, 1)?,
        ts: optional_position(row, 2)?,
        object: object(row, 3)?,
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
