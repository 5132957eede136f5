//! What stands of everything that a page names.

use std::collections::HashMap;

use futures_util::future::join5;
use sync_core::plan::{Before, StoredRow, StoredTombstone};
use sync_core::{Bytes, Digest, OpId, Page, Result, StateKey, TombstoneReason};
use tokio_postgres::Row;

use super::{Job, Place, boundary};
use crate::PostgresConfig;
use crate::columns::{bytes, object, op_id, optional_position, position, value};
use crate::error::corrupt;
use crate::pool::{Connection, Parameters};
use crate::space;
use crate::statements::Statement;

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
) -> Result<Option<Found>> {
    boundary(config, "begin")?;
    let statements = connection.statements();
    let page = job.page();
    let name = job.name.as_str();
    // A reset forgets whatever stands.
    let ids = if page.reset { Vec::new() } else { ids(page) };
    let keys = keys(page);
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
        (!ids.is_empty(), rows, "look up rows"),
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
    let (opened, locked, live, dead, values) = join5(
        connection.begin_page(),
        space::lock(connection, &job.name),
        looked_up(connection, !ids.is_empty(), rows, &[&name, &ids]),
        looked_up(
            connection,
            !ids.is_empty(),
            &statements.look_up_tombstones,
            &[&name, &ids],
        ),
        looked_up(
            connection,
            !keys.is_empty(),
            &statements.look_up_state,
            &[&name, &keys],
        ),
    )
    .await;
    opened?;
    let (locked, live, dead, values) = (locked?, live?, dead?, values?);
    let Some(found) = locked else {
        return Ok(None);
    };
    let mut plan = Before::default();
    if let Some(space) = &found.space {
        plan.head = space.head;
        plan.counters = space.counters;
    }
    plan.rows = live.iter().map(stored_row).collect::<Result<_>>()?;
    plan.tombstones = dead.iter().map(stored_tombstone).collect::<Result<_>>()?;
    let (state, set_by) = stored_state(&values)?;
    plan.state = state;
    Ok(Some(Found {
        plan,
        place: Place { found, set_by },
    }))
}

/// The rows of a look-up, none where there is nothing to look for.
pub(super) async fn looked_up(
    connection: &Connection,
    wanted: bool,
    statement: &Statement,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>> {
    if wanted {
        connection.rows(statement, parameters).await
    } else {
        Ok(Vec::new())
    }
}

/// What the page's state keys hold, and which page set each.
pub(super) fn stored_state(
    rows: &[Row],
) -> Result<(HashMap<StateKey, Bytes>, HashMap<StateKey, i64>)> {
    let (mut state, mut set_by) = (HashMap::new(), HashMap::new());
    for row in rows {
        let key = StateKey::new(value(row, 0)?).map_err(corrupt)?;
        state.insert(key.clone(), bytes(row, 1)?);
        set_by.insert(key, value(row, 2)?);
    }
    Ok((state, set_by))
}

fn ids(page: &Page) -> Vec<&[u8]> {
    let lifts = page.lifts.iter();
    let deletes = page.deletes.iter().map(|delete| &delete.id);
    let upserts = page.upserts.iter().map(|operation| &operation.id);
    let backfills = page.backfills.iter().map(|backfill| &backfill.id);
    let ids = lifts.chain(deletes).chain(upserts).chain(backfills);
    ids.map(|id| &id.as_bytes()[..]).collect()
}

pub(super) fn keys(page: &Page) -> Vec<&str> {
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
