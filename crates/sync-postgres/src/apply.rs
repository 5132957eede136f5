//! The one write: a page, in one transaction.
//!
//! Everything the page names is looked up in one round trip, together with the lock on the space;
//! what it does is worked out in memory; and what is to be written goes in one or two more, however
//! many operations there are. A page that is expected to hold new operations only skips the look-up.

mod blind;
mod copy;
mod look_up;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use sync_core::plan::Plan;
use sync_core::{Page, Result, SpaceName, StateKey};
use sync_kit::digests::{self, Digests};
use sync_kit::streak::Streak;
use sync_kit::{Space, Written};
use tokio::runtime::Handle;

use crate::pool::Pool;
use crate::session::Session;
use crate::space::LoadedSpace;

/// After so many pages of new operations alone the next one is expected to be another.
const STREAK: u8 = 2;

/// A page on its way into a space.
pub(crate) struct Job {
    space: Arc<Space<Streak>>,
    page: Arc<Page>,
    /// Computed by other threads while the server looks up what the page names. They take about as
    /// long as the look-up, and the plan needs all of them.
    digests: Digests,
    /// The next attempt looks nothing up.
    blind: AtomicBool,
}

/// What a page writes to: the space that it has locked.
struct Locked {
    space: LoadedSpace,
    /// Of each state key the page that set it.
    set_by: HashMap<StateKey, i64>,
}

impl Job {
    pub(crate) fn new(space: Arc<Space<Streak>>, page: Page, driver: &Handle) -> Self {
        let page = Arc::new(page);
        Self {
            space,
            digests: digests::begin(&page, driver),
            page,
            blind: AtomicBool::new(false),
        }
    }

    fn name(&self) -> &SpaceName {
        self.space.name()
    }

    /// Whether every operation is expected to be new, so that none is looked up. Where that turns
    /// out to be wrong, the table's own key says so, and the page is tried again with a look-up.
    fn expects_new(&self) -> bool {
        let few = self.page.upserts.len() <= blind::MOST;
        self.page.only_upserts() && few && self.space.local().is_due(STREAK)
    }
}

/// Applies a page, all or nothing, when it is the turn of this writer of the space.
pub(crate) async fn apply(pool: &Pool, job: &Job) -> Result<Written> {
    let _turn = job.space.turn().await;
    job.blind.store(job.expects_new(), Ordering::Relaxed);
    pool.write(job, |session, job| attempt(session, job).boxed())
        .await
}

/// Applies a page in one of two ways: blind where its operations are expected to be new, else
/// planned after a look-up. Each way answers `None`, and the page is tried again with a look-up,
/// where the space is not as that way needs it.
async fn attempt(session: &Session, job: &Job) -> Result<Written> {
    let streak = job.space.local();
    loop {
        let blind = job.blind.load(Ordering::Relaxed);
        // Boxed, because a compiler that looks through both takes minutes.
        let attempt = if blind {
            blind::attempt(session, job).boxed()
        } else {
            planned(session, job).boxed()
        };
        if let Some(written) = attempt.await? {
            if blind {
                streak.went_well();
            }
            session
                .faults()
                .way(if blind { "blind" } else { "planned" });
            return Ok(written);
        }
        if blind {
            streak.went_wrong();
            job.blind.store(false, Ordering::Relaxed);
        }
        session.roll_back().await;
    }
}

/// Looks up what the page names, plans, and writes what the plan says. `None` where the space was
/// created meanwhile.
async fn planned(session: &Session, job: &Job) -> Result<Option<Written>> {
    let Some((before, locked)) = look_up::look_up(session, job).await? else {
        return Ok(None);
    };
    let tombstones = before.counters.tombstones > 0;
    let digests = job.digests.clone().await;
    let plan = Plan::new(&job.page, &digests, before)?;
    if plan.changed {
        if !write::write(session, job, &locked, &plan).await? {
            return Ok(None);
        }
        session.faults().boundary("commit")?;
        session.commit(job.name()).await?;
        session.faults().committed()?;
    } else {
        session.roll_back().await;
    }
    let streak = job.space.local();
    streak.learn(&plan.applied);
    if tombstones {
        // A new operation may meet one, of which the table's own key says nothing.
        streak.end();
    }
    Ok(Some(Written {
        garbage: plan.reset && locked.space.stored.is_some(),
        applied: plan.applied,
        changed: plan.changed,
    }))
}
