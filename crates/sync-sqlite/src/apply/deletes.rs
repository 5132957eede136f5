//! Lifts and deletes.

use rusqlite::params;
use sync_core::rules::{self, Deletable, IdState};
use sync_core::{
    Delete, DeleteOutcome, LiftOutcome, Object, OpId, Result, SyncOrder, TombstoneReason, Ts,
};

use super::Writing;
use super::look_up::WholeRow;
use crate::error::failed;
use crate::space;

impl Writing<'_> {
    pub(super) fn lift(&mut self, id: OpId) -> Result<LiftOutcome> {
        self.boundary("lift")?;
        let standing = match self.find(id).map_err(failed("apply"))? {
            Some(_) => IdState::Live(()),
            None => self
                .grave(id)
                .map_err(failed("apply"))?
                .map_or(IdState::Unknown, IdState::Tombstoned),
        };
        let outcome = rules::lift(&standing);
        if outcome == LiftOutcome::Lifted {
            let incarnation = self.space_mut()?.incarnation;
            self.changed = true;
            self.transaction
                .prepare_cached(
                    "UPDATE tombstone SET lifted = 1 WHERE incarnation = ?1 AND seq =
                       (SELECT max(seq) FROM tombstone WHERE incarnation = ?1 AND id = ?2)",
                )
                .and_then(|mut lift| lift.execute(params![incarnation, id.as_bytes()]))
                .map_err(failed("apply"))?;
        }
        Ok(outcome)
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome> {
        self.boundary("delete")?;
        let row = self.find_whole(delete.id).map_err(failed("apply"))?;
        let standing = match &row {
            Some(row) => IdState::Live(Deletable {
                object: row.object.as_ref().map(Object::as_bytes),
                sync_order: row.sync_order,
            }),
            None => self
                .grave(delete.id)
                .map_err(failed("apply"))?
                .map_or(IdState::Unknown, IdState::Tombstoned),
        };
        let outcome = rules::delete(&standing, delete);
        match (outcome, &row) {
            (DeleteOutcome::Deleted, Some(row)) => {
                self.remove_row(delete.id, row, delete.reason, delete.source_seq)?;
            }
            (DeleteOutcome::Rejected, _) => {
                let Delete {
                    id,
                    reason,
                    source_seq,
                    ..
                } = *delete;
                self.add_tombstone(id, delete.ts, delete.object.as_ref(), reason, source_seq)?;
            }
            (DeleteOutcome::AlreadyDeleted, _) => self.raise_source_seq(delete, &standing)?,
            _ => {}
        }
        Ok(outcome)
    }

    /// Deletes a row and leaves its tombstone.
    pub(super) fn remove_row(
        &mut self,
        id: OpId,
        row: &WholeRow,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        self.boundary("delete row")?;
        self.transaction
            .prepare_cached("DELETE FROM operation WHERE rid = ?1")
            .and_then(|mut delete| delete.execute([row.rid]))
            .map_err(failed("apply"))?;
        let space = self.space_mut()?;
        space.total = space::less(space.total, 1)?;
        space.ordered = space::less(space.ordered, u64::from(row.sync_order.is_some()))?;
        self.add_tombstone(id, Some(row.ts), row.object.as_ref(), reason, source_seq)
    }

    fn add_tombstone(
        &mut self,
        id: OpId,
        ts: Option<Ts>,
        object: Option<&Object>,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        self.boundary("tombstone")?;
        let space = self.space_mut()?;
        let seq = space.mint()?;
        space.tombstones += 1;
        let incarnation = space.incarnation;
        self.changed = true;
        self.transaction
            .prepare_cached(
                "INSERT INTO tombstone
                   (incarnation, seq, id, ts, object, reason, source_seq, lifted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    incarnation,
                    seq.as_i64(),
                    id.as_bytes(),
                    ts.map(Ts::as_i64),
                    object.map(Object::as_bytes),
                    reason.code(),
                    source_seq.map(SyncOrder::as_i64),
                ])
            })
            .map(drop)
            .map_err(failed("apply"))
    }

    fn raise_source_seq(
        &mut self,
        delete: &Delete,
        standing: &IdState<Deletable<'_>>,
    ) -> Result<()> {
        let IdState::Tombstoned(grave) = standing else {
            return Ok(());
        };
        let merged = rules::merged_source_seq(grave.source_seq, delete.source_seq);
        if merged == grave.source_seq {
            return Ok(());
        }
        self.boundary("source seq")?;
        let incarnation = self.space_mut()?.incarnation;
        self.changed = true;
        self.transaction
            .prepare_cached(
                "UPDATE tombstone SET source_seq = ?3 WHERE incarnation = ?1 AND seq =
                   (SELECT max(seq) FROM tombstone WHERE incarnation = ?1 AND id = ?2)",
            )
            .and_then(|mut raise| {
                let merged = merged.map(SyncOrder::as_i64);
                raise.execute(params![incarnation, delete.id.as_bytes(), merged])
            })
            .map(drop)
            .map_err(failed("apply"))
    }
}
