//! What runs in bounded pieces: the sweep after resets and drops, and prune.

use std::sync::Arc;

use mongodb::bson::raw::{RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, cstr};
use mongodb::bson::rawdoc;
use sync_core::plan::Counters;
use sync_core::{Error, ErrorKind, Result, Seq, SpaceName, Swept, rules};

use crate::database::{Database, majority};
use crate::documents::{
    Fields, OperationKey, TombstoneKey, after_state_keys, count, number, state_key, unreadable,
    wrong,
};
use crate::error::named;
use crate::patience::Patience;
use crate::snapshot::{Snapshot, one_of};
use crate::space::Space;
use crate::transaction::Transaction;

/// Documents of one piece.
pub(crate) const PIECE: usize = 1_000;

/// The oldest incarnation that waits to be swept.
pub(crate) async fn oldest(
    database: &Arc<Database>,
    operation: &'static str,
) -> Result<Option<i64>> {
    let command = rawdoc! {
        "find": database.collections.garbage.as_str(),
        "sort": { "_id": 1 },
        "limit": 1,
        "singleBatch": true,
    };
    let mut snapshot = Snapshot::new(database, operation);
    let found = snapshot.find(command, |document| {
        let id = document.get("_id").map_err(unreadable)?;
        number(id.ok_or_else(|| wrong("_id"))?)
    });
    found.await?.next().await
}

/// One piece of a sweep, outside of any transaction: nobody reads what it removes, and what a second
/// sweep removes at the same time is removed once.
pub(crate) async fn sweep_piece(database: &Arc<Database>, documents: usize) -> Result<Swept> {
    let Some(incarnation) = oldest(database, "sweep").await? else {
        return Ok(Swept {
            removed: 0,
            more: false,
        });
    };
    let names = &database.collections;
    let low = OperationKey::lowest(incarnation);
    let beyond = OperationKey::lowest(incarnation + 1);
    let operations = rawdoc! { "$gte": low.binary(), "$lt": beyond.binary() };
    let low = TombstoneKey::new(incarnation, Seq::ZERO);
    let beyond = TombstoneKey::new(incarnation + 1, Seq::ZERO);
    let tombstones = rawdoc! { "$gte": low.binary(), "$lt": beyond.binary() };
    let state = rawdoc! {
        "$gte": state_key(incarnation, ""),
        "$lt": after_state_keys(incarnation),
    };
    let mut removed = 0;
    for (collection, range) in [
        (&names.operations, operations),
        (&names.tombstones, tombstones),
        (&names.state, state),
    ] {
        if removed < documents {
            removed += remove(database, collection, range, documents - removed).await?;
        }
    }
    if removed < documents {
        let done = rawdoc! { "_id": incarnation };
        let command = delete(database, &names.garbage, done);
        database.run("sweep", command).await?;
    }
    Ok(Swept {
        removed: removed as u64,
        more: oldest(database, "sweep").await?.is_some(),
    })
}

/// Removes at most `limit` documents whose keys are in `range`.
async fn remove(
    database: &Arc<Database>,
    collection: &str,
    range: RawDocumentBuf,
    limit: usize,
) -> Result<usize> {
    let command = rawdoc! {
        "find": collection,
        "filter": { "_id": range },
        "projection": { "_id": 1 },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
        "limit": i64::try_from(limit).unwrap_or(i64::MAX),
        "batchSize": i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let keys = Snapshot::new(database, "sweep")
        .find_all(command, key)
        .await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let command = delete(database, collection, one_of(keys.into_iter().collect()));
    count(&database.run("sweep", command).await?)
}

fn key(document: &RawDocument) -> Result<RawBson> {
    let key = document.get("_id").map_err(unreadable)?;
    Ok(key.ok_or_else(|| wrong("_id"))?.into())
}

fn delete(database: &Database, collection: &str, filter: RawDocumentBuf) -> RawDocumentBuf {
    let concern = majority(database.commit_timeout);
    let limit = concern.w_timeout.unwrap_or_default().as_millis();
    rawdoc! {
        "delete": collection,
        "deletes": [{ "q": filter, "limit": 0 }],
        "writeConcern": {
            "w": "majority",
            "j": true,
            "wtimeout": i64::try_from(limit).unwrap_or(i64::MAX),
        },
    }
}

/// Raises the floor to `up_to`, or to the head where that is lower; `None` without a space.
pub(crate) async fn raise_floor(
    database: &Database,
    name: &SpaceName,
    up_to: Seq,
) -> Result<Option<Seq>> {
    let mut patience = Patience::new(database);
    loop {
        let mut transaction = Transaction::begin(database, "prune").await?;
        let written = raise(&mut transaction, name, up_to).await;
        let locked = transaction.locked;
        let ended = match written {
            Ok((floor, true)) => transaction.commit().await.map(|()| floor),
            other => {
                transaction.abort().await;
                other.map(|(floor, _)| floor)
            }
        };
        match ended {
            Ok(floor) => return Ok(floor),
            Err(error) => patience.after(named("prune")(error), locked).await?,
        }
    }
}

/// The floor afterwards, and whether that is another one than before.
async fn raise(
    transaction: &mut Transaction<'_>,
    name: &SpaceName,
    up_to: Seq,
) -> Result<(Option<Seq>, bool)> {
    let Some(mut space) = Space::lock(transaction, name).await? else {
        return Ok((None, false));
    };
    let floor = space.floor.max(up_to.min(space.head));
    let rises = floor > space.floor;
    if rises {
        space.floor = floor;
        space.save(transaction, name).await?;
    }
    Ok((Some(floor), rises))
}

/// What one transaction of a prune did.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) dropped: u64,
    /// The last seq it looked at, where more may follow.
    pub(crate) next: Option<Seq>,
}

