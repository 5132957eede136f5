//! Hooks for tests: faults at the boundaries of a page.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

use std::sync::Arc;

/// Called with a boundary's name; an error is the fault.
pub type Hook = Arc<dyn Fn(&'static str) -> sync_core::Result<()> + Send + Sync>;
