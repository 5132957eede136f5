//! The one write: a page, in one transaction.
//!
//! Everything the page names is looked up in one round trip, together with the lock on the space;
//! what it does is worked out in memory; and what is to be written goes in one or two more, however
//! many operations there are.

mod blind;
mod copy;
mod look_up;
mod write;

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use sync_core::plan::Plan;
use sync_core::{
    Applied, Digest, Error, ErrorKind, Operation, Page, Result, SpaceName, UpsertOutcome,
};
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;

use crate::error::named;
use crate::pool::{Connection, Pool};
use crate::space;
use crate::{NAME, PostgresConfig};

/// What the writer did with a page.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Something was committed.
    pub(crate) changed: bool,
    /// Rows were left behind for the sweep.
    pub(crate) garbage: bool,
    /// The space has tombstones, which stand against operations without their key's saying so.
    tombstones: bool,
}

/// A page on its way into a space.
pub(crate) struct Job {
    pub(crate) name: SpaceName,
    page: Arc<Page>,
    digests: Digests,
    /// Pages of new operations alone that came one after the other.
    streak: Arc<AtomicU8>,
}

/// The digests of a page's upserts, which another thread works out while the server looks up what
/// the page names.
type Digests = Shared<BoxFuture<'static, Arc<[Digest]>>>;

/// How an attempt ended that did not fail.
enum Step {
    Written(Written),
    /// Something is not as it was taken to be; the next attempt finds out.
    Again,
}

/// A page with fewer operations is hashed where it is.
const FEW: usize = 32;

/// A page with fewer operations is hashed by one thread, and a larger one by two: the server has
/// answered the look-up before one could be through with it.
const MANY: usize = 256;

/// After so many pages of new operations alone the next one is taken for another.
const STREAK: u8 = 2;

