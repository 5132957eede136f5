//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row as SqlRow, ToSql, params};
use sync_core::{
    Batch, Bytes, GetPart, Known, Limit, Object, OpId, Operation, OrderKey, Row, Seq, SyncOrder,
    TimeKey, TimeRange, TombstoneReason, Ts,
};

use crate::columns::{object, op_id, optional_position, position};
use crate::error::corrupt;
use crate::space::Space;

/// The columns of [`operation`], in its order.
macro_rules! columns {
    () => {
        "id, ts, sync_order, seq, object, payload"
    };
}

/// Sorts before every id: walks begin after it.
const BEFORE_ANY_ID: &[u8] = &[];

pub(crate) fn get(
    connection: &Connection,
    space: Option<&Space>,
    ids: &[OpId],
    max_bytes: usize,
) -> rusqlite::Result<GetPart> {
    let Some(space) = space else {
        return Ok(GetPart {
            rows: vec![None; ids.len()],
            next: None,
        });
    };
    let mut find = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND id = ?2"
    ))?;
    let mut rows = Vec::new();
    let mut budget = Budget::new(max_bytes);
    for id in ids {
        let found = find
            .query_row(params![space.incarnation, id.as_bytes()], row)
            .optional()?;
        if !budget.takes(found.as_ref().map_or(0, size)) {
            let next = Some(rows.len());
            return Ok(GetPart { rows, next });
        }
        rows.push(found);
    }
    Ok(GetPart { rows, next: None })
}

pub(crate) fn known(
    connection: &Connection,
    space: Option<&Space>,
    ids: &[OpId],
) -> rusqlite::Result<Vec<Known>> {
    let Some(space) = space else {
        return Ok(vec![Known::Unknown; ids.len()]);
    };
    let mut live = connection.prepare_cached(
        "SELECT ts, seq, sync_order FROM operation WHERE incarnation = ?1 AND id = ?2",
    )?;
    let mut dead = connection.prepare_cached(
        "SELECT reason, seq, source_seq, lifted FROM tombstone INDEXED BY tombstone_id
         WHERE incarnation = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
    )?;
    ids.iter()
        .map(|id| known_one(space, id, &mut live, &mut dead))
        .collect()
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
    if space.tombstones == 0 {
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

pub(crate) fn scan_time(
    connection: &Connection,
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> rusqlite::Result<Batch<Row, TimeKey>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND (ts, id) > (?2, ?3) ORDER BY ts, id LIMIT ?4"
    ))?;
    let (ts, id) = first_after(range, after.as_ref());
    let rows = params![space.incarnation, ts.as_i64(), id, limit_plus_one(limit)];
    let in_range = |row: &Row| row.operation.ts <= range.to;
    walk(&mut statement, rows, limit, in_range, |row| {
        row.operation.time_key()
    })
}

pub(crate) fn scan_keys(
    connection: &Connection,
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> rusqlite::Result<Batch<TimeKey, TimeKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT ts, id FROM operation
         WHERE incarnation = ?1 AND (ts, id) > (?2, ?3) ORDER BY ts, id LIMIT ?4",
    )?;
    let (ts, id) = first_after(range, after.as_ref());
    let mut rows = statement.query(params![
        space.incarnation,
        ts.as_i64(),
        id,
        limit_plus_one(limit)
    ])?;
    let mut items: Vec<TimeKey> = Vec::new();
    while let Some(row) = rows.next()? {
        let ts: Ts = position(row, 0)?;
        if ts > range.to {
            break;
        }
        if items.len() == limit.max_rows() {
            let next = items.last().copied();
            return Ok(Batch { items, next });
        }
        items.push(TimeKey {
            ts,
            id: op_id(row, 1)?,
        });
    }
    Ok(Batch { items, next: None })
}

pub(crate) fn scan_order(
    connection: &Connection,
    space: &Space,
    after: Option<OrderKey>,
    limit: Limit,
) -> rusqlite::Result<Batch<Row, OrderKey>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation
          WHERE incarnation = ?1 AND sync_order IS NOT NULL AND (sync_order, id) > (?2, ?3)
          ORDER BY sync_order, id LIMIT ?4"
    ))?;
    let (order, id) = match &after {
        Some(key) => (key.sync_order.as_i64(), &key.id.as_bytes()[..]),
        None => (0, BEFORE_ANY_ID),
    };
    let rows = params![space.incarnation, order, id, limit_plus_one(limit)];
    walk(
        &mut statement,
        rows,
        limit,
        |_| true,
        |row| OrderKey {
            // Only rows with an order are selected.
            sync_order: row.operation.sync_order.unwrap_or(SyncOrder::ZERO),
            id: row.operation.id,
        },
    )
}

pub(crate) fn scan_object(
    connection: &Connection,
    space: &Space,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> rusqlite::Result<Batch<Row, Seq>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM operation WHERE incarnation = ?1 AND object = ?2 AND seq > ?3
          ORDER BY seq LIMIT ?4"
    ))?;
    let after = after.map_or(0, Seq::as_i64);
    let rows = params![
        space.incarnation,
        object.as_bytes(),
        after,
        limit_plus_one(limit)
    ];
    walk(&mut statement, rows, limit, |_| true, |row| row.seq)
}

/// Reads rows up to the limit and the byte budget, as long as they belong to the walk.
fn walk<Cursor>(
    statement: &mut CachedStatement<'_>,
    parameters: &[&dyn ToSql],
    limit: Limit,
    belongs: impl Fn(&Row) -> bool,
    cursor: impl Fn(&Row) -> Cursor,
) -> rusqlite::Result<Batch<Row, Cursor>> {
    let mut rows = statement.query(parameters)?;
    let mut items: Vec<Row> = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    while let Some(found) = rows.next()? {
        let found = row(found)?;
        if !belongs(&found) {
            break;
        }
        if items.len() == limit.max_rows() || !budget.takes(size(&found)) {
            let next = items.last().map(cursor);
            return Ok(Batch { items, next });
        }
        items.push(found);
    }
    Ok(Batch { items, next: None })
}

/// The place after which a walk over `range` begins.
fn first_after(range: TimeRange, after: Option<&TimeKey>) -> (Ts, &[u8]) {
    match after {
        Some(key) if key.ts >= range.from => (key.ts, key.id.as_bytes()),
        _ => (range.from, BEFORE_ANY_ID),
    }
}

/// One row more than asked for tells whether the walk goes on.
pub(crate) fn limit_plus_one(limit: Limit) -> i64 {
    i64::try_from(limit.max_rows())
        .unwrap_or(i64::MAX)
        .saturating_add(1)
}

/// What a read may still return: everything for the first row, then `left` bytes.
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
