//! Prune, which runs in bounded pieces.

use sync_core::{Pruned, Result, Seq, TombstoneReason};

use crate::error::corrupt;
use crate::reply::number;
use crate::scripts::Script;
use crate::space::Space;

/// Tombstones of one piece, which holds the server up.
const PIECE: usize = 1_000;

/// Raises the floor, then drops what is at or below it.
pub(crate) async fn prune(space: &Space, up_to: Seq) -> Result<Pruned> {
    let Some(floor) = raise_floor(space, up_to).await? else {
        return Ok(Pruned {
            floor: Seq::ZERO,
            dropped: 0,
        });
    };
    let (mut dropped, mut after) = (0, Seq::ZERO);
    loop {
        let piece = prune_piece(space, after).await?;
        dropped += piece.dropped;
        match piece.next {
            Some(last) => after = last,
            None => return Ok(Pruned { floor, dropped }),
        }
    }
}

/// What one call of the script did.
struct Piece {
    dropped: u64,
    /// The last seq it looked at, where more may follow.
    next: Option<Seq>,
}

/// Raises the floor to `up_to`, or to the head where that is lower; `None` without a space.
async fn raise_floor(space: &Space, up_to: Seq) -> Result<Option<Seq>> {
    let up_to = up_to.to_string();
    let _turn = space.shared.turn.lock().await;
    let mut answer = space
        .change("prune", Script::Floor, &[up_to.as_bytes()])
        .await?;
    space.shared.event.notify(usize::MAX);
    match answer.value()? {
        redis::Value::Nil => Ok(None),
        floor => Seq::try_from(number(&floor)?).map(Some).map_err(corrupt),
    }
}

/// Looks at the next [`PIECE`] tombstones after the seq `after` and at or below the floor, and
/// drops all but those that a prune spares.
///
/// A piece goes on where the one before it ended, so that spared tombstones are read once.
async fn prune_piece(space: &Space, after: Seq) -> Result<Piece> {
    let (most, after) = (PIECE.to_string(), after.to_string());
    let operator = [TombstoneReason::Operator.code()];
    let arguments = [most.as_bytes(), after.as_bytes(), &operator];
    // Each piece queues anew: the pages that wait go first.
    let _turn = space.shared.turn.lock().await;
    let mut answer = space.change("prune", Script::Prune, &arguments).await?;
    let mut parts = answer.parts()?;
    let (dropped, seen) = (parts.number()?, parts.number()?);
    let last = Seq::try_from(parts.number()?).map_err(corrupt)?;
    Ok(Piece {
        dropped,
        next: (seen == PIECE as u64).then_some(last),
    })
}
