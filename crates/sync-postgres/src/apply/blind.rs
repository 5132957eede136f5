//! A page of operations that are taken for new: nothing of them is looked up, because the table's own
//! key tells where that was wrong.
//!
//! Two round trips: the copy has begun before anybody knows whether it is wanted, and the commit is
//! sent behind the rows.

use std::error::Error as _;

use futures_util::FutureExt;
use futures_util::future::{join3, join4, try_join_all};
use sync_core::plan::{Before, Plan};
use sync_core::{Error, ErrorKind, Result};

use super::copy::Rows;
use super::look_up::{keys, looked_up, stored_state};
use super::write::{Target, Writes};
use super::{Job, Place, Step, Written, answered, boundary, is_duplicate};
use crate::pool::Connection;
use crate::{NAME, PostgresConfig, space};

/// The most operations: the more there are, the longer is the time in which a connection that breaks
/// leaves it open whether the page was applied.
pub(super) const MOST: usize = 5_000;

/// Tries it. [`Step::Again`] where the page or its space is not of that kind.
pub(super) async fn attempt(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
) -> Result<Step> {
    let statements = connection.statements();
    let keys = keys(job.page());
    for name in ["begin", "lock", "space", "look up state", "insert"] {
        boundary(config, name)?;
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
    connection.prepare(&known).await?;
    let (begun, locked, state, sink) = join4(
        connection.begin_page(),
        space::lock(connection, &job.name).boxed(),
        looked_up(
            connection,
            !keys.is_empty(),
            &statements.look_up_state,
            &[&job.name.as_str(), &keys],
        ),
        connection.copy(&statements.insert).boxed(),
    )
    .await;
    begun?;
    let (locked, state, sink) = (locked?, state?, sink?);
    let Some((found, space)) = locked.and_then(|found| {
        let space = found.space.clone()?;
        Some((found, space))
    }) else {
        return Ok(Step::Again);
    };
    if space.moved || space.counters.tombstones > 0 {
        return Ok(Step::Again);
    }
    let (state, set_by) = stored_state(&state)?;
    let before = Before {
        head: space.head,
        counters: space.counters,
        state,
        ..Before::default()
    };
    let digests = job.digests.clone().await;
    let plan = Plan::new(&job.page, &digests, before)?;
    // A page that replaces what it has just inserted leaves a tombstone.
    if !plan.tombstones.is_empty() {
        return Ok(Step::Again);
    }
    let place = Place { found, set_by };
    let target = Target::next_page_of(&space);
    let sent = {
        let mut writes = Writes::new(connection, config);
        writes.state(&target, &place, &plan.state)?;
        writes.space(&target, job, &place, &plan)?;
        writes.sent
    };
    boundary(config, "commit")?;
    let rows = Rows::new(target.incarnation, &job.page.upserts, &plan.inserted);
    let (copied, written, committed) = join3(
        connection
            .finish_copy(&statements.insert, sink, rows)
            .boxed(),
        try_join_all(sent),
        super::commit(connection, config, &job.name).boxed(),
    )
    .await;
    match copied.and(written.map(drop)) {
        // Where one of these fails, the server has made a rollback of the commit.
        Err(error) if is_duplicate(&error) => return Ok(Step::Again),
        Err(error) if refused_by_server(&error) => return Err(error),
        Err(error) => {
            return Err(Error::new(ErrorKind::UnknownOutcome)
                .with_source(error)
                .of_backend(NAME));
        }
        Ok(()) => committed?,
    }
    answered(config)?;
    Ok(Step::Written(Written {
        applied: plan.applied,
        changed: true,
        garbage: false,
        tombstones: false,
    }))
}

/// Whether the server itself said so, before it came to the commit.
fn refused_by_server(error: &Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.is_some_and(|source| source.as_db_error().is_some())
}
