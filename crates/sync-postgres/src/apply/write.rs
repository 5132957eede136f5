//! What a plan says, written.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, try_join_all};
use sync_core::plan::{NewTombstone, Plan};
use sync_core::{Bytes, Error, ErrorKind, Object, OpId, Result, Seq, StateChange, SyncOrder, Ts};

use super::copy::Rows;
use super::{Job, Place, boundary};
use crate::pool::Connection;
use crate::space::{self, Space};
use crate::statements::Statement;
use crate::{NAME, PostgresConfig};

/// Where the rows of a page go.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) incarnation: i32,
    /// The number of the page in it.
    page: i64,
    /// The incarnation begins with this page.
    new: bool,
}

impl Target {
    pub(super) fn next_page_of(space: &Space) -> Self {
        Self {
            incarnation: space.incarnation,
            page: space.page + 1,
            new: false,
        }
    }
}

/// Writes what `plan` says. False where the space was created meanwhile.
pub(super) async fn write(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
    place: &Place,
    plan: &Plan,
) -> Result<bool> {
    let Some(target) = target(connection, config, job, place, plan).await? else {
        return Ok(false);
    };
    let statements = connection.statements();
    let mut writes = Writes::new(connection, config);
    writes.rows(&target, plan)?;
    writes.state(&target, place, &plan.state)?;
    writes.space(&target, job, place, plan)?;
    if !plan.inserted.is_empty() {
        boundary(config, "insert")?;
        writes.wanted.push(&statements.insert);
    }
    connection.prepare(&writes.wanted).await?;
    let written = try_join_all(writes.sent);
    if plan.inserted.is_empty() {
        written.await?;
        return Ok(true);
    }
    // The server reads what is copied only after the rest.
    let (written, sink) = join(written, connection.copy(&statements.insert)).await;
    written?;
    let rows = Rows::new(target.incarnation, &job.page().upserts, &plan.inserted);
    connection
        .finish_copy(&statements.insert, sink?, rows)
        .await?;
    Ok(true)
}

/// Finds or makes the incarnation that is written to.
async fn target(
    connection: &Connection,
    config: &PostgresConfig,
    job: &Job,
    place: &Place,
    plan: &Plan,
) -> Result<Option<Target>> {
    let new = |incarnation| Target {
        incarnation,
        page: 0,
        new: true,
    };
    let Some(space) = &place.found.space else {
        boundary(config, "create")?;
        let created = space::create(connection, &job.name, &place.found).await?;
        return Ok(created.map(new));
    };
    if plan.reset {
        boundary(config, "reset")?;
        let incarnation = space::next_incarnation(connection).await?;
        boundary(config, "discard")?;
        space::discard(connection, space.incarnation).await?;
        return Ok(Some(new(incarnation)));
    }
    Ok(Some(Target::next_page_of(space)))
}

/// Statements that are sent one behind the other.
pub(super) struct Writes<'w> {
    connection: &'w Connection,
    config: &'w PostgresConfig,
    wanted: Vec<&'w Statement>,
    pub(super) sent: Vec<BoxFuture<'w, Result<()>>>,
}

