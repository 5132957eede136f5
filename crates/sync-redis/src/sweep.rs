//! Prune, which runs in bounded pieces.

use sync_core::{Pruned, Result, Seq};

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
    let mut dropped = 0;
    loop {
        let piece = prune_piece(space).await?;
        dropped += piece;
        if piece < PIECE as u64 {
            return Ok(Pruned { floor, dropped });
        }
    }
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

/// Drops at most [`PIECE`] tombstones, and says how many.
async fn prune_piece(space: &Space) -> Result<u64> {
    let most = PIECE.to_string();
    // Each piece queues anew: the pages that wait go first.
    let _turn = space.shared.turn.lock().await;
    let mut answer = space
        .change("prune", Script::Prune, &[most.as_bytes()])
        .await?;
    answer.number()
}
