//! Hydration from a scripted source, promise by promise.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod backfill;
mod backfill_again;
mod cancelled;
mod epochs;
mod faults;
mod idle;
mod invalid;
mod kit;
mod late;
mod paths;
mod peers;
mod private;
mod removals;
mod resume;
mod rewound;
mod sources;
mod sqlite;
mod status;
mod variants;
