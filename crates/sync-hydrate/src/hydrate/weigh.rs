//! Actions of the log, weighed against what stands under their ids.

use std::collections::{HashMap, HashSet};

use sync_core::{Known, Object, OpId, Operation, Page, SyncOrder, SyncStore};

use super::Hydrator;
use super::cut::{self, Removed};
use crate::state::{Pass, Walking};
use crate::walk::buckets::Buckets;
use crate::{Result, Source};

/// The actions of a page.
pub(super) struct Work {
    pub(super) removed: Vec<Removed>,
    pub(super) added: Vec<Operation>,
    /// The position up to which the log was read before.
    pub(super) cursor: SyncOrder,
}

impl Work {
    fn ids(&self) -> impl Iterator<Item = OpId> {
        let removed = self.removed.iter().map(|removed| removed.id);
        removed.chain(self.added.iter().map(|added| added.id))
    }
}

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Puts actions into a page.
    ///
    /// - Of two actions on an id the higher holds.
    /// - Another record of a row takes the row's place in the order: the place is that of the first
    ///   addition after the last removal.
    /// - Orders that a walk will know better are left to its end. Answers whether there are such.
    pub(super) async fn weigh(
        &mut self,
        mut page: Page,
        work: Work,
        walking: Option<&Walking>,
    ) -> Result<(Page, bool)> {
        let ids: Vec<OpId> = work.ids().collect();
        let known = if page.reset {
            // Nothing of what stands now will.
            Vec::new()
        } else {
            self.store.known(&ids).await?
        };
        let (mut standing, mut graves) = (HashMap::new(), HashMap::new());
        for (id, known) in ids.into_iter().zip(known) {
            match known {
                Known::Live { sync_order, .. } => {
                    standing.insert(id, sync_order);
                }
                Known::Tombstoned { source_seq, .. } => {
                    graves.insert(id, source_seq);
                }
                Known::Unknown => {}
            }
        }
        let unordered = |id: &OpId| standing.get(id) == Some(&None::<SyncOrder>);

        let mut buckets = Buckets::new(walking.map_or("", |walking| &walking.salt));
        if walking.is_some() {
            buckets
                .load(&self.store, work.ids().filter(unordered))
                .await?;
        }
        let objects = self.objects(&work, &standing).await?;
        for removed in work.removed {
            let order = standing.get(&removed.id).copied();
            let is_walks = walking.is_some_and(|walking| {
                order == Some(None) && is_the_walks(&removed, walking, &buckets)
            });
            if is_walks {
                continue;
            }
            let is_lower = order.is_some_and(|order| order.is_none_or(|it| it < removed.seq));
            let object = objects.get(&removed.id);
            if is_lower && object.is_none_or(|object| object.as_ref() == Some(&removed.object)) {
                standing.remove(&removed.id);
            }
            page.deletes.push(removed.delete());
        }

        for mut added in work.added {
            let seq = added.sync_order;
            match standing.get(&added.id).copied() {
                // The row is from a later action.
                Some(Some(order)) if seq < Some(order) => continue,
                Some(Some(_)) => added.sync_order = None,
                Some(None) if walking.is_some() => {
                    let object = added.object.as_ref();
                    buckets.change(added.id, |entry| {
                        if let Some(seq) = seq {
                            entry.add(seq, object);
                        }
                    })?;
                    // What came with the snapshot is newer than what the log says of before.
                    if seq <= Some(work.cursor) {
                        continue;
                    }
                    added.sync_order = None;
                }
                None if graves.get(&added.id).is_some_and(|grave| *grave >= seq) => {}
                Some(None) | None => {
                    standing.insert(added.id, seq);
                }
            }
            page.upserts.push(added);
        }
        let deferred = buckets.has_changed();
        Ok((buckets.write(page), deferred))
    }

    /// The objects of those rows that are removed and added at once: only a removal that names the
    /// row's object makes room for what is added.
    async fn objects(
        &self,
        work: &Work,
        standing: &HashMap<OpId, Option<SyncOrder>>,
    ) -> Result<HashMap<OpId, Option<Object>>> {
        let added: HashSet<OpId> = work.added.iter().map(|added| added.id).collect();
        let removed = work.removed.iter().map(|removed| removed.id);
        let both: Vec<OpId> = removed
            .filter(|id| added.contains(id) && standing.contains_key(id))
            .collect();
        let mut objects = HashMap::new();
        let mut rest = both.as_slice();
        while !rest.is_empty() {
            let part = self.store.get(rest, cut::BYTES).await?;
            rest = rest.get(part.rows.len().max(1)..).unwrap_or_default();
            let rows = part.rows.into_iter().flatten().map(|row| row.operation);
            objects.extend(rows.map(|operation| (operation.id, operation.object)));
        }
        Ok(objects)
    }
}

/// Whether a removal that meets a row without order is for the walk to act on: it will collect
/// it, has collected it, or knows of a later addition.
fn is_the_walks(removed: &Removed, walking: &Walking, buckets: &Buckets) -> bool {
    let seq = removed.seq.value();
    let is_to_come = walking.pass == Pass::Collect && seq > walking.cursor && seq <= walking.end;
    is_to_come
        || buckets.of(&removed.id).is_some_and(|collected| {
            collected.is_removed(removed.seq, Some(&removed.object))
                || collected.added.is_some_and(|added| added > removed.seq)
        })
}
