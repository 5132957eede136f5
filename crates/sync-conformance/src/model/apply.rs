use sync_core::{
    Applied, Backfill, BackfillOutcome, Delete, DeleteOutcome, Epoch, Error, ErrorKind,
    LiftOutcome, Mismatch, OpId, Operation, Page, Result, Seq, SeqRange, StateChange, SyncOrder,
    TombstoneReason, UpsertOutcome,
};

use super::{Model, Tombstone, seq};

/// What an upsert or backfill of an order does to a row that stands.
enum Order {
    Same,
    Set,
    Conflict(SyncOrder),
}

impl Model {
    /// Applies a page: all of it or nothing.
    pub fn apply(&mut self, page: &Page) -> Result<Applied> {
        page.validate()?;
        let mismatches = self.mismatches(page);
        if !mismatches.is_empty() {
            return Err(Error::conflict(mismatches));
        }
        // On a copy only where seqs could run out: copies of large spaces are slow.
        let most = (page.deletes.len() + 2 * page.upserts.len()) as u64;
        if self.head + most <= Seq::MAX.value() {
            return self.act(page);
        }
        let mut copy = self.clone();
        let applied = copy.act(page)?;
        if copy.head > Seq::MAX.value() {
            return Err(Error::new(ErrorKind::Exhausted));
        }
        *self = copy;
        Ok(applied)
    }

    fn mismatches(&self, page: &Page) -> Vec<Mismatch> {
        let mut mismatches: Vec<Mismatch> = Vec::new();
        for precondition in &page.preconditions {
            let key = &precondition.key;
            let found = self.state.get(key);
            let named = mismatches.iter().any(|mismatch| mismatch.key == *key);
            if found != precondition.expected.as_ref() && !named {
                mismatches.push(Mismatch {
                    key: key.clone(),
                    found: found.cloned(),
                });
            }
        }
        mismatches
    }

    fn act(&mut self, page: &Page) -> Result<Applied> {
        let head = self.head;
        let mut wrote = page.reset;
        if page.reset {
            self.reset()?;
        }
        let mut applied = Applied::default();
        for id in &page.lifts {
            applied.lifts.push(self.lift(*id, &mut wrote));
        }
        for delete in &page.deletes {
            applied.deletes.push(self.delete(delete, &mut wrote));
        }
        for operation in &page.upserts {
            let outcome = self.upsert(operation, page, head, &mut wrote);
            applied.upserts.push(outcome);
        }
        for backfill in &page.backfills {
            applied.backfills.push(self.backfill(*backfill, &mut wrote));
        }
        for change in &page.state {
            self.change(change, &mut wrote);
        }
        if wrote && self.epoch.is_none() {
            self.epoch = Some(Epoch::random()?);
        }
        if self.head > head {
            applied.seqs = Some(SeqRange {
                first: seq(head + 1),
                last: seq(self.head),
            });
        }
        Ok(applied)
    }

    fn reset(&mut self) -> Result<()> {
        *self = Self {
            epoch: Some(Epoch::random()?),
            head: self.head,
            floor: self.floor,
            ..Self::default()
        };
        Ok(())
    }

    fn lift(&mut self, id: OpId, wrote: &mut bool) -> LiftOutcome {
        if self.rows.contains_key(&id) {
            return LiftOutcome::NotTombstoned;
        }
        let newest = self.newest_tombstone.get(&id);
        match newest.and_then(|seq| self.tombstones.get_mut(seq)) {
            Some(tombstone) if !tombstone.lifted => {
                tombstone.lifted = true;
                *wrote = true;
                LiftOutcome::Lifted
            }
            _ => LiftOutcome::NotTombstoned,
        }
    }

