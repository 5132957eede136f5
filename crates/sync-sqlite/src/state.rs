//! Reads of state.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::{Bytes, Limit, StateEntry, StateKey};
use sync_kit::Answer;

use crate::error::corrupt;

/// The value of a state key.
pub(crate) fn load(
    connection: &Connection,
    incarnation: i64,
    key: &StateKey,
) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached("SELECT value FROM state WHERE incarnation = ?1 AND key = ?2")?
        .query_row(params![incarnation, key.as_str()], |row| {
            Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
        })
        .optional()
}

pub(crate) fn list(
    connection: &Connection,
    incarnation: i64,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> rusqlite::Result<Answer> {
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
    let fetch = i64::from(limit.fetch_rows()) + skipped;
    let found = statement.query_map(params![incarnation, from, fetch], |row| {
        let key = StateKey::new(row.get_ref(0)?.as_str()?).map_err(corrupt)?;
        let value = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
        Ok(StateEntry { key, value })
    })?;
    let has_prefix = |entry: &StateEntry| entry.key.as_str().starts_with(prefix);
    let found = found
        .skip_while(|entry| {
            entry
                .as_ref()
                .is_ok_and(|entry| entry.key.as_str() == after)
        })
        .take_while(|entry| entry.as_ref().map_or(true, has_prefix));
    Answer::state(found, limit)
}
