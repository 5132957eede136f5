//! Puts the source's actions on operations into a page of the store.

use std::collections::{HashMap, HashSet};

use sync_core::rules::{self, Deletable, IdState, Policy, Tombstone};
use sync_core::{DeleteOutcome, Known, Limit, Object, OpId, Operation, Page, SyncOrder, SyncStore};

use super::Hydrator;
use super::cut::{self, Removed};
use crate::backfill::buckets::Buckets;
use crate::state::{BackfillRun, Pass};
use crate::{Result, Source};

/// The actions of a page.
pub(super) struct Actions {
    pub(super) removed: Vec<Removed>,
    pub(super) added: Vec<Operation>,
    /// The position up to which the log was read before.
    pub(super) cursor: SyncOrder,
}

/// The state of an id; of a row its order.
type State = IdState<Option<SyncOrder>>;

impl Actions {
    fn ids(&self) -> impl Iterator<Item = OpId> {
        let removed = self.removed.iter().map(|removed| removed.id);
        removed.chain(self.added.iter().map(|added| added.id))
    }
}

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Puts actions into a page.
    ///
    /// - Of two actions on an id the one with the higher position applies. The rules decide that for
    ///   removals and tombstones. An addition below its row's order is left out here, because the page
    ///   [replaces](Page::replace), and the older record would take the row's place.
    /// - An addition that replaces a row keeps the row's order, which is that of the first addition after
    ///   the last removal.
    /// - Orders that backfill determines are left to the end of its run. Answers whether there are such.
    pub(super) async fn put_actions(
        &mut self,
        mut page: Page,
        actions: Actions,
        run: Option<&BackfillRun>,
    ) -> Result<(Page, bool)> {
        let mut states = self.states(&page, &actions).await?;
        let has_no_order = |id: &OpId| states.get(id) == Some(&IdState::Live(None));
        let mut buckets = Buckets::new(run.map_or("", |run| &run.salt));
        if run.is_some() {
            let ids = actions.ids().filter(has_no_order);
            buckets.load(&self.store, ids).await?;
        }
        let objects = self.objects(&actions, &states).await?;
        for removed in actions.removed {
            let state = states.get(&removed.id);
            if let (Some(run), Some(IdState::Live(None))) = (run, state)
                && is_left_to_backfill(&removed, run, &buckets)
            {
                continue;
            }
            let (id, delete) = (removed.id, removed.delete());
            let named = delete.object.as_ref();
            // An object that was not looked up does not matter: the page does not add the id again.
            let stored = objects.get(&id).map_or(named, Option::as_ref);
            if let Some(IdState::Live(sync_order)) = state {
                let row = IdState::Live(Deletable {
                    object: stored.map(Object::as_bytes),
                    sync_order: *sync_order,
                });
                if rules::delete(&row, &delete) == DeleteOutcome::Deleted {
                    states.remove(&id);
                }
            }
            page.deletes.push(delete);
        }

        let policy = Policy::from(&page);
        for mut added in actions.added {
            let seq = added.sync_order;
            match states.get(&added.id) {
                Some(IdState::Live(Some(order))) if seq < Some(*order) => continue,
                Some(IdState::Live(Some(_))) => added.sync_order = None,
                Some(IdState::Live(None)) if run.is_some() => {
                    let object = added.object.as_ref();
                    buckets.change(added.id, |entry| {
                        if let Some(seq) = seq {
                            entry.add(seq, object);
                        }
                    })?;
                    // The row came with the snapshot, which is newer than this part of the log.
                    if seq <= Some(actions.cursor) {
                        continue;
                    }
                    added.sync_order = None;
                }
                Some(IdState::Tombstoned(tombstone))
                    if rules::keeps_away(tombstone, seq, policy) => {}
                Some(IdState::Live(None) | IdState::Tombstoned(_) | IdState::Unknown) | None => {
                    states.insert(added.id, IdState::Live(seq));
                }
            }
            page.upserts.push(added);
        }
        let deferred = buckets.has_changed();
        Ok((buckets.write(page), deferred))
    }

    /// The states of the ids as the page finds them: unknown where it resets the space.
    async fn states(&self, page: &Page, actions: &Actions) -> Result<HashMap<OpId, State>> {
        if page.reset {
            return Ok(HashMap::new());
        }
        let ids: Vec<OpId> = actions.ids().collect();
        let known = self.store.known(&ids).await?;
        let states = known.into_iter().map(state_of);
        Ok(ids.into_iter().zip(states).collect())
    }

    /// The objects of those rows that are removed and added at once: only a removal that names the
    /// row's object deletes the row before the addition.
    async fn objects(
        &self,
        actions: &Actions,
        states: &HashMap<OpId, State>,
    ) -> Result<HashMap<OpId, Option<Object>>> {
        let added: HashSet<OpId> = actions.added.iter().map(|added| added.id).collect();
        let removed = actions.removed.iter().map(|removed| removed.id);
        let is_live = |id: &OpId| matches!(states.get(id), Some(IdState::Live(_)));
        let both: Vec<OpId> = removed
            .filter(|id| added.contains(id) && is_live(id))
            .collect();
        let mut objects = HashMap::new();
        let mut rest = both.as_slice();
        while !rest.is_empty() {
            let part = self
                .store
                .get(rest, Limit::rows(rest.len()).bytes(cut::BYTES))
                .await?;
            rest = rest.get(part.rows.len().max(1)..).unwrap_or_default();
            let rows = part.rows.into_iter().flatten().map(|row| row.operation);
            objects.extend(rows.map(|operation| (operation.id, operation.object)));
        }
        Ok(objects)
    }
}

fn state_of(known: Known) -> State {
    match known {
        Known::Live { sync_order, .. } => IdState::Live(sync_order),
        Known::Tombstoned {
            reason, source_seq, ..
        } => IdState::Tombstoned(Tombstone {
            reason,
            source_seq,
            by_this_page: false,
        }),
        Known::Unknown => IdState::Unknown,
    }
}

/// Whether a removal of a row without order is left to backfill: its run will collect the removal, has
/// collected it, or knows a later addition.
fn is_left_to_backfill(removed: &Removed, run: &BackfillRun, buckets: &Buckets) -> bool {
    let seq = removed.seq.value();
    let is_to_come = run.pass == Pass::Collect && seq > run.cursor && seq <= run.end;
    is_to_come
        || buckets.of(&removed.id).is_some_and(|collected| {
            collected.is_removed(removed.seq, Some(&removed.object))
                || collected.added.is_some_and(|added| added > removed.seq)
        })
}
