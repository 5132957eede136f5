//! A space: the part of it that is in memory, and the changes of it as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use sync_core::{Epoch, Result, Seq, SpaceName, TombstoneReason};
use sync_kit::streak::Streak;
use sync_kit::{Altered, Change};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Redis;
use crate::error::corrupt;
use crate::layout::SpaceKeys;
use crate::reply::number;
use crate::scripts::Script;

/// Tombstones that one piece of a prune looks at, while the server does nothing else.
const PRUNED_AT_ONCE: u64 = 1_000;

/// What the handles of a backend on one space share.
pub(crate) type Shared = sync_kit::Space<Local>;

/// The part of an open space that is in memory.
pub struct Local {
    pub(crate) keys: SpaceKeys,
    pub(crate) streak: Streak,
    /// Whether the space had tombstones when it was last looked at.
    pub(crate) has_tombstones: AtomicBool,
    /// Whether the watcher was told of the space.
    is_watched: AtomicBool,
}

impl Local {
    pub(crate) fn new(prefix: &str, space: &SpaceName) -> Self {
        Self {
            keys: SpaceKeys::of(prefix, space),
            streak: Streak::default(),
            has_tombstones: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Tells the watcher of the space, unless it knows.
    pub(crate) fn watch(&self, space: &Arc<Shared>, watcher: &UnboundedSender<Weak<Shared>>) {
        if !self.is_watched.swap(true, Ordering::SeqCst) {
            // The watcher lives as long as the backend.
            let _ = watcher.send(Arc::downgrade(space));
        }
    }
}

/// A space, with the servers that have it.
#[derive(Clone)]
pub(crate) struct Space {
    pub(crate) engine: Arc<Redis>,
    pub(crate) shared: Arc<Shared>,
}

impl Space {
    pub(crate) fn local(&self) -> &Local {
        self.shared.local()
    }

    pub(crate) fn keys(&self) -> &SpaceKeys {
        &self.local().keys
    }

    /// Runs a change when it is this call's turn, to its end also where the caller goes away, and then
    /// wakes the space's waiters, also after an error.
    pub(crate) async fn in_turn<T: Send + 'static, F: Future<Output = Result<T>> + Send>(
        self,
        change: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T> {
        let engine = Arc::clone(&self.engine);
        let changing = async move {
            let shared = Arc::clone(&self.shared);
            let _turn = shared.turn().await;
            let changed = change(self).await;
            shared.notify();
            changed
        };
        engine.driver.write(changing).await
    }
}

/// Changes the space as a whole.
pub(crate) async fn alter(space: &Space, change: Change) -> Result<Altered> {
    match change {
        Change::NewEpoch => {
            let mut answer = space.change(Script::Epoch, &[]).await?;
            let epoch = answer.optional()?;
            epoch.map_or(Ok(Altered::Absent), |epoch| {
                let epoch = Epoch::try_from(&epoch[..]).map_err(corrupt)?;
                Ok(Altered::Epoch(epoch))
            })
        }
        Change::RaiseFloor(up_to) => {
            let up_to = up_to.to_string();
            let mut answer = space.change(Script::Floor, &[up_to.as_bytes()]).await?;
            match answer.value()? {
                redis::Value::Nil => Ok(Altered::Absent),
                floor => {
                    let floor = Seq::try_from(number(&floor)?).map_err(corrupt)?;
                    Ok(Altered::Floor(floor))
                }
            }
        }
        Change::PrunePiece(after) => prune_piece(space, after).await,
    }
}

async fn prune_piece(space: &Space, after: Seq) -> Result<Altered> {
    let (most, after) = (PRUNED_AT_ONCE.to_string(), after.to_string());
    let operator = [TombstoneReason::Operator.code()];
    let arguments = [most.as_bytes(), after.as_bytes(), &operator];
    let mut answer = space.change(Script::Prune, &arguments).await?;
    let mut parts = answer.parts()?;
    let (dropped, seen) = (parts.number()?, parts.number()?);
    let last = Seq::try_from(parts.number()?).map_err(corrupt)?;
    Ok(Altered::Pruned {
        dropped,
        next: (seen == PRUNED_AT_ONCE).then_some(last),
    })
}

/// Removes the space. Whether it existed.
pub(crate) async fn drop_space(space: &Space) -> Result<bool> {
    space.change(Script::Drop, &[]).await?.flag()
}
