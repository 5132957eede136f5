//! What is stored of everything that a page names.

use std::collections::{HashMap, HashSet};

use mongodb::bson::rawdoc;
use sync_core::plan::{Before, StoredRow, StoredTombstone};
use sync_core::{Bytes, Digest, OpId, Page, Result, StateKey};

use super::boundary;
use crate::documents::{Fields, operation_keys, state_key};
use crate::error::corrupt;
use crate::snapshot::one_of;
use crate::space::Space;
use crate::transaction::Transaction;
use crate::{MongoConfig, state};

/// Keys of one look-up.
const KEYS: usize = 10_000;

/// Looks up what `page` needs. Nothing of it stands where there is no space, nor after a reset.
pub(super) async fn before(
    config: &MongoConfig,
    transaction: &mut Transaction<'_>,
    space: Option<&Space>,
    page: &Page,
) -> Result<Before> {
    let Some(space) = space else {
        return Ok(Before::default());
    };
    let mut before = Before {
        head: space.head,
        counters: space.counters,
        ..Before::default()
    };
    before.state = values(config, transaction, space, page).await?;
    if page.reset {
        return Ok(before);
    }
    let ids = ids(page);
    if space.counters.total > 0 {
        // Objects are asked for by deletes and replacements alone.
        let objects = page.replace || !page.deletes.is_empty();
        for ids in ids.chunks(KEYS) {
            boundary(config, "rows")?;
            rows(transaction, space, ids, objects, &mut before.rows).await?;
        }
    }
    if space.counters.tombstones > 0 {
        let gone = |id: &OpId| !before.rows.contains_key(id);
        let ids: Vec<_> = ids.into_iter().filter(gone).collect();
        for ids in ids.chunks(KEYS) {
            boundary(config, "tombstones")?;
            tombstones(transaction, space, ids, &mut before.tombstones).await?;
        }
    }
    Ok(before)
}

/// Every id that the page names, once.
fn ids(page: &Page) -> Vec<OpId> {
    let named = page
        .lifts
        .iter()
        .copied()
        .chain(page.deletes.iter().map(|delete| delete.id))
        .chain(page.upserts.iter().map(|operation| operation.id))
        .chain(page.backfills.iter().map(|backfill| backfill.id));
    let mut seen = HashSet::with_capacity(page.operations());
    named.filter(|id| seen.insert(*id)).collect()
}

async fn values(
    config: &MongoConfig,
    transaction: &mut Transaction<'_>,
    space: &Space,
    page: &Page,
) -> Result<HashMap<StateKey, Bytes>> {
    let mut keys: Vec<&StateKey> = page
        .preconditions
        .iter()
        .map(|precondition| &precondition.key)
        .chain(page.state.iter().map(|change| &change.key))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    boundary(config, "state")?;
    let keys = keys
        .into_iter()
        .map(|key| state_key(space.incarnation, key.as_str()))
        .collect();
    let command = rawdoc! {
        "find": transaction.database.collections.state.as_str(),
        "filter": one_of(keys),
        "hint": { "_id": 1 },
    };
    let found = transaction.find_all(command, state::entry).await?;
    Ok(found
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect())
}

async fn rows(
    transaction: &mut Transaction<'_>,
    space: &Space,
    ids: &[OpId],
    objects: bool,
    rows: &mut HashMap<OpId, StoredRow>,
) -> Result<()> {
    let mut fields = rawdoc! { "ts": 1, "order": 1, "digest": 1 };
    if objects {
        fields.append(mongodb::bson::raw::cstr!("object"), 1);
    }
    let command = rawdoc! {
        "find": transaction.database.collections.operations.as_str(),
        "filter": one_of(operation_keys(space.incarnation, ids)),
        "projection": fields,
        "hint": { "_id": 1 },
        "batchSize": i64::try_from(KEYS).unwrap_or(i64::MAX),
    };
    let found = transaction.find_all(command, |document| {
        let fields = Fields::of(document)?;
        let row = StoredRow {
            ts: fields.ts()?,
            sync_order: fields.order()?,
            digest: Digest::try_from(fields.digest()?).map_err(corrupt)?,
            object: fields.object()?,
        };
        Ok((fields.id()?, row))
    });
    rows.extend(found.await?);
    Ok(())
}

/// The newest tombstone of each id, unless it was lifted.
async fn tombstones(
    transaction: &mut Transaction<'_>,
    space: &Space,
    ids: &[OpId],
    tombstones: &mut HashMap<OpId, StoredTombstone>,
) -> Result<()> {
    let ops = operation_keys(space.incarnation, ids);
    let command = rawdoc! {
        "find": transaction.database.collections.tombstones.as_str(),
        "filter": { "op": { "$in": ops } },
        "projection": { "op": 1, "seq": 1, "reason": 1, "source_seq": 1, "lifted": 1 },
        "hint": "tombstone_op",
    };
    let found = transaction.find_all(command, |document| {
        let fields = Fields::of(document)?;
        let tombstone = StoredTombstone {
            seq: fields.seq()?,
            reason: fields.reason()?,
            source_seq: fields.source_seq()?,
        };
        Ok((fields.buried()?, tombstone, fields.lifted()))
    });
    let mut newest: HashMap<OpId, (StoredTombstone, bool)> = HashMap::new();
    for (id, tombstone, lifted) in found.await? {
        let known = newest.entry(id).or_insert((tombstone, lifted));
        if known.0.seq < tombstone.seq {
            *known = (tombstone, lifted);
        }
    }
    let standing = newest.into_iter().filter(|(_, (_, lifted))| !lifted);
    tombstones.extend(standing.map(|(id, (tombstone, _))| (id, tombstone)));
    Ok(())
}
