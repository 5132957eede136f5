//! What runs in bounded pieces: the sweep after resets and drops, and prune.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sync_core::{Seq, Swept, TombstoneReason};

use crate::columns::position;
use crate::space::Space;

/// Rows of one piece, which a page may have to wait for.
pub(crate) const PIECE: usize = 1_000;

/// Whether an incarnation waits to be swept.
pub(crate) fn pending(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM garbage)")?
        .query_row([], |row| row.get(0))
}

/// One transaction of a sweep.
pub(crate) fn sweep_piece(connection: &mut Connection, rows: usize) -> rusqlite::Result<Swept> {
    if !pending(connection)? {
        return Ok(Swept {
            removed: 0,
            more: false,
        });
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = sweep_in(&transaction, i64::try_from(rows).unwrap_or(i64::MAX))?;
    let more = pending(&transaction)?;
    transaction.commit()?;
    Ok(Swept { removed, more })
}

fn sweep_in(transaction: &Transaction<'_>, rows: i64) -> rusqlite::Result<u64> {
    let oldest = transaction
        .prepare_cached("SELECT incarnation FROM garbage ORDER BY incarnation LIMIT 1")?
        .query_row([], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(incarnation) = oldest else {
        return Ok(0);
    };
    let mut removed = 0;
    // By seq, because rows lie in the file about as they came.
    for statement in [
        "DELETE FROM operation WHERE rid IN
           (SELECT rid FROM operation INDEXED BY operation_seq
            WHERE incarnation = ?1 ORDER BY seq LIMIT ?2)",
        "DELETE FROM tombstone WHERE incarnation = ?1 AND seq IN
           (SELECT seq FROM tombstone WHERE incarnation = ?1 ORDER BY seq LIMIT ?2)",
        "DELETE FROM state WHERE incarnation = ?1 AND key IN
           (SELECT key FROM state WHERE incarnation = ?1 ORDER BY key LIMIT ?2)",
    ] {
        let left = rows - removed;
        if left > 0 {
            let swept = transaction
                .prepare_cached(statement)?
                .execute(params![incarnation, left])?;
            removed += i64::try_from(swept).unwrap_or(i64::MAX);
        }
    }
    if removed < rows {
        transaction
            .prepare_cached("DELETE FROM garbage WHERE incarnation = ?1")?
            .execute([incarnation])?;
    }
    Ok(removed.cast_unsigned())
}

/// Looks at the next tombstones after `after`, up to the floor, and drops all but standing ones of
/// an operator. How many were dropped, and the last one that was looked at, where some are left.
pub(crate) fn prune(
    transaction: &Transaction<'_>,
    space: &Space,
    after: Seq,
) -> rusqlite::Result<(u64, Option<Seq>)> {
    if space.row.counters.tombstones == 0 {
        return Ok((0, None));
    }
    let (incarnation, after, floor) = (space.incarnation, after.as_i64(), space.floor.as_i64());
    let last = transaction
        .prepare_cached(
            "SELECT seq FROM tombstone WHERE incarnation = ?1 AND seq > ?2 AND seq <= ?3
             ORDER BY seq LIMIT 1 OFFSET ?4",
        )?
        .query_row(
            params![incarnation, after, floor, PIECE.cast_signed() - 1],
            |row| position::<Seq>(row, 0),
        )
        .optional()?;
    let up_to = last.map_or(floor, Seq::as_i64);
    let dropped = transaction
        .prepare_cached(
            "DELETE FROM tombstone WHERE incarnation = ?1 AND seq > ?2 AND seq <= ?3
               AND (reason <> ?4 OR lifted)",
        )?
        .execute(params![
            incarnation,
            after,
            up_to,
            TombstoneReason::Operator.code()
        ])?;
    Ok((dropped as u64, last))
}
