//! Reads of state.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::{Batch, Bytes, Limit, StateEntry, StateKey};

use crate::error::corrupt;
use crate::scan::{Budget, limit_plus_one};
use crate::space::Space;

/// The value of a state key.
pub(crate) fn load(
    connection: &Connection,
    space: &Space,
    key: &str,
) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached("SELECT value FROM state WHERE incarnation = ?1 AND key = ?2")?
        .query_row(params![space.incarnation, key], |row| {
            Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
        })
        .optional()
}

pub(crate) fn list(
    connection: &Connection,
    space: &Space,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> rusqlite::Result<Batch<StateEntry, StateKey>> {
    // Keys are text in SQLite's BINARY collation, which compares their UTF-8 bytes. One bound,
    // because of two SQLite would begin at the first and read up to the second.
    let after = after.map_or("", StateKey::as_str);
    let (from, skipped) = if after < prefix {
        (prefix, 0)
    } else {
        (after, 1)
    };
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM state
         WHERE incarnation = ?1 AND key >= ?2 ORDER BY key LIMIT ?3",
    )?;
    let limit_rows = limit_plus_one(limit).saturating_add(skipped);
    let mut rows = statement.query(params![space.incarnation, from, limit_rows])?;
    let mut items: Vec<StateEntry> = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_str()?;
        if key == after {
            continue;
        }
        if !key.starts_with(prefix) {
            break;
        }
        let value = row.get_ref(1)?.as_blob()?;
        if items.len() == limit.max_rows() || !budget.takes(value.len()) {
            let next = items.last().map(|entry| entry.key.clone());
            return Ok(Batch { items, next });
        }
        let key = StateKey::new(key).map_err(corrupt)?;
        items.push(StateEntry {
            key,
            value: Bytes::copy_from_slice(value),
        });
    }
    Ok(Batch { items, next: None })
}
