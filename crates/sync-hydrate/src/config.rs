use std::time::Duration;

/// How a space is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HydrateConfig {
    /// How much is requested from the source at a time, in its units: 500.
    pub page_limit: u32,
    /// Where a space without a position begins: with a snapshot.
    pub start: Start,
    /// Store also what is private to the source: no. For spaces that are not shared with peers.
    pub include_private: bool,
    /// Begin anew even if the source holds less than half of what it held: no.
    pub accept_shrunk_source: bool,
    /// How long after a position was published the ones below it may still appear: 60 s.
    pub settle: Duration,
}

/// Where hydration begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// With a snapshot of what the source holds, whose orders are backfilled from the log.
    Snapshot,
    /// With the log, from its beginning.
    Log,
}

impl Default for HydrateConfig {
    fn default() -> Self {
        Self {
            page_limit: 500,
            start: Start::Snapshot,
            include_private: false,
            accept_shrunk_source: false,
            settle: Duration::from_mins(1),
        }
    }
}