    fn delete(&mut self, delete: &Delete, wrote: &mut bool) -> DeleteOutcome {
        if let Some(row) = self.rows.get(&delete.id) {
            let row = &row.operation;
            if delete.object.is_some() && delete.object != row.object {
                return DeleteOutcome::OtherObject;
            }
            if let (Some(order), Some(source_seq)) = (row.sync_order, delete.source_seq)
                && order >= source_seq
            {
                return DeleteOutcome::Superseded;
            }
            *wrote = true;
            self.bury(delete.id, delete.reason, delete.source_seq);
            return DeleteOutcome::Deleted;
        }
        if let Some((at, _)) = self.standing_tombstone(delete.id) {
            if let Some(tombstone) = self.tombstones.get_mut(&at)
                && let Some(higher) = delete.source_seq
                && tombstone.source_seq.is_none_or(|stored| higher > stored)
            {
                tombstone.source_seq = Some(higher);
                *wrote = true;
            }
            return DeleteOutcome::AlreadyDeleted;
        }
        if !delete.reject {
            return DeleteOutcome::Unknown;
        }
        *wrote = true;
        self.insert_tombstone(Tombstone {
            id: delete.id,
            ts: delete.ts,
            object: delete.object.clone(),
            reason: delete.reason,
            source_seq: delete.source_seq,
            lifted: false,
        });
        DeleteOutcome::Rejected
    }

    fn upsert(
        &mut self,
        operation: &Operation,
        page: &Page,
        head_before: u64,
        wrote: &mut bool,
    ) -> UpsertOutcome {
        let id = operation.id;
        if let Some(row) = self.rows.get(&id) {
            let stored = &row.operation;
            let order = stored.sync_order;
            let same_record = stored.ts == operation.ts
                && stored.object == operation.object
                && stored.payload == operation.payload;
            if same_record {
                let Some(wanted) = operation.sync_order else {
                    return UpsertOutcome::Unchanged;
                };
                return match self.set_order(id, wanted, wrote) {
                    Order::Same => UpsertOutcome::Unchanged,
                    Order::Set => UpsertOutcome::Ordered,
                    Order::Conflict(stored) => UpsertOutcome::OrderConflict { stored },
                };
            }
            if !page.replace {
                return UpsertOutcome::Divergent;
            }
            self.bury(id, TombstoneReason::Removed, None);
            let mut replacement = operation.clone();
            replacement.sync_order = operation.sync_order.or(order);
            self.insert_row(replacement);
            *wrote = true;
            return UpsertOutcome::Replaced;
        }
        if let Some((at, tombstone)) = self.standing_tombstone(id) {
            let of_this_page = at.value() > head_before;
            if !page.revive && !of_this_page {
                return UpsertOutcome::Tombstoned;
            }
            if tombstone.reason == TombstoneReason::Operator {
                return UpsertOutcome::Tombstoned;
            }
            if let Some(removed_at) = tombstone.source_seq {
                let above = operation.sync_order.is_some_and(|order| order > removed_at);
                if !above {
                    return UpsertOutcome::Tombstoned;
                }
            }
        }
        self.insert_row(operation.clone());
        *wrote = true;
        UpsertOutcome::Inserted
    }

    fn backfill(&mut self, backfill: Backfill, wrote: &mut bool) -> BackfillOutcome {
        let Backfill { id, sync_order } = backfill;
        if self.rows.contains_key(&id) {
            return match self.set_order(id, sync_order, wrote) {
                Order::Same => BackfillOutcome::Unchanged,
                Order::Set => BackfillOutcome::Ordered,
                Order::Conflict(stored) => BackfillOutcome::OrderConflict { stored },
            };
        }
        if self.standing_tombstone(id).is_some() {
            return BackfillOutcome::Tombstoned;
        }
        BackfillOutcome::Unknown
    }

    fn change(&mut self, change: &StateChange, wrote: &mut bool) {
        let before = match &change.value {
            Some(value) => self.state.insert(change.key.clone(), value.clone()),
            None => self.state.remove(&change.key),
        };
        *wrote |= before != change.value;
    }

    fn set_order(&mut self, id: OpId, wanted: SyncOrder, wrote: &mut bool) -> Order {
        let Some(row) = self.rows.get_mut(&id) else {
            return Order::Same;
        };
        match row.operation.sync_order {
            Some(stored) if stored == wanted => Order::Same,
            Some(stored) => Order::Conflict(stored),
            None => {
                row.operation.sync_order = Some(wanted);
                self.by_order.insert((wanted, id));
                *wrote = true;
                Order::Set
            }
        }
    }

    /// Puts a tombstone in the place of a row.
    fn bury(&mut self, id: OpId, reason: TombstoneReason, source_seq: Option<SyncOrder>) {
        if let Some(row) = self.remove_row(id) {
            self.insert_tombstone(Tombstone {
                id,
                ts: Some(row.operation.ts),
                object: row.operation.object,
                reason,
                source_seq,
                lifted: false,
            });
        }
    }
}
