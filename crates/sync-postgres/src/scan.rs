//! Reads of rows: look-ups by id and walks in the orders of the indexes.

use std::collections::HashMap;

use futures_util::future::{join3, join4};
use sync_core::{
    Batch, GetPart, Known, Limit, Object, OpId, Operation, OrderKey, Result, Row, Seq, SpaceName,
    SyncOrder, TimeKey, TimeRange, Ts,
};
use tokio_postgres::Row as SqlRow;

use crate::apply::reason;
use crate::columns::{bytes, object, op_id, optional_position, position};
use crate::pool::{Connection, Parameters};
use crate::space::{Found, Space};
use crate::statements::Statement;

/// Sorts before every id: walks begin after it.
const BEFORE_ANY_ID: &[u8] = &[];

/// Ids of one look-up of a `get`, which may end at the first of them.
const IDS: usize = 1_000;

/// A snapshot of the space called `name`, and the rows of one statement in it, in one round trip.
pub(crate) async fn snapshot(
    connection: &Connection,
    name: &SpaceName,
    statement: &Statement,
    parameters: Parameters<'_>,
) -> Result<(Option<Space>, Vec<SqlRow>)> {
    let space = &connection.statements().space;
    connection.prepare(&[space, statement]).await?;
    let (begun, found, rows, ended) = join4(
        connection.begin_read(),
        Found::load(connection, name),
        connection.rows(statement, parameters),
        connection.end(),
    )
    .await;
    begun?;
    let (found, rows) = (found?, rows?);
    ended?;
    Ok((found.space, rows))
}

/// The space called `name`, in a snapshot that ends at once.
pub(crate) async fn space(connection: &Connection, name: &SpaceName) -> Result<Option<Space>> {
    connection
        .prepare(&[&connection.statements().space])
        .await?;
    let (begun, found, ended) = join3(
        connection.begin_read(),
        Found::load(connection, name),
        connection.end(),
    )
    .await;
    begun?;
    let found = found?;
    ended?;
    Ok(found.space)
}

pub(crate) async fn get(
    connection: &Connection,
    name: &SpaceName,
    ids: &[OpId],
    max_bytes: usize,
) -> Result<GetPart> {
    let statement = &connection.statements().get;
    connection.prepare(&[statement]).await?;
    connection.begin_read().await?;
    let mut rows = Vec::new();
    let mut budget = Budget::new(max_bytes);
    for part in ids.chunks(IDS) {
        let wanted: Vec<&[u8]> = part.iter().map(|id| &id.as_bytes()[..]).collect();
        let found = connection
            .rows(statement, &[&name.as_str(), &wanted, &budget.left()])
            .await?;
        let mut found = found.iter().peekable();
        for (index, _) in part.iter().enumerate() {
            let here = |row: &&SqlRow| {
                let place: i64 = row.try_get(6).unwrap_or_default();
                usize::try_from(place) == Ok(index + 1)
            };
            let found = found.next_if(here).map(row).transpose()?;
            if !budget.takes(found.as_ref().map_or(0, size)) {
                connection.end().await?;
                let next = Some(rows.len());
                return Ok(GetPart { rows, next });
            }
            rows.push(found);
        }
    }
    connection.end().await?;
    Ok(GetPart { rows, next: None })
}

pub(crate) async fn known(
    connection: &Connection,
    name: &SpaceName,
    ids: &[OpId],
) -> Result<Vec<Known>> {
    let statements = connection.statements();
    let (live, dead) = (&statements.known_rows, &statements.look_up_tombstones);
    let wanted: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let parameters: Parameters<'_> = &[&name.as_str(), &wanted];
    connection.prepare(&[live, dead]).await?;
    let (begun, live, dead, ended) = join4(
        connection.begin_read(),
        connection.rows(live, parameters),
        connection.rows(dead, parameters),
        connection.end(),
    )
    .await;
    begun?;
    let (live, dead) = (live?, dead?);
    ended?;
    let mut known = HashMap::with_capacity(live.len() + dead.len());
    for row in &dead {
        let tombstone = Known::Tombstoned {
            reason: reason(row, 2)?,
            seq: position(row, 1)?,
            source_seq: optional_position(row, 3)?,
        };
        known.insert(op_id(row, 0)?, tombstone);
    }
    // A row outweighs the tombstones from before it.
    for row in &live {
        let row_of = Known::Live {
            ts: position(row, 1)?,
            seq: position(row, 2)?,
            sync_order: optional_position(row, 3)?,
        };
        known.insert(op_id(row, 0)?, row_of);
    }
    let answer = |id| known.get(id).copied().unwrap_or(Known::Unknown);
    Ok(ids.iter().map(answer).collect())
}

