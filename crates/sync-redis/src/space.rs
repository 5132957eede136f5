//! A space of this backend.

use std::sync::Arc;

use sync_core::{Error, Result, SpaceName};

use crate::backend::Inner;
use crate::error::named;
use crate::layout::SpaceKeys;
use crate::signal::Shared;

/// A space, as one handle has it.
pub(crate) struct Space {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: SpaceName,
    pub(crate) keys: SpaceKeys,
    /// What all handles of this backend on the space share.
    pub(crate) shared: Arc<Shared>,
}

impl Space {
    /// Runs `work` on the backend's thread, to its end also where the caller goes away.
    pub(crate) async fn run<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T> {
        let done = self.inner.runtime.run(work(Arc::clone(self))).await;
        done.map_err(|error: Error| named(operation)(error))
    }
}
