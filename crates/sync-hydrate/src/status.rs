use std::collections::BTreeMap;

use sync_core::{SyncOrder, SyncStore};

use crate::state::{self, Loaded, Pass, Place, WalkState};
use crate::{Phase, Result, SourceEpoch, invalid};

/// What a space remembers of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The source's name.
    pub name: String,
    /// The history of the source that the space follows.
    pub epoch: SourceEpoch,
    /// What is being done. `Current` says that nothing is left of what was known at the last page.
    pub phase: Phase,
    /// The position of the log up to which changes were read; none in a snapshot.
    pub cursor: Option<SyncOrder>,
    /// The position at which the snapshot began, or at which the walk of the log ends.
    pub checkpoint: Option<SyncOrder>,
    /// The position that the walk of the log has reached, where one is under way.
    pub walked: Option<SyncOrder>,
    /// Operations the source held.
    pub held: u64,
    /// Rows without order.
    pub unordered: u64,
    /// Invalid records, by reason.
    pub invalid: BTreeMap<String, u64>,
}

impl Status {
    /// Reads it; `None` where the space was never filled from a source.
    pub async fn load(store: &impl SyncStore) -> Result<Option<Self>> {
        let loaded = Loaded::read(store).await?;
        let walking = loaded.walking().cloned();
        let Some(position) = loaded.position.value else {
            return Ok(None);
        };
        let stats = store.stats().await?;
        let (mut phase, cursor, mut checkpoint) = match &position.place {
            Place::Snapshot { checkpoint, .. } => (Phase::Snapshot, None, Some(*checkpoint)),
            Place::Changes(at) => (Phase::Current, Some(at.cursor), None),
        };
        if let Some(walking) = &walking {
            phase = match walking.pass {
                Pass::Collect => Phase::Collect,
                Pass::Order => Phase::Order,
                Pass::Settle => Phase::Settle,
            };
            checkpoint = Some(walking.end);
        }
        let counts = invalid::counts(store).await?.value.unwrap_or_default();
        let name = loaded.name.unwrap_or_default();
        Ok(Some(Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            epoch: SourceEpoch::new(position.epoch),
            phase,
            cursor: cursor.map(state::order).transpose()?,
            checkpoint: checkpoint.map(state::order).transpose()?,
            walked: walking
                .map(|walking| state::order(walking.cursor))
                .transpose()?,
            held: position.held,
            unordered: stats.total.saturating_sub(stats.ordered),
            invalid: counts.reasons,
        }))
    }
}

/// Whether rows that came with a snapshot still wait for their order. Until then tombstones must
/// not be pruned: the walk needs them to know what was removed since.
pub async fn backfill_is_pending(store: &impl SyncStore) -> Result<bool> {
    let loaded = Loaded::read(store).await?;
    let in_snapshot = matches!(
        loaded.position.value.map(|position| position.place),
        Some(Place::Snapshot { .. })
    );
    Ok(in_snapshot || matches!(loaded.walk.value, Some(WalkState::Walking(_))))
}
