#![doc = include_str!("../README.md")]

mod backfill;
mod config;
mod error;
mod hydrate;
mod invalid;
mod progress;
mod source;
mod state;
mod status;

pub use config::{HydrateConfig, Start};
pub use error::{Error, ErrorKind, Result};
pub use hydrate::Hydrator;
pub use invalid::{INVALID_RECORDS_KEPT, StoredInvalid, invalid_records};
pub use progress::{Advance, BackfillStep, Phase, Progress};
pub use source::{
    Change, ChangesPage, InvalidRecord, SnapshotCursor, SnapshotPage, Source, SourceEpoch,
    SourceError, SourceErrorKind, SourceOperation, Spent, Visibility,
};
pub use status::{Status, backfill_is_pending};
pub(crate) use sync_core::SyncOrder;
