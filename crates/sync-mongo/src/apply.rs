//! The one write: a page, in one transaction.

mod look_up;
mod write;

use std::sync::Arc;

use sync_core::plan::Plan;
use sync_core::{Applied, Digest, Error, ErrorKind, Operation, Page, Result, SpaceName};

use crate::backend::Inner;
use crate::database::Database;
use crate::error::named;
use crate::patience::Patience;
use crate::space::Space;
use crate::transaction::Transaction;
use crate::{MongoConfig, NAME};

/// Bytes of payloads that are hashed between two turns of the runtime's only thread.
const HASHED_IN_PLACE: usize = 256 << 10;

/// What became of a page.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Something was committed.
    pub(crate) changed: bool,
    /// Rows were left behind for the sweep.
    pub(crate) garbage: bool,
}

/// Applies `page` to the space called `name`, all or nothing. The caller holds the writers' turn.
pub(crate) async fn apply(
    inner: &Inner,
    database: &Database,
    name: &SpaceName,
    page: Page,
) -> Result<Written> {
    let (page, digests) = digest(page).await?;
    let mut patience = Patience::new(database);
    loop {
        let mut transaction = Transaction::begin(database, "apply").await?;
        let written = write(inner, &mut transaction, name, &page, &digests).await;
        let locked = transaction.locked;
        let ended = match written {
            Ok(plan) if plan.changed => commit(inner, transaction).await.map(|()| plan),
            other => {
                transaction.abort().await;
                other
            }
        };
        match ended {
            Ok(plan) => {
                return Ok(Written {
                    garbage: plan.changed && plan.reset,
                    changed: plan.changed,
                    applied: plan.applied,
                });
            }
            Err(error) => patience.after(named("apply")(error), locked).await?,
        }
    }
}

async fn commit(inner: &Inner, transaction: Transaction<'_>) -> Result<()> {
    if let Err(fault) = boundary(&inner.config, "commit") {
        transaction.abort().await;
        return Err(fault);
    }
    transaction.commit().await?;
    boundary(&inner.config, "committed").map_err(|source| {
        Error::new(ErrorKind::UnknownOutcome)
            .with_source(source)
            .of_backend(NAME)
    })
}

/// Everything of the page but the commit.
async fn write(
    inner: &Inner,
    transaction: &mut Transaction<'_>,
    name: &SpaceName,
    page: &Page,
    digests: &[Digest],
) -> Result<Plan> {
    let config = &inner.config;
    boundary(config, "lock")?;
    let found = Space::lock(transaction, name).await?;
    let before = look_up::before(config, transaction, found.as_ref(), page).await?;
    let plan = Plan::new(page, digests, before)?;
    if !plan.changed {
        return Ok(plan);
    }
    let exists = found.is_some();
    let mut space = if let Some(space) = found {
        space
    } else {
        boundary(config, "create")?;
        Space::new(transaction).await?
    };
    if page.reset && exists {
        boundary(config, "reset")?;
        space.reset(transaction).await?;
    }
    write::rows(config, transaction, space.incarnation, page, &plan).await?;
    space.head = plan.head;
    space.counters = plan.counters;
    boundary(config, "space")?;
    if exists {
        space.save(transaction, name).await?;
    } else {
        space.insert(transaction, name).await?;
    }
    Ok(plan)
}

/// The digests of the page's operations, computed where they hold nobody up.
async fn digest(page: Page) -> Result<(Arc<Page>, Vec<Digest>)> {
    let all = |page: &Page| {
        page.upserts
            .iter()
            .map(Operation::digest)
            .collect::<Vec<_>>()
    };
    let bytes: usize = page.upserts.iter().map(|o| o.payload.len()).sum();
    let page = Arc::new(page);
    if bytes <= HASHED_IN_PLACE {
        let digests = all(&page);
        return Ok((page, digests));
    }
    let hashed = Arc::clone(&page);
    let digests = tokio::task::spawn_blocking(move || all(&hashed))
        .await
        .map_err(|_| Error::new(ErrorKind::Failed).of_backend(NAME))?;
    Ok((page, digests))
}

#[cfg(feature = "fault-injection")]
pub(crate) fn boundary(config: &MongoConfig, name: &'static str) -> Result<()> {
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
pub(crate) fn boundary(_: &MongoConfig, _: &'static str) -> Result<()> {
    Ok(())
}
