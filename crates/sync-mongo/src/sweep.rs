//! The sweep of what resets and drops leave behind.

use std::sync::Arc;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::rawdoc;
use sync_core::{Result, Seq, Swept};

use crate::database::{Database, majority};
use crate::documents::{
    OperationKey, TombstoneKey, after_state_keys, count, key, number, one_of, state_key, value,
};
use crate::snapshot::Snapshot;

/// Documents of one piece of a sweep or a prune.
pub(crate) const PIECE: usize = 1_000;

/// The oldest incarnation that waits to be swept.
pub(crate) async fn oldest(database: &Arc<Database>) -> Result<Option<i64>> {
    let command = rawdoc! {
        "find": database.collections.garbage.as_str(),
        "sort": { "_id": 1 },
        "limit": 1,
        "singleBatch": true,
    };
    let mut snapshot = Snapshot::new(database);
    let found = snapshot.find(command, |document| number(value(document, "_id")?));
    found.await?.next().await
}

/// One piece of a sweep, outside of any transaction: no read sees the documents that it removes, and
/// two sweeps at a time remove each of them once.
pub(crate) async fn sweep_piece(database: &Arc<Database>, documents: usize) -> Result<Swept> {
    let Some(incarnation) = oldest(database).await? else {
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
        database.run(command).await?;
    }
    Ok(Swept {
        removed: removed as u64,
        more: oldest(database).await?.is_some(),
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
    let keys = Snapshot::new(database).find_all(command, key).await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let command = delete(database, collection, one_of(keys.into_iter().collect()));
    count(&database.run(command).await?)
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
