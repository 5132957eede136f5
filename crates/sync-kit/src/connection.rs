use std::fmt;
use std::sync::Arc;

use sync_core::{Backend, Capabilities, Description, Migrated, Result, SpaceName, Swept};

use crate::store::traced;
use crate::{Engine, Space, Spaces, Store};

/// Rows that one transaction of a sweep removes at most: a page may have to wait for it.
const SWEPT_AT_ONCE: usize = 1_000;

/// The connection to one database.
///
/// A clone is another reference. The database is left when the last reference and the last store
/// opened from it are gone.
pub struct Connection<E: Engine> {
    inner: Arc<Inner<E>>,
}

pub(crate) struct Inner<E: Engine> {
    pub(crate) engine: Arc<E>,
    pub(crate) spaces: Arc<Spaces<E::Local>>,
}

impl<E: Engine> Inner<E> {
    pub(crate) fn space(&self, name: &SpaceName) -> Arc<Space<E::Local>> {
        self.spaces.open(name, || self.engine.local(name))
    }
}

impl<E: Engine> Connection<E> {
    /// The engine behind the connection, for what only this backend offers.
    pub fn engine(&self) -> &Arc<E> {
        &self.inner.engine
    }
}

impl<E: Engine> Clone for Connection<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<E: Engine> fmt::Debug for Connection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("backend", &E::NAME)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<E: Engine> Backend for Connection<E> {
    type Config = E::Config;
    type Store = Store<E>;

    const NAME: &'static str = E::NAME;

    async fn connect(config: E::Config) -> Result<Self> {
        let spaces = Arc::new(Spaces::default());
        let connecting = E::connect(config, Arc::clone(&spaces));
        let engine = traced::<E, _>(None, "connect", connecting).await?;
        let inner = Arc::new(Inner { engine, spaces });
        Ok(Self { inner })
    }

    async fn migrate(config: &E::Config) -> Result<Migrated> {
        traced::<E, _>(None, "migrate", E::migrate(config)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.engine.capabilities()
    }

    async fn describe(&self) -> Result<Description> {
        traced::<E, _>(None, "describe", self.inner.engine.describe()).await
    }

    async fn open(&self, space: &SpaceName) -> Result<Store<E>> {
        Ok(Store::new(Arc::clone(&self.inner), space))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let names = self.inner.engine.names(after.cloned(), limit);
        traced::<E, _>(None, "spaces", names).await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let space = self.inner.space(space);
        let dropping = self.inner.engine.drop_space(&space);
        traced::<E, _>(Some(space.name()), "drop_space", dropping).await
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let (mut left, mut removed) = (rows, 0);
        loop {
            // Each piece queues anew: the pages that wait go first. A piece of no rows tells whether
            // some are left.
            let piece = self.inner.engine.sweep_piece(left.min(SWEPT_AT_ONCE));
            let piece = traced::<E, _>(None, "sweep", piece).await?;
            removed += piece.removed;
            left = left.saturating_sub(usize::try_from(piece.removed).unwrap_or(usize::MAX));
            if !piece.more || left == 0 {
                let more = piece.more;
                return Ok(Swept { removed, more });
            }
        }
    }
}
