use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use sync_core::{AnyStore, Backend, Capabilities, Description, Result, SpaceName, Swept};

/// A connection to a database of any backend, behind one type.
///
/// It has the methods of [`Backend`], and hands out [`AnyStore`]. A clone is another reference to
/// the same connection. Each call costs one boxed future.
#[derive(Clone)]
pub struct AnyBackend(Arc<dyn ErasedBackend>);

impl AnyBackend {
    /// Erases the type of `backend`: one connected with its own configuration, or one that this
    /// crate does not know.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// The backend's name in messages, errors and tables: [`Backend::NAME`].
    pub fn name(&self) -> &'static str {
        self.0.erased_name()
    }

    /// What the backend promises: [`Backend::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.0.erased_capabilities()
    }

    /// The database, as people look at it: [`Backend::describe`].
    pub async fn describe(&self) -> Result<Description> {
        self.0.erased_describe().await
    }

    /// A handle on a space, in O(1), which writes nothing: [`Backend::open`].
    pub async fn open(&self, space: &SpaceName) -> Result<AnyStore> {
        self.0.erased_open(space).await
    }

    /// The names of at most `limit` spaces after `after`, by their bytes: [`Backend::spaces`].
    pub async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        self.0.erased_spaces(after, limit).await
    }

    /// Removes a space at once and sweeps what it held later. Whether it existed:
    /// [`Backend::drop_space`].
    pub async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        self.0.erased_drop_space(space).await
    }

    /// Removes at most `rows` rows that resets and drops left behind: [`Backend::sweep`].
    pub async fn sweep(&self, rows: usize) -> Result<Swept> {
        self.0.erased_sweep(rows).await
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyBackend").field(&self.name()).finish()
    }
}

/// The object-safe twin of [`Backend`]. Its names differ, because under equal names the blanket
/// implementation would call itself.
trait ErasedBackend: Send + Sync {
    fn erased_name(&self) -> &'static str;
    fn erased_capabilities(&self) -> Capabilities;
    fn erased_describe(&self) -> BoxFuture<'_, Result<Description>>;
    fn erased_open<'a>(&'a self, space: &'a SpaceName) -> BoxFuture<'a, Result<AnyStore>>;
    fn erased_spaces<'a>(
        &'a self,
        after: Option<&'a SpaceName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SpaceName>>>;
    fn erased_drop_space<'a>(&'a self, space: &'a SpaceName) -> BoxFuture<'a, Result<bool>>;
    fn erased_sweep(&self, rows: usize) -> BoxFuture<'_, Result<Swept>>;
}

impl<B: Backend> ErasedBackend for B {
    fn erased_name(&self) -> &'static str {
        B::NAME
    }

    fn erased_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    fn erased_describe(&self) -> BoxFuture<'_, Result<Description>> {
        Box::pin(self.describe())
    }

    fn erased_open<'a>(&'a self, space: &'a SpaceName) -> BoxFuture<'a, Result<AnyStore>> {
        Box::pin(async move { Ok(AnyStore::new(self.open(space).await?)) })
    }

    fn erased_spaces<'a>(
        &'a self,
        after: Option<&'a SpaceName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SpaceName>>> {
        Box::pin(self.spaces(after, limit))
    }

    fn erased_drop_space<'a>(&'a self, space: &'a SpaceName) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.drop_space(space))
    }

    fn erased_sweep(&self, rows: usize) -> BoxFuture<'_, Result<Swept>> {
        Box::pin(self.sweep(rows))
    }
}
