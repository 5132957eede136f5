//! Changes of a space as a whole.

use mongodb::bson::raw::RawArrayBuf;
use mongodb::bson::rawdoc;
use sync_core::plan::Counters;
use sync_core::{Epoch, Result, Seq, SpaceName, rules};
use sync_kit::{Altered, Change};

use crate::documents::{Fields, TombstoneKey, key, one_of};
use crate::retry::{Attempt, Work};
use crate::space::{self, SpaceDocument};
use crate::sweep::PIECE;
use crate::transaction::Transaction;

/// Makes the change.
pub(crate) struct AlterSpace(pub(crate) Change);

impl Work for AlterSpace {
    type Answer = Altered;

    async fn attempt(
        &self,
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<Attempt<Altered>> {
        let Some(mut space) = SpaceDocument::lock(transaction, name).await? else {
            return Ok(Attempt::Unchanged(Altered::Absent));
        };
        let before = space.clone();
        let altered = match self.0 {
            Change::NewEpoch => {
                space.epoch = Epoch::random()?;
                Altered::Epoch(space.epoch)
            }
            Change::RaiseFloor(up_to) => {
                space.floor = space.floor.max(up_to.min(space.head));
                Altered::Floor(space.floor)
            }
            Change::PrunePiece(after) => prune_piece(transaction, &mut space, after).await?,
        };
        if space == before {
            return Ok(Attempt::Unchanged(altered));
        }
        space.save(transaction, name).await?;
        Ok(Attempt::Wrote(altered))
    }
}

/// Looks at the next [`PIECE`] tombstones up to the floor, and drops those that a prune drops.
async fn prune_piece(
    transaction: &mut Transaction<'_>,
    space: &mut SpaceDocument,
    after: Seq,
) -> Result<Altered> {
    if space.counters.tombstones == 0 {
        let (dropped, next) = (0, None);
        return Ok(Altered::Pruned { dropped, next });
    }
    let tombstones = transaction.database.collections.tombstones.as_str();
    let after = TombstoneKey::new(space.incarnation, after);
    let last = TombstoneKey::new(space.incarnation, space.floor);
    let piece = i64::try_from(PIECE).unwrap_or(i64::MAX);
    let command = rawdoc! {
        "find": tombstones,
        "filter": { "_id": { "$gt": after.binary(), "$lte": last.binary() } },
        "projection": { "_id": 1, "seq": 1, "reason": 1, "lifted": 1 },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
        "limit": piece,
        "batchSize": piece,
    };
    let looked_at = transaction.find_all(command, |document| {
        let fields = Fields::of(document)?;
        let spared = rules::outlives_prune(fields.reason()?, fields.lifted());
        Ok((key(document)?, fields.seq()?, spared))
    });
    let looked_at = looked_at.await?;
    let next = looked_at.last().filter(|_| looked_at.len() == PIECE);
    let next = next.map(|(_, seq, _)| *seq);
    let drops = looked_at.into_iter().filter(|(_, _, spared)| !spared);
    let keys: RawArrayBuf = drops.map(|(key, ..)| key).collect();
    let mut dropped = 0;
    if !keys.is_empty() {
        dropped = transaction.delete(tombstones, one_of(keys)).await? as u64;
        space.counters.tombstones = Counters::less(space.counters.tombstones, dropped)?;
    }
    Ok(Altered::Pruned { dropped, next })
}

/// Removes the space.
pub(crate) struct DropSpace;

impl Work for DropSpace {
    /// Whether there was one.
    type Answer = bool;

    async fn attempt(
        &self,
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<Attempt<bool>> {
        let Some(space) = SpaceDocument::lock(transaction, name).await? else {
            return Ok(Attempt::Unchanged(false));
        };
        let spaces = transaction.database.collections.spaces.as_str();
        let this = rawdoc! { "_id": name.as_str() };
        transaction.delete(spaces, this).await?;
        space::discard(transaction, space.incarnation).await?;
        Ok(Attempt::Wrote(true))
    }
}
