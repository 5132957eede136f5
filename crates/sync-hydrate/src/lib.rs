#![doc = include_str!("../README.md")]

mod config;
mod error;
mod hydrate;
mod invalid;
mod progress;
mod source;
mod state;
mod status;
mod walk;

pub use config::{HydrateConfig, Start};
pub use error::{Error, ErrorKind, Result};
pub use hydrate::Hydrator;
pub use invalid::{INVALID_RECORDS_KEPT, StoredInvalid, invalid_records};
pub use progress::{Advance, Phase, Progress, Walk};
pub use source::{
    Change, ChangesPage, InvalidRecord, SnapshotCursor, SnapshotPage, Source, SourceEpoch,
    SourceError, SourceErrorKind, SourceOperation, Spent, Visibility,
};
pub use status::{Status, backfill_is_pending};
pub(crate) use sync_core::SyncOrder;
