//! What runs in bounded pieces: the sweep after resets and drops, and prune.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sync_core::{Durability, Result, Seq, SpaceName, Swept, TombstoneReason};

use crate::columns::position;
use crate::error::failed;
use crate::space::{self, Space};

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

/// Raises the floor to `up_to`, or to the head where that is lower; `None` without a space.
pub(crate) fn raise_floor(
    connection: &Connection,
    name: &SpaceName,
    durability: Durability,
    up_to: Seq,
) -> Result<Option<Seq>> {
    let begun = space::begin(connection, name, durability).map_err(failed("prune"))?;
    let (transaction, Some(mut space)) = begun else {
        return Ok(None);
    };
    let floor = space.floor.max(up_to.min(space.head));
    if floor > space.floor {
        space.floor = floor;
        space.save(&transaction, durability)?;
        space::commit(transaction, "prune")?;
    }
    Ok(Some(floor))
}

/// What one transaction of a prune did.
pub(crate) struct Piece {
    pub(crate) dropped: u64,
    /// The last seq it looked at, where more may follow.
    pub(crate) next: Option<Seq>,
}

/// Looks at the next [`PIECE`] tombstones after the seq `after` and at or below the floor, in one
/// transaction, and drops all but those that a prune spares.
///
/// A piece goes on where the one before it ended, so that spared tombstones are read once.
pub(crate) fn prune_piece(
    connection: &Connection,
    name: &SpaceName,
    durability: Durability,
    after: Seq,
) -> Result<Piece> {
    let begun = space::begin(connection, name, durability).map_err(failed("prune"))?;
    let (transaction, Some(mut space)) = begun else {
        return Ok(Piece {
            dropped: 0,
            next: None,
        });
    };
    let (dropped, next) = drop_after(&transaction, &space, after).map_err(failed("prune"))?;
    if dropped > 0 {
        space.tombstones = space::less(space.tombstones, dropped)?;
        space.save(&transaction, durability)?;
        space::commit(transaction, "prune")?;
    }
    Ok(Piece { dropped, next })
}

fn drop_after(
    transaction: &Transaction<'_>,
    space: &Space,
    after: Seq,
) -> rusqlite::Result<(u64, Option<Seq>)> {
    let mut seqs = transaction.prepare_cached(
        "SELECT count(*), max(seq) FROM
           (SELECT seq FROM tombstone WHERE incarnation = ?1 AND seq > ?2 AND seq <= ?3
            ORDER BY seq LIMIT ?4)",
    )?;
    let (incarnation, floor) = (space.incarnation, space.floor.as_i64());
    let range = params![incarnation, after.as_i64(), floor, PIECE.cast_signed()];
    let (seen, last) = seqs.query_row(range, |row| {
        let seen: i64 = row.get(0)?;
        let last = if seen == 0 { after } else { position(row, 1)? };
        Ok((seen, last))
    })?;
    // The condition is `rules::outlives_prune`, turned round.
    let dropped = transaction
        .prepare_cached(
            "DELETE FROM tombstone WHERE incarnation = ?1 AND seq > ?2 AND seq <= ?3
               AND NOT (reason = ?4 AND lifted = 0)",
        )?
        .execute(params![
            incarnation,
            after.as_i64(),
            last.as_i64(),
            TombstoneReason::Operator.code()
        ])?;
    let more = seen == PIECE.cast_signed() as i64;
    Ok((dropped as u64, more.then_some(last)))
}
