//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row as SqlRow, params};
use sync_core::{
    Bytes, Known, Limit, Object, OpId, Operation, OrderKey, Row, Seq, TimeKey, TimeRange,
    TombstoneReason,
};
use sync_kit::Answer;

use crate::columns::{object, op_id, optional_position, position};
use crate::error::corrupt;
use crate::space::Space;

/// The columns of [`row`], in its order.
macro_rules! columns {
    () => {
        "id, ts, sync_order, seq, object, payload"
    };
}

pub(crate) fn get(
    connection: &Connection,
    incarnation: i64,
    ids: &[OpId],
    max_bytes: usize,
) -> rusqlite::Result<Answer> {
    let mut find = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND id = ?2"
    ))?;
    let rows = ids.iter().map(|id| {
        find.query_row(params![incarnation, id.as_bytes()], row)
            .optional()
    });
    Answer::found(rows, max_bytes)
}

pub(crate) fn known(
    connection: &Connection,
    space: &Space,
    ids: &[OpId],
) -> rusqlite::Result<Answer> {
    let mut live = connection.prepare_cached(
        "SELECT ts, seq, sync_order FROM operation WHERE incarnation = ?1 AND id = ?2",
    )?;
    let mut dead = connection.prepare_cached(
        "SELECT reason, seq, source_seq, lifted FROM tombstone INDEXED BY tombstone_id
         WHERE incarnation = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
    )?;
    let known = ids
        .iter()
        .map(|id| known_one(space, id, &mut live, &mut dead));
    Ok(Answer::Known(known.collect::<rusqlite::Result<_>>()?))
}

fn known_one(
    space: &Space,
    id: &OpId,
    live: &mut CachedStatement<'_>,
    dead: &mut CachedStatement<'_>,
) -> rusqlite::Result<Known> {
    let key = params![space.incarnation, id.as_bytes()];
    let found = live.query_row(key, |row| {
        Ok(Known::Live {
            ts: position(row, 0)?,
            seq: position(row, 1)?,
            sync_order: optional_position(row, 2)?,
        })
    });
    if let Some(found) = found.optional()? {
        return Ok(found);
    }
    if space.row.counters.tombstones == 0 {
        return Ok(Known::Unknown);
    }
    let found = dead.query_row(key, |row| {
        if row.get(3)? {
            return Ok(Known::Unknown);
        }
        Ok(Known::Tombstoned {
            reason: TombstoneReason::from_code(row.get(0)?).map_err(corrupt)?,
            seq: position(row, 1)?,
            source_seq: optional_position(row, 2)?,
        })
    });
    Ok(found.optional()?.unwrap_or(Known::Unknown))
}

pub(crate) fn by_time(
    connection: &Connection,
    incarnation: i64,
    range: TimeRange,
    after: Option<&TimeKey>,
    limit: Limit,
) -> rusqlite::Result<Answer> {
    let statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND (ts, id) > (?2, ?3) ORDER BY ts, id LIMIT ?4"
    ))?;
    let (ts, id) = range.first_after(after);
    let parameters = params![incarnation, ts.as_i64(), id, limit.fetch_rows()];
    rows(statement, parameters, limit, |row| {
        row.operation.ts <= range.to
    })
}

pub(crate) fn keys(
    connection: &Connection,
    incarnation: i64,
    range: TimeRange,
    after: Option<&TimeKey>,
    limit: Limit,
) -> rusqlite::Result<Answer> {
    let mut statement = connection.prepare_cached(
        "SELECT ts, id FROM operation
         WHERE incarnation = ?1 AND (ts, id) > (?2, ?3) ORDER BY ts, id LIMIT ?4",
    )?;
    let (ts, id) = range.first_after(after);
    let parameters = params![incarnation, ts.as_i64(), id, limit.fetch_rows()];
    let found = statement.query_map(parameters, |row| {
        Ok(TimeKey {
            ts: position(row, 0)?,
            id: op_id(row, 1)?,
        })
    })?;
    let found = found.take_while(|key| key.as_ref().map_or(true, |key| key.ts <= range.to));
    Answer::keys(found, limit)
}

pub(crate) fn by_order(
    connection: &Connection,
    incarnation: i64,
    after: Option<&OrderKey>,
    limit: Limit,
) -> rusqlite::Result<Answer> {
    let statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation
          WHERE incarnation = ?1 AND sync_order IS NOT NULL AND (sync_order, id) > (?2, ?3)
          ORDER BY sync_order, id LIMIT ?4"
    ))?;
    let (order, id) = match after {
        Some(key) => (key.sync_order.as_i64(), &key.id.as_bytes()[..]),
        None => (0, &[][..]),
    };
    let parameters = params![incarnation, order, id, limit.fetch_rows()];
    rows(statement, parameters, limit, |_| true)
}

pub(crate) fn by_object(
    connection: &Connection,
    incarnation: i64,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> rusqlite::Result<Answer> {
    let statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND object = ?2 AND seq > ?3
          ORDER BY seq LIMIT ?4"
    ))?;
    let after = after.map_or(0, Seq::as_i64);
    let parameters = params![incarnation, object.as_bytes(), after, limit.fetch_rows()];
    rows(statement, parameters, limit, |_| true)
}

/// Reads rows up to the limit and the byte budget, as long as they belong to the walk.
fn rows(
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    limit: Limit,
    belongs: impl Fn(&Row) -> bool,
) -> rusqlite::Result<Answer> {
    let found = statement.query_map(parameters, row)?;
    let found = found.take_while(|row| row.as_ref().map_or(true, &belongs));
    Answer::rows(found, limit)
}

/// A row of the columns of [`columns!`].
fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let operation = Operation {
        id: op_id(row, 0)?,
        ts: position(row, 1)?,
        sync_order: optional_position(row, 2)?,
        object: object(row.get_ref(4)?)?,
        payload: Bytes::copy_from_slice(row.get_ref(5)?.as_blob()?),
    };
    Ok(Row {
        operation,
        seq: position(row, 3)?,
    })
}
