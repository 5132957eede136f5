//! Hooks for tests: faults at the boundaries of a page.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

pub use sync_kit::fault::Hook;