impl Piece {
    const NOTHING: Self = Self {
        dropped: 0,
        next: None,
    };
}

/// Looks at the next [`PIECE`] tombstones after the seq `after` and at or below the floor, in one
/// transaction, and drops all but those that a prune spares.
///
/// A piece goes on where the one before it ended, so that spared tombstones are read once.
pub(crate) async fn prune_piece(
    database: &Database,
    name: &SpaceName,
    after: Seq,
) -> Result<Piece> {
    let mut patience = Patience::new(database);
    loop {
        let mut transaction = Transaction::begin(database, "prune").await?;
        let written = drop_after(&mut transaction, name, after).await;
        let locked = transaction.locked;
        let ended = match written {
            Ok(piece) if piece.dropped > 0 => transaction.commit().await.map(|()| piece),
            other => {
                transaction.abort().await;
                other
            }
        };
        match ended {
            Ok(piece) => return Ok(piece),
            Err(error) => patience.after(named("prune")(error), locked).await?,
        }
    }
}

async fn drop_after(
    transaction: &mut Transaction<'_>,
    name: &SpaceName,
    after: Seq,
) -> Result<Piece> {
    let Some(mut space) = Space::lock(transaction, name).await? else {
        return Ok(Piece::NOTHING);
    };
    if space.counters.tombstones == 0 {
        return Ok(Piece::NOTHING);
    }
    let tombstones = transaction.database.collections.tombstones.clone();
    let first = TombstoneKey::new(space.incarnation, after);
    let last = TombstoneKey::new(space.incarnation, space.floor);
    let mut command = rawdoc! {
        "find": tombstones.as_str(),
        "filter": { "_id": { "$gt": first.binary(), "$lte": last.binary() } },
        "projection": { "_id": 1, "seq": 1, "reason": 1, "lifted": 1 },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
    };
    let piece = i64::try_from(PIECE).unwrap_or(i64::MAX);
    command.append(cstr!("limit"), piece);
    command.append(cstr!("batchSize"), piece);
    let seen = transaction
        .find_all(command, |document| {
            let fields = Fields::of(document)?;
            let spared = rules::outlives_prune(fields.reason()?, fields.lifted());
            Ok((key(document)?, fields.seq()?, spared))
        })
        .await?;
    let next = seen.last().filter(|_| seen.len() == PIECE);
    let next = next.map(|(_, seq, _)| *seq);
    let dropped = seen.into_iter().filter(|(_, _, spared)| !spared);
    let keys: Vec<RawBson> = dropped.map(|(key, _, _)| key).collect();
    if keys.is_empty() {
        return Ok(Piece { dropped: 0, next });
    }
    let keys: RawArrayBuf = keys.into_iter().collect();
    let dropped = transaction.delete(&tombstones, one_of(keys)).await? as u64;
    let left = space
        .counters
        .tombstones
        .checked_sub(dropped)
        .ok_or_else(|| {
            Error::new(ErrorKind::Corrupt).with_message("a counter is lower than what it counts")
        })?;
    space.counters = Counters {
        tombstones: left,
        ..space.counters
    };
    space.save(transaction, name).await?;
    Ok(Piece { dropped, next })
}
