//! Writes what a plan says.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, try_join_all};
use sync_core::plan::{NewTombstone, Plan};
use sync_core::{Bytes, Epoch, Object, Result, Seq, StateChange, SyncOrder, Ts};

use super::copy::Rows;
use super::{Job, Locked};
use crate::session::Session;
use crate::space::{self, StoredSpace, all_written};
use crate::statements::Statement;

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
    pub(super) fn next_page_of(space: &StoredSpace) -> Self {
        Self {
            incarnation: space.incarnation,
            page: space.page + 1,
            new: false,
        }
    }
}

/// Writes what `plan` says. False where the space was created meanwhile.
pub(super) async fn write(
    session: &Session,
    job: &Job,
    locked: &Locked,
    plan: &Plan,
) -> Result<bool> {
    let Some(target) = target(session, job, locked, plan).await? else {
        return Ok(false);
    };
    let insert = &session.statements().insert;
    let mut writes = Writes::new(session);
    writes.rows(&target, plan)?;
    writes.state(&target, locked, &plan.state)?;
    writes.space(&target, job, locked, plan)?;
    if !plan.inserted.is_empty() {
        session.faults().boundary(insert.name)?;
        writes.wanted.push(insert);
    }
    session.prepare(&writes.wanted).await?;
    let written = try_join_all(writes.sent);
    if plan.inserted.is_empty() {
        written.await?;
        return Ok(true);
    }
    // The server reads the copied rows after the other statements, which were sent before them.
    let (written, sink) = join(written, session.copy(insert)).await;
    written?;
    let rows = Rows::new(target.incarnation, &job.page.upserts, &plan.inserted);
    session.finish_copy(insert, sink?, rows).await?;
    Ok(true)
}

/// Finds or makes the incarnation that is written to.
async fn target(
    session: &Session,
    job: &Job,
    locked: &Locked,
    plan: &Plan,
) -> Result<Option<Target>> {
    let faults = session.faults();
    let new = |incarnation| Target {
        incarnation,
        page: 0,
        new: true,
    };
    let Some(stored) = &locked.space.stored else {
        faults.boundary("create")?;
        let created = space::create(session, job.name(), &locked.space).await?;
        return Ok(created.map(new));
    };
    if plan.reset {
        faults.boundary("reset")?;
        let incarnation = space::next_incarnation(session).await?;
        faults.boundary("discard")?;
        space::discard(session, stored.incarnation).await?;
        return Ok(Some(new(incarnation)));
    }
    Ok(Some(Target::next_page_of(stored)))
}

/// Statements that are sent one behind the other.
pub(super) struct Writes<'w> {
    session: &'w Session,
    wanted: Vec<&'w Statement>,
    pub(super) sent: Vec<BoxFuture<'w, Result<()>>>,
}

