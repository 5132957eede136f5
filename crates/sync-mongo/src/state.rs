//! Reads of state.

use std::collections::HashMap;

use mongodb::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use mongodb::bson::rawdoc;
use sync_core::{Bytes, Limit, Result, StateEntry, StateKey};
use sync_kit::Answer;

use crate::database::Collections;
use crate::documents::{
    BATCH, after_state_keys, bytes, one_of, state_key, stored_state_key, value, wrong,
};
use crate::error::corrupt;
use crate::scan::limited;
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;

/// The values of state keys, in request order.
pub(crate) async fn values(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    keys: &[StateKey],
) -> Result<Answer> {
    let command = find(&snapshot.database.collections, space, keys);
    let found = snapshot.find_all(command, key_and_value).await?;
    let values: HashMap<StateKey, Bytes> = found.into_iter().collect();
    let values = keys.iter().map(|key| values.get(key).cloned());
    Ok(Answer::Values(values.collect()))
}

/// The command that finds the values of state keys.
pub(crate) fn find<'k>(
    collections: &Collections,
    space: &SpaceDocument,
    keys: impl IntoIterator<Item = &'k StateKey>,
) -> RawDocumentBuf {
    let stored = |key: &StateKey| state_key(space.incarnation, key.as_str());
    let keys: RawArrayBuf = keys.into_iter().map(stored).collect();
    rawdoc! {
        "find": collections.state.as_str(),
        "filter": one_of(keys),
        "hint": { "_id": 1 },
        "batchSize": BATCH,
    }
}

/// The entries whose keys begin with `prefix`, up to the limit.
pub(crate) async fn list(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Result<Answer> {
    let incarnation = space.incarnation;
    let beyond = match after_prefix(prefix) {
        Some(beyond) => state_key(incarnation, &beyond),
        None => after_state_keys(incarnation),
    };
    let after = after.map_or("", StateKey::as_str);
    // No key is empty, so that nothing is left out where both are.
    let range = if after < prefix {
        rawdoc! { "$gte": state_key(incarnation, prefix), "$lt": beyond }
    } else {
        rawdoc! { "$gt": state_key(incarnation, after), "$lt": beyond }
    };
    let command = rawdoc! {
        "find": snapshot.database.collections.state.as_str(),
        "filter": { "_id": range },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
    };
    let found = snapshot.find(limited(command, limit), entry).await?;
    let (entries, cut) = found.take(limit, |entry| entry.value.len()).await?;
    let more = cut.is_some();
    Ok(Answer::State { entries, more })
}

/// The first text that sorts after everything that begins with `prefix`; `None` where no text does.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars = prefix.chars();
    while let Some(last) = chars.next_back() {
        // Text is compared by its bytes, which in UTF-8 is by its characters. Ranges of `char`
        // leave out the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            return Some(format!("{}{next}", chars.as_str()));
        }
    }
    None
}

/// A state value, and whose it is.
pub(crate) fn key_and_value(document: &RawDocument) -> Result<(StateKey, Bytes)> {
    let entry = entry(document)?;
    Ok((entry.key, entry.value))
}

fn entry(document: &RawDocument) -> Result<StateEntry> {
    let key = document.get_str("_id").map_err(|_| wrong("_id"))?;
    Ok(StateEntry {
        key: StateKey::new(stored_state_key(key)?).map_err(corrupt)?,
        value: Bytes::copy_from_slice(bytes(value(document, "value")?)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_after_a_prefix_is_above_all_that_begin_with_it_and_no_others() {
        assert_eq!(after_prefix(""), None);
        assert_eq!(after_prefix("\u{10ffff}\u{10ffff}"), None);
        assert_eq!(after_prefix("a/").unwrap(), "a0");
        assert_eq!(after_prefix("a\u{10ffff}").unwrap(), "b");
        assert_eq!(after_prefix("\u{d7ff}").unwrap(), "\u{e000}");
        assert!("a/\u{10ffff}" < after_prefix("a/").unwrap().as_str());
    }
}
