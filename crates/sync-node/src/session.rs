use sync_store::{AnyBackend, AnyStore, Epoch, ErrorKind, SpaceName, Stats, SyncStore};

use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// A connection and the one space a command works on.
pub(crate) struct Session {
    pub(crate) backend: AnyBackend,
    pub(crate) store: AnyStore,
    pub(crate) space: SpaceName,
}

/// Connects to the store, which has to exist.
pub(crate) async fn connect(settings: &Settings) -> Result<AnyBackend> {
    let connected = sync_store::connect(settings.store()?).await;
    connected.map_err(|error| match error.kind() {
        // `migrate` creates a file. It creates neither a server nor a server's database.
        ErrorKind::NotFound if error.backend() == Some("sqlite") => {
            Failure::from(error).and("`sync-node migrate` creates it")
        }
        ErrorKind::Foreign => Failure::from(error)
            .and("`sync-node take-over` reads a deployed mediator's database into another store"),
        _ => error.into(),
    })
}

impl Session {
    /// Connects and opens the space.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        let backend = connect(settings).await?;
        let space = settings.space()?;
        let store = backend.open(&space).await?;
        Ok(Self {
            backend,
            store,
            space,
        })
    }

    /// The space's counters. Notes it on standard error if the space does not exist, because a mistyped
    /// name looks like an empty space.
    pub(crate) async fn stats(&self) -> Result<Stats> {
        let stats = self.store.stats().await?;
        if stats.epoch.is_none() {
            crate::progress::note(&format!("space {} does not exist yet", self.space));
        }
        Ok(stats)
    }

    /// The epoch of a space that has to exist.
    pub(crate) fn existing(&self, epoch: Option<Epoch>) -> Result<Epoch> {
        epoch.ok_or_else(|| Failure::not_found(format!("space {} does not exist", self.space)))
    }
}
