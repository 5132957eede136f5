//! A page of operations that are expected to be new: nothing of them is looked up, because the
//! table's own key says where that was wrong.
//!
//! Two round trips: the copy begins before it is known whether it is wanted, and the commit is sent
//! behind the rows.

use futures_util::FutureExt;
use futures_util::future::{join3, join4, try_join_all};
use sync_core::plan::{Before, Plan};
use sync_core::{Error, ErrorKind, Result};
use sync_kit::Written;
use tokio_postgres::error::SqlState;

use super::copy::Rows;
use super::look_up::{keys, looked_up, stored_state};
use super::write::{Target, Writes};
use super::{Job, Locked};
use crate::error::server_code;
use crate::session::Session;
use crate::space;

/// The most operations: the more there are, the longer is the time in which a connection that breaks
/// leaves it open whether the page was applied.
pub(super) const MOST: usize = 5_000;

/// Tries it. `None`, and nothing written, where the page or its space is not of that kind.
pub(super) async fn attempt(session: &Session, job: &Job) -> Result<Option<Written>> {
    let statements = session.statements();
    let (name, keys) = (job.name().as_str(), keys(&job.page));
    let faults = session.faults();
    for boundary in ["begin", "lock", "space", "look up state", "insert"] {
        faults.boundary(boundary)?;
    }
    let known = [
        &statements.lock,
        &statements.space,
        &statements.look_up_state,
        &statements.insert,
        &statements.unset,
        &statements.set,
        &statements.save_counter,
        &statements.notify,
    ];
    session.prepare(&known).await?;
    let (begun, locked, state, sink) = join4(
        session.begin_page(),
        space::lock(session, job.name()).boxed(),
        looked_up(
            session,
            !keys.is_empty(),
            &statements.look_up_state,
            &[&name, &keys],
        ),
        session.copy(&statements.insert).boxed(),
    )
    .await;
    begun?;
    let (locked, state, sink) = (locked?, state?, sink?);
    let Some((space, stored)) = locked.and_then(|space| {
        let stored = space.stored.clone()?;
        Some((space, stored))
    }) else {
        return Ok(None);
    };
    if stored.moved || stored.counters.tombstones > 0 {
        return Ok(None);
    }
    let (state, set_by) = stored_state(&state)?;
    let before = Before {
        head: stored.head,
        counters: stored.counters,
        state,
        ..Before::default()
    };
    let digests = job.digests.clone().await;
    let plan = Plan::new(&job.page, &digests, before)?;
    // A page that replaces what it has just inserted leaves a tombstone.
    if !plan.tombstones.is_empty() {
        return Ok(None);
    }
    let locked = Locked { space, set_by };
    let target = Target::next_page_of(&stored);
    let sent = {
        let mut writes = Writes::new(session);
        writes.state(&target, &locked, &plan.state)?;
        writes.space(&target, job, &locked, &plan)?;
        writes.sent
    };
    faults.boundary("commit")?;
    let rows = Rows::new(target.incarnation, &job.page.upserts, &plan.inserted);
    let (copied, written, committed) = join3(
        session.finish_copy(&statements.insert, sink, rows).boxed(),
        try_join_all(sent),
        session.commit(job.name()).boxed(),
    )
    .await;
    if let Err(error) = copied.and(written.map(drop)) {
        // Where the server refuses one of these, it makes a rollback of the commit behind them.
        return match server_code(&error) {
            Some(&SqlState::UNIQUE_VIOLATION) => Ok(None),
            Some(_) => Err(error),
            None => Err(Error::new(ErrorKind::UnknownOutcome).with_source(error)),
        };
    }
    committed?;
    faults.committed()?;
    job.space.local().learn(&plan.applied);
    Ok(Some(Written {
        applied: plan.applied,
        changed: true,
        garbage: false,
    }))
}
