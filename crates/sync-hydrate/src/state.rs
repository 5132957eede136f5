//! What hydration keeps in a space's state: the keys and their values.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sync_core::{Bytes, StateKey, SyncOrder, SyncState};

use crate::{Error, Result};

/// The source's name.
pub(crate) const NAME: &str = "source.name";
/// A [`Position`].
pub(crate) const POSITION: &str = "source.position";
/// A [`BackfillState`].
pub(crate) const BACKFILL: &str = "source.walk";
/// An [`InvalidCounts`](crate::invalid::InvalidCounts).
pub(crate) const INVALID: &str = "source.invalid";

/// How far hydration has come, in one value, so that one precondition guards all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The source's epoch.
    pub(crate) epoch: String,
    /// Operations the source held: those of its snapshot, and then what its log adds and removes.
    pub(crate) held: u64,
    /// Where to go on.
    #[serde(flatten)]
    pub(crate) resume: Resume,
}

/// Where hydration goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Resume {
    /// In a snapshot.
    Snapshot {
        /// The source's cursor.
        cursor: String,
        /// The position of the log at which the snapshot began.
        checkpoint: u64,
    },
    /// In the log.
    Changes(Changes),
}

/// Where hydration goes on in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// The position up to which the log was read.
    pub(crate) cursor: u64,
    /// The last row that was read, which has to be there again: otherwise the log was rewound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) anchor: Option<Anchor>,
    /// A tip so old that no further position below it appears.
    pub(crate) settled: u64,
    /// A newer tip, which becomes the settled one.
    pub(crate) tip: Mark,
}

/// A row by which the log is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    /// Its position.
    pub(crate) seq: u64,
    /// What it does to which operation.
    pub(crate) row: String,
}

/// The newest position of the log at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// The position.
    pub(crate) seq: u64,
}

/// How far backfill has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BackfillState {
    /// A run is under way.
    #[serde(rename = "walking")]
    Running(BackfillRun),
    /// A run has ended.
    Done {
        /// When, in seconds since 1970.
        at: u64,
        /// Rows it left without order.
        unordered: u64,
    },
}

/// One run of backfill, which reads the log twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackfillRun {
    /// What is being done.
    pub(crate) pass: Pass,
    /// The position up to which the pass has come.
    pub(crate) cursor: u64,
    /// The position at which both readings of the log end.
    pub(crate) end: u64,
    /// Operations with a removal, as far as collected.
    pub(crate) removed: u64,
    /// Pages of changes that left orders to the end of the run.
    pub(crate) deferred: u64,
    /// Spreads what is collected over its state keys. It is random, so that a peer cannot choose ids
    /// that share one key.
    pub(crate) salt: String,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Pass {
    /// The last removal of each operation, and the first addition after it.
    Collect,
    /// Orders.
    Order,
    /// What is left of what was collected.
    Settle,
}

/// A value of the state, as bytes and decoded.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    /// The bytes, which a page names in its precondition.
    pub(crate) raw: Option<Bytes>,
    /// The decoded value.
    pub(crate) value: Option<T>,
}

/// What a step of hydration begins with.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) name: Option<Bytes>,
    pub(crate) position: Entry<Position>,
    pub(crate) backfill: Entry<BackfillState>,
}

impl Loaded {
    pub(crate) async fn read(store: &impl SyncState) -> Result<Self> {
        let keys = [key(NAME)?, key(POSITION)?, key(BACKFILL)?];
        let mut values = store.load_many(&keys).await?.into_iter();
        let mut next = || values.next().flatten();
        Ok(Self {
            name: next(),
            position: Entry::decode(POSITION, next())?,
            backfill: Entry::decode(BACKFILL, next())?,
        })
    }

    /// The run of backfill that is under way.
    pub(crate) fn running(&self) -> Option<&BackfillRun> {
        match &self.backfill.value {
            Some(BackfillState::Running(run)) => Some(run),
            _ => None,
        }
    }
}

impl<T: Serialize + DeserializeOwned> Entry<T> {
    pub(crate) fn decode(key: &str, raw: Option<Bytes>) -> Result<Self> {
        let value = match &raw {
            Some(raw) => {
                Some(serde_json::from_slice(raw).map_err(|error| Error::state(key, error))?)
            }
            None => None,
        };
        Ok(Self { raw, value })
    }

    /// The entry once `value` is written.
    pub(crate) fn of(key: &str, value: T) -> Result<Self> {
        let raw = serde_json::to_vec(&value).map_err(|error| Error::state(key, error))?;
        Ok(Self {
            raw: Some(raw.into()),
            value: Some(value),
        })
    }
}

/// A state key of ours.
pub(crate) fn key(name: &str) -> Result<StateKey> {
    Ok(StateKey::new(name)?)
}

/// A position that was stored.
pub(crate) fn order(value: u64) -> Result<SyncOrder> {
    Ok(SyncOrder::try_from(value)?)
}