impl Job {
    pub(crate) fn new(name: SpaceName, page: Page, streak: Arc<AtomicU8>, driver: &Handle) -> Self {
        let page = Arc::new(page);
        let digests = if page.upserts.len() < FEW {
            let digests = digests(&page, 0..page.upserts.len());
            std::future::ready(digests.into()).boxed().shared()
        } else {
            begin_digests(&page, driver)
        };
        Self {
            name,
            page,
            digests,
            streak,
        }
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Whether every operation is taken for a new one, so that none is looked up: the table's own
    /// key tells where that was wrong, and the page is tried again with a look.
    fn expects_new(&self) -> bool {
        let page = &self.page;
        let upserts_alone =
            page.lifts.is_empty() && page.deletes.is_empty() && page.backfills.is_empty();
        let few = (1..=blind::MOST).contains(&page.upserts.len());
        upserts_alone && few && !page.reset && self.streak.load(Ordering::Relaxed) >= STREAK
    }

    fn learn(&self, written: &Written) {
        let new = |outcome: &UpsertOutcome| *outcome == UpsertOutcome::Inserted;
        let upserts = &written.applied.upserts;
        if upserts.is_empty() {
            return;
        }
        let streak = if !written.tombstones && upserts.iter().all(new) {
            self.streak.load(Ordering::Relaxed).saturating_add(1)
        } else {
            0
        };
        self.streak.store(streak, Ordering::Relaxed);
    }
}

/// Applies a page, all or nothing, however often it takes within the bound for that.
pub(crate) async fn apply(pool: &Pool, config: &PostgresConfig, job: &Job) -> Result<Written> {
    let _turn = pool.turn(&job.name).await;
    let blind = AtomicBool::new(job.expects_new());
    let written = pool
        .retrying(|| async {
            loop {
                let connection = pool.writer("apply").await?;
                // Boxed, because a compiler that looks through both takes minutes.
                let attempt = if blind.load(Ordering::Relaxed) {
                    blind::attempt(&connection, config, job).boxed()
                } else {
                    attempt(&connection, config, job).boxed()
                };
                match attempt.await {
                    Ok(Step::Written(written)) => return Ok(written),
                    Ok(Step::Again) => {
                        blind.store(false, Ordering::Relaxed);
                        connection.roll_back().await;
                    }
                    Err(error) => {
                        connection.roll_back().await;
                        return Err(error);
                    }
                }
            }
        })
        .await
        .map_err(named("apply"))?;
    job.learn(&written);
    Ok(written)
}

async fn attempt(connection: &Connection, config: &PostgresConfig, job: &Job) -> Result<Step> {
    let Some(before) = look_up::look_up(connection, config, job).await? else {
        return Ok(Step::Again);
    };
    let digests = job.digests.clone().await;
    let tombstones = before.plan.counters.tombstones > 0;
    let plan = Plan::new(&job.page, &digests, before.plan)?;
    if plan.changed {
        if !write::write(connection, config, job, &before.place, &plan).await? {
            return Ok(Step::Again);
        }
        boundary(config, "commit")?;
        commit(connection, config, &job.name).await?;
        answered(config)?;
    } else {
        connection.roll_back().await;
    }
    Ok(Step::Written(Written {
        garbage: plan.reset && before.place.found.space.is_some(),
        applied: plan.applied,
        changed: plan.changed,
        tombstones,
    }))
}

/// Begins to hash a page beside the driver's thread.
fn begin_digests(page: &Arc<Page>, driver: &Handle) -> Digests {
    let all = page.upserts.len();
    let most = if all < MANY { all } else { all.div_ceil(2) };
    let parts = (0..all).step_by(most.max(1)).map(|from| {
        let page = Arc::clone(page);
        driver.spawn_blocking(move || digests(&page, from..all.min(from + most)))
    });
    let (working, page) = (try_join_all(parts), Arc::clone(page));
    let joined = async move {
        match working.await {
            Ok(parts) => parts.concat().into(),
            Err(_) => digests(&page, 0..all).into(),
        }
    };
    joined.boxed().shared()
}

fn digests(page: &Page, part: Range<usize>) -> Vec<Digest> {
    let upserts = page.upserts.get(part).unwrap_or_default();
    upserts.iter().map(Operation::digest).collect()
}

/// The boundary between the commit and the answer.
fn answered(config: &PostgresConfig) -> Result<()> {
    boundary(config, "committed").map_err(|source| {
        Error::new(ErrorKind::UnknownOutcome)
            .with_source(source)
            .of_backend(NAME)
    })
}

/// Commits, and tells whoever listens. The news is a statement of its own behind the commit: inside
/// the transaction it would make the commits of all spaces wait for each other.
pub(crate) async fn commit(
    connection: &Connection,
    config: &PostgresConfig,
    name: &SpaceName,
) -> Result<()> {
    let news = &connection.statements().notify;
    connection
        .commit_and_tell(news, &[&config.schema, &name.as_str()])
        .await
}

fn is_duplicate(error: &Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.and_then(tokio_postgres::Error::code) == Some(&SqlState::UNIQUE_VIOLATION)
}

#[cfg(feature = "fault-injection")]
pub(crate) fn boundary(config: &PostgresConfig, name: &'static str) -> Result<()> {
    config
        .on_boundary
        .as_ref()
        .map_or(Ok(()), |hook| hook(name))
}

#[cfg(not(feature = "fault-injection"))]
#[expect(
    clippy::unnecessary_wraps,
    clippy::inline_always,
    reason = "the twin of the hook above"
)]
#[inline(always)]
pub(crate) fn boundary(_: &PostgresConfig, _: &'static str) -> Result<()> {
    Ok(())
}

pub(crate) use look_up::reason;

/// The space that a page writes to.
pub(crate) struct Place {
    pub(crate) found: space::Found,
    /// Of each state key the page that set it.
    pub(crate) set_by: std::collections::HashMap<sync_core::StateKey, i64>,
}