impl<'w> Writes<'w> {
    pub(super) fn new(session: &'w Session) -> Self {
        Self {
            session,
            wanted: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn send(
        &mut self,
        statement: &'w Statement,
        sent: impl Future<Output = Result<()>> + Send + 'w,
    ) -> Result<()> {
        self.session.faults().boundary(statement.name)?;
        self.wanted.push(statement);
        self.sent.push(sent.boxed());
        Ok(())
    }

    fn rows(&mut self, target: &Target, plan: &'w Plan) -> Result<()> {
        let (session, statements) = (self.session, self.session.statements());
        let incarnation = target.incarnation;
        if !plan.removed.is_empty() {
            self.send(&statements.remove, remove(session, incarnation, plan))?;
        }
        if !plan.lifted.is_empty() {
            self.send(&statements.lift, lift(session, incarnation, plan))?;
        }
        if !plan.raised.is_empty() {
            self.send(&statements.raise, raise(session, incarnation, plan))?;
        }
        if !plan.ordered.is_empty() {
            self.send(&statements.order, order(session, incarnation, plan))?;
        }
        if !plan.tombstones.is_empty() {
            let sent = add_tombstones(session, incarnation, &plan.tombstones);
            self.send(&statements.add_tombstones, sent)?;
        }
        Ok(())
    }

    pub(super) fn state(
        &mut self,
        target: &Target,
        locked: &'w Locked,
        changes: &'w [StateChange],
    ) -> Result<()> {
        let (session, statements) = (self.session, self.session.statements());
        let Target {
            incarnation,
            page,
            new,
        } = *target;
        let is_set = |change: &StateChange| locked.set_by.contains_key(&change.key);
        if !new && changes.iter().any(is_set) {
            let sent = unset(session, incarnation, locked, changes);
            self.send(&statements.unset, sent)?;
        }
        if changes.iter().any(|change| change.value.is_some()) {
            self.send(&statements.set, set(session, incarnation, page, changes))?;
        }
        Ok(())
    }

    pub(super) fn space(
        &mut self,
        target: &Target,
        job: &'w Job,
        locked: &'w Locked,
        plan: &'w Plan,
    ) -> Result<()> {
        let (session, statements) = (self.session, self.session.statements());
        let incarnation = target.incarnation;
        let (statement, page) = if target.new {
            (&statements.create_counter, target.page)
        } else {
            (&statements.save_counter, target.page - 1)
        };
        let at = (incarnation, page);
        let sent = space::save_counter(session, statement, at, plan.head, plan.counters);
        self.send(statement, sent)?;
        let Some(stored) = &locked.space.stored else {
            return Ok(());
        };
        if plan.reset || stored.moved {
            let epoch = if plan.reset {
                Epoch::random()?
            } else {
                stored.epoch
            };
            let row = (incarnation, epoch, stored.floor);
            let sent = space::save(session, job.name(), &locked.space, row);
            self.send(&statements.save_space, sent)?;
        }
        Ok(())
    }
}

async fn remove(session: &Session, incarnation: i32, plan: &Plan) -> Result<()> {
    let ids: Vec<&[u8]> = plan.removed.iter().map(|id| &id.as_bytes()[..]).collect();
    let statement = &session.statements().remove;
    let removed = session.execute(statement, &[&incarnation, &ids]).await?;
    all_written(removed, ids.len())
}

async fn lift(session: &Session, incarnation: i32, plan: &Plan) -> Result<()> {
    let seqs: Vec<i64> = plan.lifted.iter().map(|seq| seq.as_i64()).collect();
    let statement = &session.statements().lift;
    let lifted = session.execute(statement, &[&incarnation, &seqs]).await?;
    all_written(lifted, seqs.len())
}

async fn raise(session: &Session, incarnation: i32, plan: &Plan) -> Result<()> {
    let seqs: Vec<i64> = plan.raised.keys().map(|seq| seq.as_i64()).collect();
    let to: Vec<i64> = plan.raised.values().map(|order| order.as_i64()).collect();
    let statement = &session.statements().raise;
    let raised = session
        .execute(statement, &[&incarnation, &seqs, &to])
        .await?;
    all_written(raised, seqs.len())
}

async fn order(session: &Session, incarnation: i32, plan: &Plan) -> Result<()> {
    let ids: Vec<&[u8]> = plan.ordered.keys().map(|id| &id.as_bytes()[..]).collect();
    let orders: Vec<i64> = plan.ordered.values().map(|order| order.as_i64()).collect();
    let statement = &session.statements().order;
    let ordered = session
        .execute(statement, &[&incarnation, &ids, &orders])
        .await?;
    all_written(ordered, ids.len())
}

async fn add_tombstones(session: &Session, incarnation: i32, new: &[NewTombstone]) -> Result<()> {
    fn column<'t, T>(new: &'t [NewTombstone], of: impl Fn(&'t NewTombstone) -> T) -> Vec<T> {
        new.iter().map(of).collect()
    }
    let seqs: Vec<i64> = column(new, |new| Seq::as_i64(new.seq));
    let ids: Vec<&[u8]> = column(new, |new| &new.id.as_bytes()[..]);
    let times: Vec<Option<i64>> = column(new, |new| new.ts.map(Ts::as_i64));
    let objects: Vec<Option<&[u8]>> = column(new, |new| new.object.as_ref().map(Object::as_bytes));
    let reasons: Vec<i16> = column(new, |new| i16::from(new.reason.code()));
    let sources: Vec<Option<i64>> = column(new, |new| new.source_seq.map(SyncOrder::as_i64));
    let statement = &session.statements().add_tombstones;
    let added = session
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
        .await?;
    all_written(added, new.len())
}

async fn unset(
    session: &Session,
    incarnation: i32,
    locked: &Locked,
    changes: &[StateChange],
) -> Result<()> {
    let (keys, pages): (Vec<&str>, Vec<i64>) = changes
        .iter()
        .filter_map(|StateChange { key, .. }| Some((key.as_str(), *locked.set_by.get(key)?)))
        .unzip();
    let statement = &session.statements().unset;
    let unset = session
        .execute(statement, &[&incarnation, &keys, &pages])
        .await?;
    all_written(unset, keys.len())
}

async fn set(
    session: &Session,
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
    let statement = &session.statements().set;
    let set = session
        .execute(statement, &[&incarnation, &page, &keys, &values])
        .await?;
    all_written(set, keys.len())
}
