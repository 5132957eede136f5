//! What the database holds of everything that a page names.

use std::collections::HashMap;

use futures_util::future::join5;
use sync_core::plan::{Before, StoredRow, StoredTombstone};
use sync_core::{Bytes, Digest, OpId, Page, Result, StateKey};
use tokio_postgres::Row;

use super::{Job, Locked};
use crate::columns::{bytes, object, op_id, optional_position, position, reason, value};
use crate::error::corrupt;
use crate::session::{Parameters, Session};
use crate::space;
use crate::statements::Statement;

/// Begins the page's transaction, locks its space and looks up what it names, in one round trip.
/// `None` where the space was created meanwhile.
pub(super) async fn look_up(session: &Session, job: &Job) -> Result<Option<(Before, Locked)>> {
    let statements = session.statements();
    let page = &*job.page;
    let name = job.name().as_str();
    // Of what a reset removes, nothing is asked.
    let ids: Vec<&[u8]> = if page.reset {
        Vec::new()
    } else {
        page.ids().map(|id| &id.as_bytes()[..]).collect()
    };
    let keys = keys(page);
    // Only these ask for a row's object.
    let rows = if page.deletes.is_empty() && !page.replace {
        &statements.look_up_rows
    } else {
        &statements.look_up_whole_rows
    };
    let tombstones = &statements.look_up_tombstones;
    let state = &statements.look_up_state;
    let (any_ids, any_keys) = (!ids.is_empty(), !keys.is_empty());
    let mut wanted = vec![&statements.lock, &statements.space, &statements.notify];
    for boundary in ["begin", "lock", "space"] {
        session.faults().boundary(boundary)?;
    }
    for (wants, statement, boundary) in [
        (any_ids, rows, "look up rows"),
        (any_ids, tombstones, "look up tombstones"),
        (any_keys, state, "look up state"),
    ] {
        if wants {
            session.faults().boundary(boundary)?;
            wanted.push(statement);
        }
    }
    session.prepare(&wanted).await?;
    let (begun, locked, live, dead, values) = join5(
        session.begin_page(),
        space::lock(session, job.name()),
        looked_up(session, any_ids, rows, &[&name, &ids]),
        looked_up(session, any_ids, tombstones, &[&name, &ids]),
        looked_up(session, any_keys, state, &[&name, &keys]),
    )
    .await;
    begun?;
    let (locked, live, dead, values) = (locked?, live?, dead?, values?);
    let Some(space) = locked else {
        return Ok(None);
    };
    let mut before = Before::default();
    if let Some(stored) = &space.stored {
        before.head = stored.head;
        before.counters = stored.counters;
    }
    before.rows = live.iter().map(stored_row).collect::<Result<_>>()?;
    before.tombstones = dead.iter().map(stored_tombstone).collect::<Result<_>>()?;
    let (state, set_by) = stored_state(&values)?;
    before.state = state;
    Ok(Some((before, Locked { space, set_by })))
}

/// The rows of a look-up, none where there is nothing to look for.
pub(super) async fn looked_up(
    session: &Session,
    wanted: bool,
    statement: &Statement,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>> {
    if wanted {
        session.rows(statement, parameters).await
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

/// The state keys that a page names, each once.
pub(super) fn keys(page: &Page) -> Vec<&str> {
    let mut keys: Vec<&str> = page.state_keys().map(StateKey::as_str).collect();
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
