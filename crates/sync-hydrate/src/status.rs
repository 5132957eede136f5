use std::collections::BTreeMap;

use sync_core::{SyncOrder, SyncStore};

use crate::state::{self, BackfillState, Loaded, Pass, Resume};
use crate::{Phase, Result, SourceEpoch, invalid};

/// What a space remembers of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The source's name.
    pub name: String,
    /// The history of the source that the space follows.
    pub epoch: SourceEpoch,
    /// What is being done. `Current` says that everything known at the last page is done.
    pub phase: Phase,
    /// The position of the log up to which changes were read; none in a snapshot.
    pub cursor: Option<SyncOrder>,
    /// The position at which the snapshot began, or at which the run of backfill ends.
    pub checkpoint: Option<SyncOrder>,
    /// The position that backfill has reached in the log, where a run is under way.
    pub backfilled: Option<SyncOrder>,
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
        let run = loaded.running().cloned();
        let Some(position) = loaded.position.value else {
            return Ok(None);
        };
        let stats = store.stats().await?;
        let (mut phase, cursor, mut checkpoint) = match &position.resume {
            Resume::Snapshot { checkpoint, .. } => (Phase::Snapshot, None, Some(*checkpoint)),
            Resume::Changes(at) => (Phase::Current, Some(at.cursor), None),
        };
        if let Some(run) = &run {
            phase = match run.pass {
                Pass::Collect => Phase::Collect,
                Pass::Order => Phase::Order,
                Pass::Settle => Phase::Settle,
            };
            checkpoint = Some(run.end);
        }
        let counts = invalid::counts(store).await?.value.unwrap_or_default();
        let name = loaded.name.unwrap_or_default();
        Ok(Some(Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            epoch: SourceEpoch::new(position.epoch),
            phase,
            cursor: cursor.map(state::order).transpose()?,
            checkpoint: checkpoint.map(state::order).transpose()?,
            backfilled: run.map(|run| state::order(run.cursor)).transpose()?,
            held: position.held,
            unordered: stats.total.saturating_sub(stats.ordered),
            invalid: counts.reasons,
        }))
    }
}

/// Whether rows that came with a snapshot still wait for their order. Until then tombstones must
/// not be pruned: backfill learns from them what was removed since.
pub async fn backfill_is_pending(store: &impl SyncStore) -> Result<bool> {
    let loaded = Loaded::read(store).await?;
    let in_snapshot = matches!(
        loaded.position.value.map(|position| position.resume),
        Some(Resume::Snapshot { .. })
    );
    Ok(in_snapshot || matches!(loaded.backfill.value, Some(BackfillState::Running(_))))
}
