#![doc = include_str!("../README.md")]

mod any;
mod applied;
mod backend;
mod cursor;
mod digest;
mod error;
mod ext;
pub mod feed;
mod forward;
pub mod limits;
mod name;
mod observe;
mod operation;
mod page;
pub mod plan;
pub mod play;
mod position;
mod read;
pub mod rules;
pub mod schema;
#[cfg(feature = "serde")]
mod serde;
mod store;
mod verify;

pub use any::AnyStore;
pub use applied::{
    Applied, BackfillOutcome, DeleteOutcome, LiftOutcome, SeqRange, Totals, UpsertOutcome,
};
pub use backend::{Backend, Capabilities, Description, Durability, Migrated, Swept};
pub use bytes::Bytes;
pub use cursor::{FeedCursor, OrderKey, TimeKey};
pub use digest::Digest;
pub use error::{Error, ErrorKind, List, Mismatch, Result, Retry, TooLarge};
pub use ext::SyncStoreExt;
pub use name::{Epoch, Object, OpId, SpaceName, StateKey};
pub use observe::{Observation, Observed};
pub use operation::{Operation, Row};
pub use page::{Backfill, Delete, Page, Precondition, StateChange, TombstoneReason};
pub use position::{Seq, SyncOrder, Ts};
pub use read::{
    Batch, Budget, FeedEntry, FeedKind, FeedPage, GetPart, Known, Limit, Payloads, Pruned,
    StateEntry, Stats, TimeRange,
};
pub use store::{SyncState, SyncStore};
pub use verify::{Finding, VerifyReport};
