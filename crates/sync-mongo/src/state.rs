//! Reads of state.

use std::collections::HashMap;

use mongodb::bson::raw::{RawArrayBuf, RawDocument};
use mongodb::bson::rawdoc;
use sync_core::{Batch, Bytes, Limit, Result, StateEntry, StateKey};

use crate::documents::{after_state_keys, bytes, state_key, stored_state_key, unreadable, wrong};
use crate::error::corrupt;
use crate::scan::{Budget, limited};
use crate::snapshot::{Snapshot, one_of};
use crate::space::Space;

/// The values of state keys, in request order.
pub(crate) async fn load_many(
    snapshot: &mut Snapshot,
    space: &Space,
    keys: &[StateKey],
) -> Result<Vec<Option<Bytes>>> {
    let stored: RawArrayBuf = keys
        .iter()
        .map(|key| state_key(space.incarnation, key.as_str()))
        .collect();
    let command = rawdoc! {
        "find": snapshot.database.collections.state.as_str(),
        "filter": one_of(stored),
        "hint": { "_id": 1 },
    };
    let found = snapshot.find_all(command, entry).await?;
    let values: HashMap<StateKey, Bytes> = found
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    Ok(keys.iter().map(|key| values.get(key).cloned()).collect())
}

pub(crate) async fn list(
    snapshot: &mut Snapshot,
    space: &Space,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Result<Batch<StateEntry, StateKey>> {
    let incarnation = space.incarnation;
    let after = after.map_or("", StateKey::as_str);
    // No key is empty, so that nothing is left out where both are.
    let (bound, from) = if after < prefix {
        ("$gte", prefix)
    } else {
        ("$gt", after)
    };
    let mut range = rawdoc! { "$lt": after_state_keys(incarnation) };
    let bound = mongodb::bson::raw::CString::try_from(bound).map_err(unreadable)?;
    range.append(bound, state_key(incarnation, from));
    let command = rawdoc! {
        "find": snapshot.database.collections.state.as_str(),
        "filter": { "_id": range },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
    };
    let mut found = snapshot.find(limited(command, limit), entry).await?;
    let mut items: Vec<StateEntry> = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    while let Some(entry) = found.next().await? {
        if !entry.key.as_str().starts_with(prefix) {
            break;
        }
        if items.len() == limit.max_rows() || !budget.takes(entry.value.len()) {
            let next = items.last().map(|entry| entry.key.clone());
            return Ok(Batch { items, next });
        }
        items.push(entry);
    }
    Ok(Batch { items, next: None })
}

/// A state value.
pub(crate) fn entry(document: &RawDocument) -> Result<StateEntry> {
    let key = document.get_str("_id").map_err(|_| wrong("_id"))?;
    let value = document.get("value").map_err(unreadable)?;
    Ok(StateEntry {
        key: StateKey::new(stored_state_key(key)?).map_err(corrupt)?,
        value: Bytes::copy_from_slice(bytes(value.ok_or_else(|| wrong("value"))?)?),
    })
}
