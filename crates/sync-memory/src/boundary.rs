use std::sync::Arc;

use sync_core::Result;

/// What a test does at a step of a page: let it pass, or fail it.
pub(crate) type Hook = Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// The steps of a page at which a test may interfere. Empty outside tests.
#[derive(Clone, Default)]
pub(crate) struct Boundaries(Option<Hook>);

impl Boundaries {
    #[cfg(any(test, feature = "fault-injection"))]
    pub(crate) fn new(hook: Hook) -> Self {
        Self(Some(hook))
    }

    pub(crate) fn at(&self, step: &'static str) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(step))
    }
}
