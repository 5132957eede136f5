//! The feed: live rows and tombstones.

use rusqlite::{Connection, Row, params};
use sync_core::{
    Bytes, FeedCursor, FeedEntry, FeedKind, Limit, Payloads, Seq, TombstoneReason, feed,
};
use sync_kit::Answer;

use crate::columns::{object, op_id, optional_position, position};
use crate::error::corrupt;
use crate::space::Space;

/// Whether there is an entry after `after`.
pub(crate) fn any_after(
    connection: &Connection,
    space: &Space,
    after: FeedCursor,
) -> rusqlite::Result<Answer> {
    let after = after.seq();
    let any = space.row.head > after && {
        let mut entry = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM operation WHERE incarnation = ?1 AND seq > ?2)
                 OR EXISTS (SELECT 1 FROM tombstone WHERE incarnation = ?1 AND seq > ?2)",
        )?;
        entry.query_row(params![space.incarnation, after.as_i64()], |row| row.get(0))?
    };
    Ok(Answer::Any {
        space: Some(space.stats()),
        any,
    })
}

/// The entries after `after`, up to the limit.
pub(crate) fn feed(
    connection: &Connection,
    space: &Space,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> rusqlite::Result<Answer> {
    let stats = space.stats();
    let (entries, more) = match feed::position(Some(&stats), after) {
        Ok(span) if !span.is_at_head() => {
            entries(connection, space, span.after(), limit, payloads)?
        }
        _ => (Vec::new(), false),
    };
    Ok(Answer::Feed {
        space: Some(stats),
        entries,
        more,
    })
}

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
    let (incarnation, after, rows) = (space.incarnation, after.as_i64(), limit.fetch_rows());
    let with_payloads = payloads == Payloads::Include;
    let live = live.query_map(params![incarnation, after, rows, with_payloads], live_entry)?;
    let dead = dead.query_map(params![incarnation, after, rows], dead_entry)?;
    feed::merge(live, dead, limit)
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
