//! What stands of everything that a page names.

use std::collections::HashMap;

use futures_util::future::join5;
use sync_core::plan::{Before, StoredRow, StoredTombstone};
use sync_core::{Digest, OpId, Page, Result, StateKey, TombstoneReason};
use tokio_postgres::Row;

use super::{Job, Place, boundary};
use crate::PostgresConfig;
use crate::columns::{bytes, object, op_id, optional_position, position, value};
use crate::error::corrupt;
use crate::pool::Connection;
use crate::space;

/// What a page finds.
pub(super) struct Found {
    pub(super) plan: Before,
    pub(super) place: Place,
}

/// Begins the page's transaction, locks its space and looks up what it names, in one round trip.
/// `None` where the space was created meanwhile.
pub(super) async fn look_up(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
    rows_too: bool,
) -> Result<Option<Found>> {
    boundary(config, "begin")?;
    look_up_after(connection, config, job, rows_too, true).await
}

/// The same inside a transaction that has begun.
pub(super) async fn look_up_in(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
    rows_too: bool,
) -> Result<Option<Found>> {
    look_up_after(connection, config, job, rows_too, false).await
}

async fn look_up_after(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
    rows_too: bool,
    begin: bool,
) -> Result<Option<Found>> {
    let statements = connection.statements();
    let page = job.page();
    let name = job.name.as_str();
    // A reset forgets whatever stands.
    let ids = if page.reset { Vec::new() } else { ids(page) };
    let keys = keys(page);
    let look_for_rows = rows_too && !ids.is_empty();
    // Only these ask what a row is about.
    let rows = if page.deletes.is_empty() && !page.replace {
        &statements.look_up_rows
    } else {
        &statements.look_up_whole_rows
    };
    let mut wanted = vec![&statements.lock, &statements.space, &statements.notify];
    boundary(config, "lock")?;
    boundary(config, "space")?;
    for (wants, statement, name) in [
        (look_for_rows, rows, "look up rows"),
        (
            !ids.is_empty(),
            &statements.look_up_tombstones,
            "look up tombstones",
        ),
        (!keys.is_empty(), &statements.look_up_state, "look up state"),
    ] {
        if wants {
            boundary(config, name)?;
            wanted.push(statement);
        }
    }
    connection.prepare(&wanted).await?;
    let (opened, locked, rows, tombstones, state) = join5(
        async {
            if begin {
                connection.begin_page().await
            } else {
                Ok(())
            }
        },
        space::lock(connection, &job.name),
        async {
            if look_for_rows {
                connection.rows(rows, &[&name, &ids]).await
            } else {
                Ok(Vec::new())
            }
        },
        async {
            if ids.is_empty() {
                Ok(Vec::new())
            } else {
                let statement = &statements.look_up_tombstones;
                connection.rows(statement, &[&name, &ids]).await
            }
        },
        async {
            if keys.is_empty() {
                Ok(Vec::new())
            } else {
                let statement = &statements.look_up_state;
                connection.rows(statement, &[&name, &keys]).await
            }
        },
    )
    .await;
    opened?;
    let (locked, rows, tombstones, state) = (locked?, rows?, tombstones?, state?);
    let Some(found) = locked else {
        return Ok(None);
    };
    let mut plan = Before::default();
    if let Some(space) = &found.space {
        plan.head = space.head;
        plan.counters = space.counters;
    }
    plan.rows = rows.iter().map(stored_row).collect::<Result<_>>()?;
    plan.tombstones = tombstones
        .iter()
        .map(stored_tombstone)
        .collect::<Result<_>>()?;
    let mut set_by = HashMap::new();
    for row in &state {
        let key = StateKey::new(value(row, 0)?).map_err(corrupt)?;
        plan.state.insert(key.clone(), bytes(row, 1)?);
        set_by.insert(key, value(row, 2)?);
    }
    Ok(Some(Found {
        plan,
        place: Place { found, set_by },
    }))
}

fn ids(page: &Page) -> Vec<&[u8]> {
    let lifts = page.lifts.iter();
    let deletes = page.deletes.iter().map(|delete| &delete.id);
    let upserts = page.upserts.iter().map(|operation| &operation.id);
    let backfills = page.backfills.iter().map(|backfill| &backfill.id);
    let ids = lifts.chain(deletes).chain(upserts).chain(backfills);
    ids.map(|id| &id.as_bytes()[..]).collect()
}

fn keys(page: &Page) -> Vec<&str> {
    let expected = page.preconditions.iter().map(|condition| &condition.key);
    let changed = page.state.iter().map(|change| &change.key);
    let mut keys: Vec<&str> = expected.chain(changed).map(StateKey::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn stored_row(row: &Row) -> Result<(OpId, StoredRow)> {
    let stored = StoredRow {
        ts: position(row, 1)?,
        sync_order: optional_position(row, 2)?,
        digest: Digest::try_from(value::<&[u8]>(row, 3)?).map_err(corrupt)?,
        object: if row.len() > 4 { object(row, 4)? } else { None },
    };
    Ok((op_id(row, 0)?, stored))
}

fn stored_tombstone(row: &Row) -> Result<(OpId, StoredTombstone)> {
    let stored = StoredTombstone {
        seq: position(row, 1)?,
        reason: reason(row, 2)?,
        source_seq: optional_position(row, 3)?,
    };
    Ok((op_id(row, 0)?, stored))
}

/// A tombstone's reason in column `index`.
pub(crate) fn reason(row: &Row, index: usize) -> Result<TombstoneReason> {
    TombstoneReason::from_code(i64::from(value::<i16>(row, index)?)).map_err(corrupt)
}
