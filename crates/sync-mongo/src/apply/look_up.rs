//! Looks up the stored rows, tombstones and state that a page names.

use std::collections::{BTreeSet, HashMap, HashSet};

use mongodb::bson::raw::cstr;
use mongodb::bson::rawdoc;
use sync_core::plan::{Before, StoredRow};
use sync_core::{Bytes, Digest, OpId, Page, Result, StateKey};

use crate::documents::{
    Fields, KEYS, find_tombstones, in_force, one_of, operation_keys, tombstone,
};
use crate::error::corrupt;
use crate::space::SpaceDocument;
use crate::state;
use crate::transaction::Transaction;

/// Looks up what `page` needs. Where there is no space nothing is stored, and after a reset nothing
/// but the state that its preconditions speak of.
pub(super) async fn before(
    transaction: &mut Transaction<'_>,
    space: Option<&SpaceDocument>,
    page: &Page,
) -> Result<Before> {
    let Some(space) = space else {
        return Ok(Before::default());
    };
    let mut before = Before {
        head: space.head,
        counters: space.counters,
        state: values(transaction, space, page).await?,
        ..Before::default()
    };
    if page.reset {
        return Ok(before);
    }
    let ids: Vec<OpId> = {
        let mut seen = HashSet::with_capacity(page.operations());
        page.ids().filter(|id| seen.insert(**id)).copied().collect()
    };
    if space.counters.total > 0 {
        // Only deletes and replacements ask for objects.
        let objects = page.replace || !page.deletes.is_empty();
        for ids in ids.chunks(KEYS) {
            transaction.boundary("rows")?;
            rows(transaction, space, ids, objects, &mut before.rows).await?;
        }
    }
    if space.counters.tombstones > 0 {
        let gone = |id: &OpId| !before.rows.contains_key(id);
        let ids: Vec<_> = ids.into_iter().filter(gone).collect();
        for ids in ids.chunks(KEYS) {
            transaction.boundary("tombstones")?;
            let collections = &transaction.database.collections;
            let command = find_tombstones(collections, space.incarnation, ids);
            let found = transaction.find_all(command, tombstone).await?;
            before.tombstones.extend(in_force(found));
        }
    }
    Ok(before)
}

async fn values(
    transaction: &mut Transaction<'_>,
    space: &SpaceDocument,
    page: &Page,
) -> Result<HashMap<StateKey, Bytes>> {
    let keys: BTreeSet<_> = page.state_keys().collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    transaction.boundary("state")?;
    let command = state::find(&transaction.database.collections, space, keys);
    let found = transaction.find_all(command, state::key_and_value).await?;
    Ok(found.into_iter().collect())
}

async fn rows(
    transaction: &mut Transaction<'_>,
    space: &SpaceDocument,
    ids: &[OpId],
    objects: bool,
    rows: &mut HashMap<OpId, StoredRow>,
) -> Result<()> {
    let mut fields = rawdoc! { "ts": 1, "order": 1, "digest": 1 };
    if objects {
        fields.append(cstr!("object"), 1);
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
