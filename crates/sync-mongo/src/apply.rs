//! The one write of operations and state: a page, in one transaction.

mod look_up;
mod write;

use std::sync::Arc;

use sync_core::plan::Plan;
use sync_core::{Page, Result, SpaceName};
use sync_kit::Written;
use sync_kit::digests::Digests;

use crate::retry::{Attempt, Work};
use crate::space::SpaceDocument;
use crate::transaction::Transaction;

/// Applies the page.
pub(crate) struct ApplyPage {
    pub(crate) page: Arc<Page>,
    /// Of its upserts.
    pub(crate) digests: Digests,
}

impl Work for ApplyPage {
    type Answer = Written;

    async fn attempt(
        &self,
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<Attempt<Written>> {
        let page = &*self.page;
        transaction.boundary("lock")?;
        let found = SpaceDocument::lock(transaction, name).await?;
        let before = look_up::before(transaction, found.as_ref(), page).await?;
        let digests = self.digests.clone().await;
        let plan = Plan::new(page, &digests, before)?;
        let exists = found.is_some();
        let garbage = page.reset && exists;
        if plan.changed {
            let mut space = if let Some(space) = found {
                space
            } else {
                transaction.boundary("create")?;
                SpaceDocument::new(transaction).await?
            };
            if garbage {
                transaction.boundary("reset")?;
                space.reset(transaction).await?;
            }
            write::rows(transaction, space.incarnation, page, &plan).await?;
            space.head = plan.head;
            space.counters = plan.counters;
            transaction.boundary("space")?;
            if exists {
                space.save(transaction, name).await?;
            } else {
                space.insert(transaction, name).await?;
            }
        }
        let written = Written {
            changed: plan.changed,
            garbage,
            applied: plan.applied,
        };
        Ok(if plan.changed {
            Attempt::Wrote(written)
        } else {
            Attempt::Unchanged(written)
        })
    }
}
