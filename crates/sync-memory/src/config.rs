use std::fmt;

use crate::boundary::Boundaries;

/// The configuration of a [`MemoryBackend`](crate::MemoryBackend). There is nothing to configure.
///
/// A configuration names no database: every
/// [`connect`](sync_core::Backend::connect) makes a new, empty one. To reach the same one again,
/// clone the backend.
#[derive(Clone, Default)]
pub struct MemoryConfig {
    pub(crate) boundaries: Boundaries,
}

impl MemoryConfig {
    /// The configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// For tests: calls `hook` at every step of every page that has one.
    ///
    /// - `reset`, and `lift`, `delete`, `upsert`, `backfill` and `state` before each entry of
    ///   these lists; `commit` before a page becomes visible. An error of the hook ends the page
    ///   with that error and nothing is written.
    /// - `committed` after the page is visible and before it is answered. An error of the hook
    ///   becomes the source of an [`UnknownOutcome`](sync_core::ErrorKind::UnknownOutcome).
    /// - A page that changes nothing has neither `commit` nor `committed`.
    ///
    /// Up to `commit` the hook runs while the page holds the space's write lock: it may read the
    /// space, and would wait for ever for a write to it.
    #[cfg(any(test, feature = "fault-injection"))]
    #[must_use]
    pub fn on_boundary(
        mut self,
        hook: std::sync::Arc<dyn Fn(&'static str) -> sync_core::Result<()> + Send + Sync>,
    ) -> Self {
        self.boundaries = Boundaries::new(hook);
        self
    }
}

impl fmt::Debug for MemoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConfig").finish_non_exhaustive()
    }
}