pub(crate) async fn scan_time(
    connection: &Connection,
    name: &SpaceName,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<Row, TimeKey>> {
    let (ts, id) = first_after(range, after.as_ref());
    let parameters: Parameters<'_> = &[
        &name.as_str(),
        &ts.as_i64(),
        &id,
        &range.to.as_i64(),
        &limit_plus_one(limit),
        &most_bytes(limit),
    ];
    let statement = &connection.statements().scan_time;
    walk(connection, statement, parameters, limit, |row| {
        row.operation.time_key()
    })
    .await
}

pub(crate) async fn scan_keys(
    connection: &Connection,
    name: &SpaceName,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Result<Batch<TimeKey, TimeKey>> {
    let (ts, id) = first_after(range, after.as_ref());
    let parameters: Parameters<'_> = &[
        &name.as_str(),
        &ts.as_i64(),
        &id,
        &range.to.as_i64(),
        &limit_plus_one(limit),
    ];
    let rows = one(connection, &connection.statements().scan_keys, parameters).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.iter().take(limit.max_rows()) {
        items.push(TimeKey {
            ts: position(row, 0)?,
            id: op_id(row, 1)?,
        });
    }
    let next = items.last().copied().filter(|_| rows.len() > items.len());
    Ok(Batch { items, next })
}

pub(crate) async fn scan_order(
    connection: &Connection,
    name: &SpaceName,
    after: Option<OrderKey>,
    limit: Limit,
) -> Result<Batch<Row, OrderKey>> {
    let (order, id) = match &after {
        Some(key) => (key.sync_order.as_i64(), &key.id.as_bytes()[..]),
        None => (0, BEFORE_ANY_ID),
    };
    let parameters: Parameters<'_> = &[
        &name.as_str(),
        &order,
        &id,
        &limit_plus_one(limit),
        &most_bytes(limit),
    ];
    let statement = &connection.statements().scan_order;
    walk(connection, statement, parameters, limit, |row| OrderKey {
        // Only rows with an order are selected.
        sync_order: row.operation.sync_order.unwrap_or(SyncOrder::ZERO),
        id: row.operation.id,
    })
    .await
}

pub(crate) async fn scan_object(
    connection: &Connection,
    name: &SpaceName,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> Result<Batch<Row, Seq>> {
    let after = after.map_or(0, Seq::as_i64);
    let parameters: Parameters<'_> = &[
        &name.as_str(),
        &object.as_bytes(),
        &after,
        &limit_plus_one(limit),
        &most_bytes(limit),
    ];
    let statement = &connection.statements().scan_object;
    walk(connection, statement, parameters, limit, |row| row.seq).await
}

/// The rows of one statement, which has one snapshot of its own.
pub(crate) async fn one(
    connection: &Connection,
    statement: &Statement,
    parameters: Parameters<'_>,
) -> Result<Vec<SqlRow>> {
    connection.prepare(&[statement]).await?;
    let (begun, rows, ended) = join3(
        connection.begin_read(),
        connection.rows(statement, parameters),
        connection.end(),
    )
    .await;
    begun?;
    let rows = rows?;
    ended?;
    Ok(rows)
}

/// Reads rows up to the limit and the byte budget.
async fn walk<Cursor>(
    connection: &Connection,
    statement: &Statement,
    parameters: Parameters<'_>,
    limit: Limit,
    cursor: impl Fn(&Row) -> Cursor,
) -> Result<Batch<Row, Cursor>> {
    let rows = one(connection, statement, parameters).await?;
    let mut items: Vec<Row> = Vec::with_capacity(rows.len());
    let mut budget = Budget::new(limit.max_bytes());
    for found in &rows {
        let found = row(found)?;
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

/// The byte budget as the server counts it: the row that goes beyond it is still sent, and tells
/// that there is one.
pub(crate) fn most_bytes(limit: Limit) -> i64 {
    i64::try_from(limit.max_bytes()).unwrap_or(i64::MAX)
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

    fn left(&self) -> i64 {
        i64::try_from(self.left).unwrap_or(i64::MAX)
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

/// A row whose first columns are id, ts, sync order, seq, object, payload.
fn row(found: &SqlRow) -> Result<Row> {
    let operation = Operation {
        id: op_id(found, 0)?,
        ts: position(found, 1)?,
        sync_order: optional_position(found, 2)?,
        object: object(found, 4)?,
        payload: bytes(found, 5)?,
    };
    Ok(Row {
        operation,
        seq: position(found, 3)?,
    })
}
