use std::ops::Bound;

use bytes::Bytes;
use sync_core::{Batch, Limit, Result, StateEntry, StateKey, SyncState};

use crate::MemoryStore;
use crate::batch::batch;

#[deny(clippy::missing_trait_methods)]
impl SyncState for MemoryStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self.read().and_then(|space| space.state.get(key).cloned()))
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        let space = self.read();
        let load = |key| space.as_ref()?.state.get(key).cloned();
        Ok(keys.iter().map(load).collect())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let Some(space) = self.read() else {
            return Ok(batch(std::iter::empty(), limit, |_| 0, key));
        };
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = space
            .state
            .range::<_, StateKey>((lower, Bound::Unbounded))
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, value)| StateEntry {
                key: key.clone(),
                value: value.clone(),
            });
        Ok(batch(entries, limit, |entry| entry.value.len(), key))
    }
}

fn key(entry: &StateEntry) -> StateKey {
    entry.key.clone()
}