impl<'w> Writes<'w> {
    pub(super) fn new(connection: &'w Connection, config: &'w PostgresConfig) -> Self {
        Self {
            connection,
            config,
            wanted: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn send(
        &mut self,
        statement: &'w Statement,
        sent: impl Future<Output = Result<()>> + Send + 'w,
    ) -> Result<()> {
        boundary(self.config, statement.name)?;
        self.wanted.push(statement);
        self.sent.push(sent.boxed());
        Ok(())
    }

    fn rows(&mut self, target: &Target, plan: &'w Plan) -> Result<()> {
        let (connection, statements) = (self.connection, self.connection.statements());
        let incarnation = target.incarnation;
        if !plan.removed.is_empty() {
            self.send(
                &statements.remove,
                remove(connection, incarnation, &plan.removed),
            )?;
        }
        if !plan.lifted.is_empty() {
            self.send(
                &statements.lift,
                lift(connection, incarnation, &plan.lifted),
            )?;
        }
        if !plan.raised.is_empty() {
            self.send(&statements.raise, raise(connection, incarnation, plan))?;
        }
        if !plan.ordered.is_empty() {
            self.send(&statements.order, order(connection, incarnation, plan))?;
        }
        if !plan.tombstones.is_empty() {
            self.send(
                &statements.bury,
                bury(connection, incarnation, &plan.tombstones),
            )?;
        }
        Ok(())
    }

    pub(super) fn state(
        &mut self,
        target: &Target,
        place: &'w Place,
        changes: &'w [StateChange],
    ) -> Result<()> {
        let (connection, statements) = (self.connection, self.connection.statements());
        let Target {
            incarnation,
            page,
            new,
        } = *target;
        if !new
            && changes
                .iter()
                .any(|change| place.set_by.contains_key(&change.key))
        {
            let sent = unset(connection, incarnation, place, changes);
            self.send(&statements.unset, sent)?;
        }
        if changes.iter().any(|change| change.value.is_some()) {
            self.send(&statements.set, set(connection, incarnation, page, changes))?;
        }
        Ok(())
    }

    pub(super) fn space(
        &mut self,
        target: &Target,
        job: &'w Job,
        place: &'w Place,
        plan: &'w Plan,
    ) -> Result<()> {
        let (connection, statements) = (self.connection, self.connection.statements());
        let Target {
            incarnation,
            page,
            new,
        } = *target;
        if new {
            let sent = space::create_counter(connection, incarnation, plan.head, plan.counters);
            self.send(&statements.create_counter, sent)?;
        } else {
            let at = (incarnation, page - 1);
            let sent = space::save_counter(connection, at, plan.head, plan.counters);
            self.send(&statements.save_counter, sent)?;
        }
        let Some(space) = &place.found.space else {
            return Ok(());
        };
        if plan.reset || space.moved {
            let epoch = if plan.reset {
                sync_core::Epoch::random()?
            } else {
                space.epoch
            };
            let row = (incarnation, epoch, space.floor);
            let sent = space::save(connection, &job.name, &place.found, row);
            self.send(&statements.save_space, sent)?;
        }
        Ok(())
    }
}

async fn remove(connection: &Connection, incarnation: i32, ids: &[OpId]) -> Result<()> {
    let wanted: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let statement = &connection.statements().remove;
    let removed = connection
        .execute(statement, &[&incarnation, &wanted])
        .await?;
    all(removed, ids.len())
}

async fn lift(connection: &Connection, incarnation: i32, seqs: &[Seq]) -> Result<()> {
    let wanted: Vec<i64> = seqs.iter().map(|seq| seq.as_i64()).collect();
    let statement = &connection.statements().lift;
    let lifted = connection
        .execute(statement, &[&incarnation, &wanted])
        .await?;
    all(lifted, seqs.len())
}

async fn raise(connection: &Connection, incarnation: i32, plan: &Plan) -> Result<()> {
    let seqs: Vec<i64> = plan.raised.keys().map(|seq| seq.as_i64()).collect();
    let to: Vec<i64> = plan.raised.values().map(|order| order.as_i64()).collect();
    let statement = &connection.statements().raise;
    let raised = connection
        .execute(statement, &[&incarnation, &seqs, &to])
        .await?;
    all(raised, seqs.len())
}

async fn order(connection: &Connection, incarnation: i32, plan: &Plan) -> Result<()> {
    let ids: Vec<&[u8]> = plan.ordered.keys().map(|id| &id.as_bytes()[..]).collect();
    let orders: Vec<i64> = plan.ordered.values().map(|order| order.as_i64()).collect();
    let statement = &connection.statements().order;
    let ordered = connection
        .execute(statement, &[&incarnation, &ids, &orders])
        .await?;
    all(ordered, ids.len())
}

async fn bury(connection: &Connection, incarnation: i32, new: &[NewTombstone]) -> Result<()> {
    let seqs: Vec<i64> = new.iter().map(|tombstone| tombstone.seq.as_i64()).collect();
    let ids: Vec<&[u8]> = new
        .iter()
        .map(|tombstone| &tombstone.id.as_bytes()[..])
        .collect();
    let times: Vec<Option<i64>> = new
        .iter()
        .map(|tombstone| tombstone.ts.map(Ts::as_i64))
        .collect();
    let objects: Vec<Option<&[u8]>> = new
        .iter()
        .map(|tombstone| tombstone.object.as_ref().map(Object::as_bytes))
        .collect();
    let reasons: Vec<i16> = new
        .iter()
        .map(|tombstone| i16::from(tombstone.reason.code()))
        .collect();
    let sources: Vec<Option<i64>> = new
        .iter()
        .map(|tombstone| tombstone.source_seq.map(SyncOrder::as_i64))
        .collect();
    let statement = &connection.statements().bury;
    connection
        .execute(
            statement,
            &[
                &incarnation,
                &seqs,
                &ids,
                &times,
                &objects,
                &reasons,
                &sources,
            ],
        )
        .await
        .map(drop)
}

async fn unset(
    connection: &Connection,
    incarnation: i32,
    place: &Place,
    changes: &[StateChange],
) -> Result<()> {
    let (keys, pages): (Vec<&str>, Vec<i64>) = changes
        .iter()
        .filter_map(|StateChange { key, .. }| Some((key.as_str(), *place.set_by.get(key)?)))
        .unzip();
    let statement = &connection.statements().unset;
    let unset = connection
        .execute(statement, &[&incarnation, &keys, &pages])
        .await?;
    all(unset, keys.len())
}

async fn set(
    connection: &Connection,
    incarnation: i32,
    page: i64,
    changes: &[StateChange],
) -> Result<()> {
    let (keys, values): (Vec<&str>, Vec<&[u8]>) = changes
        .iter()
        .filter_map(|StateChange { key, value }| {
            Some((key.as_str(), value.as_ref().map(Bytes::as_ref)?))
        })
        .unzip();
    let statement = &connection.statements().set;
    connection
        .execute(statement, &[&incarnation, &page, &keys, &values])
        .await
        .map(drop)
}

/// What was looked up in this transaction, and is not there when it is to be written, was never
/// what the look-up said.
fn all(written: u64, wanted: usize) -> Result<()> {
    if written == wanted as u64 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt)
        .with_message(format!("{written} rows were written instead of {wanted}"))
        .of_backend(NAME))
}
