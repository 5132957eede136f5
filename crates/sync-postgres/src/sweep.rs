//! What runs in bounded pieces: the sweep after resets and drops, and prune.

use futures_util::future::join;
use sync_core::plan::Counters;
use sync_core::{Error, ErrorKind, Result, Seq, SpaceName, Swept, TombstoneReason};
use tokio_postgres::Row;

use crate::columns::value;
use crate::error::corrupt;
use crate::pool::Connection;
use crate::space::{self, Found, Space};
use crate::{PostgresConfig, apply, scan};

/// Rows of one piece.
pub(crate) const PIECE: u32 = 1_000;

/// Whether an incarnation waits to be swept.
pub(crate) async fn pending(connection: &Connection) -> Result<bool> {
    let rows = scan::one(connection, &connection.statements().pending, &[]).await?;
    rows.first().map_or(Ok(false), |row| value(row, 0))
}

/// One transaction of a sweep. It locks no space: nobody writes to what a reset has left.
pub(crate) async fn sweep_piece(connection: &Connection, rows: usize) -> Result<Swept> {
    let nothing = Swept {
        removed: 0,
        more: false,
    };
    let statements = connection.statements();
    connection.begin_page().await?;
    let oldest = connection.rows(&statements.oldest_garbage, &[]).await?;
    let Some(oldest) = oldest.first() else {
        connection.roll_back().await;
        // Another program may be at what there is.
        return Ok(nothing);
    };
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let removed = sweep_in(connection, oldest, rows).await?;
    let left = connection.rows(&statements.pending, &[]).await?;
    let more = left.first().map_or(Ok(false), |row| value(row, 0))?;
    connection.end().await?;
    Ok(Swept { removed, more })
}

async fn sweep_in(connection: &Connection, oldest: &Row, rows: i64) -> Result<u64> {
    let statements = connection.statements();
    let incarnation: i32 = value(oldest, 0)?;
    let mut swept: [i64; 2] = [value(oldest, 1)?, value(oldest, 2)?];
    let mut removed = 0;
    // By seq, because rows lie in the table about as they came; and from where the last piece
    // ended, because an index keeps what is gone for a while.
    for (statement, upto) in [&statements.sweep_operations, &statements.sweep_tombstones]
        .into_iter()
        .zip(&mut swept)
    {
        let left = rows - removed;
        if left > 0 {
            let gone = connection
                .rows(statement, &[&incarnation, &*upto, &left])
                .await?;
            if let Some(row) = gone.first() {
                removed += value::<i64>(row, 0)?;
                *upto = value::<Option<i64>>(row, 1)?.unwrap_or(*upto);
            }
        }
    }
    let left = rows - removed;
    if left > 0 {
        let gone = connection
            .execute(&statements.sweep_state, &[&incarnation, &left])
            .await?;
        removed += gone.cast_signed();
    }
    if removed < rows {
        connection
            .execute(&statements.drop_garbage, &[&incarnation])
            .await?;
    } else {
        let [operations, tombstones] = swept;
        let statement = &statements.save_garbage;
        connection
            .execute(statement, &[&incarnation, &operations, &tombstones])
            .await?;
    }
    Ok(removed.cast_unsigned())
}

/// Begins a transaction that writes to the space called `name`, if it is there.
pub(crate) async fn begin(
    connection: &Connection,
    name: &SpaceName,
) -> Result<Option<(Found, Space)>> {
    let statements = connection.statements();
    connection
        .prepare(&[&statements.lock, &statements.space, &statements.notify])
        .await?;
    let (begun, locked) = join(connection.begin_page(), space::lock(connection, name)).await;
    begun?;
    let found = locked?.ok_or_else(|| {
        // Created a moment ago; the next attempt waits for it.
        Error::new(ErrorKind::Busy)
    })?;
    let space = found.space.clone();
    if space.is_none() {
        connection.roll_back().await;
    }
    Ok(space.map(|space| (found, space)))
}

/// Raises the floor to `up_to`, or to the head where that is lower; `None` without a space.
pub(crate) async fn raise_floor(
    connection: &Connection,
    config: &PostgresConfig,
    name: &SpaceName,
    up_to: Seq,
) -> Result<Option<Seq>> {
    let Some((found, space)) = begin(connection, name).await? else {
        return Ok(None);
    };
    let floor = space.floor.max(up_to.min(space.head));
    if floor == space.floor {
        connection.roll_back().await;
        return Ok(Some(floor));
    }
    let row = (space.incarnation, space.epoch, floor);
    space::save(connection, name, &found, row).await?;
    apply::commit(connection, config, name).await?;
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
pub(crate) async fn prune_piece(
    connection: &Connection,
    config: &PostgresConfig,
    name: &SpaceName,
    after: Seq,
) -> Result<Piece> {
    let nothing = Piece {
        dropped: 0,
        next: None,
    };
    let Some((found, space)) = begin(connection, name).await? else {
        return Ok(nothing);
    };
    let piece = if space.counters.tombstones == 0 {
        nothing
    } else {
        drop_after(connection, &space, after).await?
    };
    if piece.dropped == 0 {
        connection.roll_back().await;
        return Ok(piece);
    }
    let left = space.counters.tombstones.checked_sub(piece.dropped);
    let counters = Counters {
        tombstones: left.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt).with_message("a counter is lower than what it counts")
        })?,
        ..space.counters
    };
    let at = (space.incarnation, space.page);
    space::save_counter(connection, at, space.head, counters).await?;
    if space.moved {
        let row = (space.incarnation, space.epoch, space.floor);
        space::save(connection, name, &found, row).await?;
    }
    apply::commit(connection, config, name).await?;
    Ok(piece)
}

async fn drop_after(connection: &Connection, space: &Space, after: Seq) -> Result<Piece> {
    let (after, floor, most) = (after.as_i64(), space.floor.as_i64(), i64::from(PIECE));
    let operator = i16::from(TombstoneReason::Operator.code());
    let statement = &connection.statements().prune;
    let answer = connection
        .rows(
            statement,
            &[&space.incarnation, &after, &floor, &most, &operator],
        )
        .await?;
    let Some(row) = answer.first() else {
        return Err(corrupt("a prune that answers nothing"));
    };
    let (dropped, seen): (i64, i64) = (value(row, 0)?, value(row, 1)?);
    let last: Option<i64> = value(row, 2)?;
    let last = last.map(Seq::try_from).transpose().map_err(corrupt)?;
    Ok(Piece {
        dropped: dropped.cast_unsigned(),
        next: last.filter(|_| seen == most),
    })
}
