//! The tables of a plan: what was looked up, and what is to be written.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Before, NewRow, Plan, StoredRow};
use crate::play::{InsertedRow, LiveRow, NewTombstone, Played, SpaceRow, StoredTombstone, Tables};
use crate::{OpId, Page, Result, StateChange, StateKey, SyncOrder};

pub(super) struct Maps {
    plan: Plan,
    rows: HashMap<OpId, Row>,
    tombstones: HashMap<OpId, Tombstone>,
    state: HashMap<StateKey, Bytes>,
    /// New rows by seq, with holes where one was removed again.
    inserted: Vec<Option<NewRow>>,
    /// State keys in the order of their first change.
    touched: Vec<StateKey>,
}

struct Row {
    stored: StoredRow,
    /// Its index among the new rows; absent where the database has it.
    new: Option<usize>,
}

struct Tombstone {
    stored: StoredTombstone,
    /// Its index among the new tombstones; absent where the database has it.
    new: Option<usize>,
}

impl Maps {
    pub(super) fn new(page: &Page, before: Before) -> Self {
        let mut rows = HashMap::with_capacity(before.rows.len() + page.upserts.len());
        let row = |(id, stored)| (id, Row { stored, new: None });
        rows.extend(before.rows.into_iter().map(row));
        let tombstone = |(id, stored)| (id, Tombstone { stored, new: None });
        Self {
            plan: Plan::default(),
            rows,
            tombstones: before.tombstones.into_iter().map(tombstone).collect(),
            state: before.state,
            inserted: Vec::with_capacity(page.upserts.len()),
            touched: Vec::new(),
        }
    }

    pub(super) fn into_plan(self, reset: bool, space: SpaceRow, played: Played) -> Plan {
        let mut state = self.state;
        let change = |key| {
            let value = state.remove(&key);
            StateChange { key, value }
        };
        Plan {
            applied: played.applied,
            changed: played.changed,
            reset,
            head: space.head,
            counters: space.counters,
            inserted: self.inserted.into_iter().flatten().collect(),
            state: self.touched.into_iter().map(change).collect(),
            ..self.plan
        }
    }

    fn add(&mut self, row: &InsertedRow<'_>) -> Row {
        let new = Some(self.inserted.len());
        self.inserted.push(Some(NewRow {
            upsert: row.upsert,
            seq: row.seq,
            sync_order: row.sync_order,
            digest: row.digest,
        }));
        let stored = StoredRow {
            ts: row.operation.ts,
            sync_order: row.sync_order,
            digest: row.digest,
            object: row.operation.object.clone(),
        };
        Row { stored, new }
    }
}

impl Tables for Maps {
    type Handle = ();

    fn reset(&mut self) -> Result<()> {
        self.rows.clear();
        self.tombstones.clear();
        self.state.clear();
        Ok(())
    }

    fn row(&mut self, id: &OpId, whole: bool) -> Result<Option<LiveRow<()>>> {
        let live = |Row { stored, .. }: &Row| LiveRow {
            handle: (),
            digest: stored.digest,
            sync_order: stored.sync_order,
            ts: stored.ts,
            object: stored.object.clone().filter(|_| whole),
        };
        Ok(self.rows.get(id).map(live))
    }

    fn tombstone(&mut self, id: &OpId) -> Result<Option<StoredTombstone>> {
        Ok(self.tombstones.get(id).map(|tombstone| tombstone.stored))
    }

    fn insert(&mut self, row: &InsertedRow<'_>) -> Result<()> {
        let added = self.add(row);
        self.rows.insert(row.operation.id, added);
        Ok(())
    }

    fn insert_if_new(&mut self, row: &InsertedRow<'_>) -> Result<Option<bool>> {
        if self.rows.contains_key(&row.operation.id) {
            return Ok(Some(false));
        }
        self.insert(row)?;
        Ok(Some(true))
    }

    fn remove(&mut self, id: &OpId, _: &LiveRow<()>) -> Result<()> {
        match self.rows.remove(id).map(|row| row.new) {
            Some(Some(new)) => {
                self.inserted.get_mut(new).map(Option::take);
            }
            Some(None) => {
                self.plan.ordered.remove(id);
                self.plan.removed.push(*id);
            }
            None => {}
        }
        Ok(())
    }

    fn set_order(&mut self, id: &OpId, _: &LiveRow<()>, sync_order: SyncOrder) -> Result<()> {
        let Some(Row { stored, new }) = self.rows.get_mut(id) else {
            return Ok(());
        };
        stored.sync_order = Some(sync_order);
        match new.map(|new| self.inserted.get_mut(new)) {
            Some(Some(Some(row))) => row.sync_order = Some(sync_order),
            Some(_) => {}
            None => {
                self.plan.ordered.insert(*id, sync_order);
            }
        }
        Ok(())
    }

    fn add_tombstone(&mut self, tombstone: NewTombstone) -> Result<()> {
        let stored = StoredTombstone {
            seq: tombstone.seq,
            reason: tombstone.reason,
            source_seq: tombstone.source_seq,
        };
        let new = Some(self.plan.tombstones.len());
        self.tombstones
            .insert(tombstone.id, Tombstone { stored, new });
        self.plan.tombstones.push(tombstone);
        Ok(())
    }

    fn raise_tombstone(
        &mut self,
        id: &OpId,
        _: &StoredTombstone,
        source_seq: SyncOrder,
    ) -> Result<()> {
        let Some(Tombstone { stored, new }) = self.tombstones.get_mut(id) else {
            return Ok(());
        };
        stored.source_seq = Some(source_seq);
        match new.map(|new| self.plan.tombstones.get_mut(new)) {
            Some(Some(tombstone)) => tombstone.source_seq = Some(source_seq),
            Some(None) => {}
            None => {
                self.plan.raised.insert(stored.seq, source_seq);
            }
        }
        Ok(())
    }

    fn lift_tombstone(&mut self, id: &OpId, tombstone: &StoredTombstone) -> Result<()> {
        // Lifts come first, so the database has the tombstone.
        self.tombstones.remove(id);
        self.plan.lifted.push(tombstone.seq);
        Ok(())
    }

    fn state(&mut self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self.state.get(key).cloned())
    }

    fn set_state(&mut self, key: &StateKey, value: Option<&Bytes>) -> Result<()> {
        if !self.touched.contains(key) {
            self.touched.push(key.clone());
        }
        match value {
            Some(value) => self.state.insert(key.clone(), value.clone()),
            None => self.state.remove(key),
        };
        Ok(())
    }
}
