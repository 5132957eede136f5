//! Reads of state.

use std::collections::HashMap;

use sync_core::{Batch, Bytes, Limit, Result, SpaceName, StateEntry, StateKey, limits};

use crate::columns::{bytes, value};
use crate::error::corrupt;
use crate::pool::{Connection, Parameters};
use crate::scan::{self, Budget, limit_plus_one, most_bytes};

/// The values of state keys.
pub(crate) async fn load(
    connection: &Connection,
    name: &SpaceName,
    keys: &[StateKey],
) -> Result<Vec<Option<Bytes>>> {
    let wanted: Vec<&str> = keys.iter().map(StateKey::as_str).collect();
    let statement = &connection.statements().look_up_state;
    let rows = scan::one(connection, statement, &[&name.as_str(), &wanted]).await?;
    let mut found: HashMap<&str, Bytes> = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(value(row, 0)?, bytes(row, 1)?);
    }
    let value = |key: &&str| found.get(*key).cloned();
    Ok(wanted.iter().map(value).collect())
}

pub(crate) async fn list(
    connection: &Connection,
    name: &SpaceName,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Result<Batch<StateEntry, StateKey>> {
    let after = after.map_or("", StateKey::as_str);
    let from = after.max(prefix);
    // The highest character, as often as a key has room for it: no key with the prefix is above.
    let highest = '\u{10ffff}';
    let fit = limits::STATE_KEY_BYTES / highest.len_utf8();
    let upto = format!("{prefix}{}", highest.to_string().repeat(fit));
    let parameters: Parameters<'_> = &[
        &name.as_str(),
        &from,
        &upto,
        &after,
        &limit_plus_one(limit),
        &most_bytes(limit),
    ];
    let rows = scan::one(connection, &connection.statements().list_state, parameters).await?;
    let mut items: Vec<StateEntry> = Vec::with_capacity(rows.len());
    let mut budget = Budget::new(limit.max_bytes());
    for row in &rows {
        let key: &str = value(row, 0)?;
        let found = bytes(row, 1)?;
        if items.len() == limit.max_rows() || !budget.takes(found.len()) {
            let next = items.last().map(|entry| entry.key.clone());
            return Ok(Batch { items, next });
        }
        items.push(StateEntry {
            key: StateKey::new(key).map_err(corrupt)?,
            value: found,
        });
    }
    Ok(Batch { items, next: None })
}
