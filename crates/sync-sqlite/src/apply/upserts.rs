//! Upserts and backfills.

use rusqlite::params;
use sync_core::rules::{self, IdState, Policy, Record};
use sync_core::{
    Backfill, BackfillOutcome, Digest, Error, ErrorKind, Object, Operation, Result, Seq, SyncOrder,
    TombstoneReason, UpsertOutcome,
};

use super::look_up::Present;
use super::{Writing, boundary};
use crate::error::failed;

impl Writing<'_> {
    pub(super) fn upsert(
        &mut self,
        operation: &Operation,
        digest: Digest,
        policy: Policy,
    ) -> Result<UpsertOutcome> {
        self.boundary("upsert")?;
        let input = Record {
            digest,
            sync_order: operation.sync_order,
        };
        // Without tombstones the insert itself tells whether the id is present, which saves the
        // look-up while new operations come, and costs it once when they stop being new.
        // After the last seq only the look-up can tell what needs none.
        let space = self.space_mut()?;
        let (tombstones, full) = (space.tombstones > 0, space.head == Seq::MAX);
        let insert_first = !tombstones && !full && !self.expect_present;
        if insert_first && self.insert(operation, input.digest)? {
            return Ok(UpsertOutcome::Inserted);
        }
        let present = self.find(operation.id).map_err(failed("apply"))?;
        self.expect_present = present.is_some();
        let standing = match &present {
            Some(row) => IdState::Live(Record {
                digest: row.digest,
                sync_order: row.sync_order,
            }),
            None if tombstones => self
                .grave(operation.id)
                .map_err(failed("apply"))?
                .map_or(IdState::Unknown, IdState::Tombstoned),
            None => IdState::Unknown,
        };
        let outcome = rules::upsert(&standing, input, policy);
        match (outcome, present) {
            (UpsertOutcome::Inserted, _) => {
                self.insert(operation, input.digest)?;
            }
            (UpsertOutcome::Ordered, Some(row)) => self.set_order(&row, operation.sync_order)?,
            (UpsertOutcome::Replaced, Some(row)) => self.replace(operation, &row, input.digest)?,
            _ => {}
        }
        Ok(outcome)
    }

    /// Inserts a row, unless its id is present.
    fn insert(&mut self, operation: &Operation, digest: Digest) -> Result<bool> {
        self.boundary("insert")?;
        let Some(space) = &mut self.space else {
            return Err(Error::new(ErrorKind::Failed));
        };
        let seq = space
            .head
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Exhausted))?;
        let inserted = self
            .statements
            .insert
            .execute(params![
                space.incarnation,
                operation.id.as_bytes(),
                operation.ts.as_i64(),
                operation.sync_order.map(SyncOrder::as_i64),
                seq.as_i64(),
                digest.as_bytes(),
                operation.object.as_ref().map(Object::as_bytes),
                &operation.payload[..],
            ])
            .map_err(failed("apply"))?;
        if inserted == 0 {
            return Ok(false);
        }
        space.head = seq;
        space.total += 1;
        space.ordered += u64::from(operation.sync_order.is_some());
        self.changed = true;
        Ok(true)
    }

    fn replace(&mut self, operation: &Operation, row: &Present, digest: Digest) -> Result<()> {
        let old = self.find_whole(operation.id).map_err(failed("apply"))?;
        let old = old.ok_or_else(|| Error::new(ErrorKind::Corrupt))?;
        self.remove_row(operation.id, &old, TombstoneReason::Removed, None)?;
        let sync_order = rules::replaced_order(row.sync_order, operation.sync_order);
        self.insert(
            &Operation {
                sync_order,
                ..operation.clone()
            },
            digest,
        )
        .map(drop)
    }

    fn set_order(&mut self, row: &Present, sync_order: Option<SyncOrder>) -> Result<()> {
        self.boundary("order")?;
        self.statements
            .set_order
            .execute(params![row.rid, sync_order.map(SyncOrder::as_i64)])
            .map_err(failed("apply"))?;
        self.space_mut()?.ordered += 1;
        self.changed = true;
        Ok(())
    }

    pub(super) fn backfill(&mut self, backfill: Backfill) -> Result<BackfillOutcome> {
        self.boundary("backfill")?;
        // The update itself finds the row and its absent order, which saves the look-up while
        // every row is one that waits for its order.
        if self.expect_unordered && self.fill_order(backfill)? {
            return Ok(BackfillOutcome::Ordered);
        }
        let present = self.find(backfill.id).map_err(failed("apply"))?;
        let standing = match &present {
            Some(row) => IdState::Live(row.sync_order),
            None => self
                .grave(backfill.id)
                .map_err(failed("apply"))?
                .map_or(IdState::Unknown, IdState::Tombstoned),
        };
        let outcome = rules::backfill(&standing, backfill.sync_order);
        self.expect_unordered = outcome == BackfillOutcome::Ordered;
        if let (BackfillOutcome::Ordered, Some(row)) = (outcome, present) {
            self.set_order(&row, Some(backfill.sync_order))?;
        }
        Ok(outcome)
    }

    /// Sets the order of a row that has none; false where there is no such row.
    fn fill_order(&mut self, backfill: Backfill) -> Result<bool> {
        let Some(space) = &mut self.space else {
            return Ok(false);
        };
        boundary(self.config, "order")?;
        let filled = self
            .statements
            .fill_order
            .execute(params![
                space.incarnation,
                backfill.id.as_bytes(),
                backfill.sync_order.as_i64()
            ])
            .map_err(failed("apply"))?;
        space.ordered += filled as u64;
        self.changed |= filled > 0;
        Ok(filled > 0)
    }
}
