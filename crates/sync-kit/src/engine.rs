//! What a backend writes: the trait, and what its methods are asked and answer.

use std::sync::Arc;

use sync_core::{
    Applied, Batch, Budget, Bytes, Capabilities, Description, Epoch, Error, ErrorKind, FeedCursor,
    FeedEntry, Known, Limit, Migrated, Object, OpId, OrderKey, Page, Payloads, Result, Row, Seq,
    SpaceName, StateEntry, StateKey, Stats, Swept, TimeKey, TimeRange, feed,
};

use crate::{Space, Spaces};

/// A database, as [`Connection`](crate::Connection) and [`Store`](crate::Store) use it.
///
/// Each method is one snapshot or one transaction. Futures may be dropped at any moment: a read may
/// then end, and a write that has begun is done to its end or not at all.
///
/// Errors need no backend and no operation: the kit names both.
pub trait Engine: Send + Sync + Sized + 'static {
    /// The backend's name: [`Backend::NAME`](sync_core::Backend::NAME).
    const NAME: &'static str;
    /// How to reach the database.
    type Config: Send + Sync;
    /// What the backend keeps in memory of each open space.
    type Local: Send + Sync + 'static;

    /// Connects: [`Backend::connect`](sync_core::Backend::connect). The engine wakes the waiters
    /// in `spaces` when it notices a change that another process made.
    fn connect(
        config: Self::Config,
        spaces: Arc<Spaces<Self::Local>>,
    ) -> impl Future<Output = Result<Arc<Self>>> + Send;

    /// Migrates: [`Backend::migrate`](sync_core::Backend::migrate).
    fn migrate(config: &Self::Config) -> impl Future<Output = Result<Migrated>> + Send;

    /// What the backend promises.
    fn capabilities(&self) -> Capabilities;

    /// The database, for people: [`Backend::describe`](sync_core::Backend::describe). By default the
    /// backend's name.
    fn describe(self: &Arc<Self>) -> impl Future<Output = Result<Description>> + Send {
        std::future::ready(Ok(Description {
            server: Self::NAME.to_owned(),
            ..Description::default()
        }))
    }

    /// What is kept in memory of a space that is opened. Asks the database nothing.
    fn local(&self, space: &SpaceName) -> Self::Local;

    /// Answers `query` from one snapshot. Where the space does not exist the answer is
    /// [`Answer::nothing`].
    fn read(
        self: &Arc<Self>,
        space: &Arc<Space<Self::Local>>,
        query: Query,
    ) -> impl Future<Output = Result<Answer>> + Send;

    /// Applies a page that is within the limits, in one transaction, and then
    /// [notifies](Space::notify) the space's waiters, also after an error. Where rows were
    /// [left behind](LeavesGarbage) it [schedules](Self::schedule_sweep) a sweep. Both happen also
    /// where the future was dropped.
    fn apply(
        self: &Arc<Self>,
        space: &Arc<Space<Self::Local>>,
        page: Page,
    ) -> impl Future<Output = Result<Written>> + Send;

    /// Changes the space as a whole, in one transaction, and then notifies as [`apply`](Self::apply)
    /// does.
    fn alter(
        self: &Arc<Self>,
        space: &Arc<Space<Self::Local>>,
        change: Change,
    ) -> impl Future<Output = Result<Altered>> + Send;

    /// Looks for damage: [`SyncStore::check`](sync_core::SyncStore::check). A backend that has
    /// nothing to look at finds nothing.
    fn check(
        self: &Arc<Self>,
        space: &Arc<Space<Self::Local>>,
    ) -> impl Future<Output = Result<Vec<String>>> + Send {
        let _ = space;
        std::future::ready(Ok(Vec::new()))
    }

    /// At least one waits for a change from now on: where nothing looks for the changes of other
    /// processes yet, something begins to. Asks the database nothing. A backend of one process has
    /// nothing to do.
    fn watch(self: &Arc<Self>, space: &Arc<Space<Self::Local>>) {
        let _ = space;
    }

    /// The names of at most `limit` spaces after `after`, by their bytes.
    fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SpaceName>>> + Send;

    /// Removes a space and leaves its rows to the sweep; whether it existed. Then notifies, and
    /// schedules a sweep, as [`apply`](Self::apply) does.
    fn drop_space(
        self: &Arc<Self>,
        space: &Arc<Space<Self::Local>>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Removes at most `rows` of what resets and drops left behind, in one transaction.
    fn sweep_piece(self: &Arc<Self>, rows: usize) -> impl Future<Output = Result<Swept>> + Send;

    /// Begins to sweep in the background, where no sweep runs. Without this, what resets and drops
    /// leave behind waits for [`Backend::sweep`](sync_core::Backend::sweep).
    fn schedule_sweep(self: &Arc<Self>) {}
}

/// A read of one space.
#[derive(Clone, Debug)]
pub enum Query {
    /// The rows of the first ids that fit the bytes, at least one: [`Answer::Found`].
    Get {
        /// The ids; at least one.
        ids: Vec<OpId>,
        /// The byte budget.
        max_bytes: usize,
    },
    /// What is known of ids, at least one: [`Answer::Known`].
    Known(Vec<OpId>),
    /// Rows by (ts, id): [`Answer::Rows`].
    Time {
        /// The range, ends included.
        range: TimeRange,
        /// Exclusive.
        after: Option<TimeKey>,
        /// The limit.
        limit: Limit,
    },
    /// Keys by (ts, id), without a byte budget: [`Answer::Keys`].
    Keys {
        /// The range, ends included.
        range: TimeRange,
        /// Exclusive.
        after: Option<TimeKey>,
        /// The limit.
        limit: Limit,
    },
    /// Rows with an order by (sync order, id): [`Answer::Rows`].
    Order {
        /// Exclusive.
        after: Option<OrderKey>,
        /// The limit.
        limit: Limit,
    },
    /// The rows of one object by seq: [`Answer::Rows`].
    Object {
        /// The object.
        object: Object,
        /// Exclusive.
        after: Option<Seq>,
        /// The limit.
        limit: Limit,
    },
    /// The space, and its entries after the cursor's seq: [`Answer::Feed`]. Entries for a cursor
    /// that [`feed::position`] refuses are not used.
    Feed {
        /// Exclusive.
        after: FeedCursor,
        /// The limit.
        limit: Limit,
        /// Whether live entries carry their payloads.
        payloads: Payloads,
    },
    /// The space, and whether it has an entry after the cursor's seq: [`Answer::Any`]. For a cursor
    /// that [`feed::position`] refuses either answer will do.
    AnyAfter(FeedCursor),
    /// The values of state keys, at least one: [`Answer::Values`].
    State(Vec<StateKey>),
    /// State entries by key: [`Answer::State`].
    List {
        /// What the keys begin with, literally.
        prefix: String,
        /// Exclusive.
        after: Option<StateKey>,
        /// The limit.
        limit: Limit,
    },
    /// The space: [`Answer::Stats`].
    Stats,
}

/// What a [`Query`] is answered. Lists are cut at the limit, and `more` says that something is left.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Query::Get`]: fewer rows than ids mean that some are left.
    Found(Vec<Option<Row>>),
    /// To [`Query::Known`], one for each id.
    Known(Vec<Known>),
    /// To [`Query::Time`], [`Query::Order`] and [`Query::Object`].
    Rows {
        /// The rows.
        rows: Vec<Row>,
        /// Whether some are left.
        more: bool,
    },
    /// To [`Query::Keys`].
    Keys {
        /// The keys.
        keys: Vec<TimeKey>,
        /// Whether some are left.
        more: bool,
    },
    /// To [`Query::Feed`].
    Feed {
        /// The space; `None` where it does not exist.
        space: Option<Stats>,
        /// Live rows and tombstones by seq.
        entries: Vec<FeedEntry>,
        /// Whether some are left.
        more: bool,
    },
    /// To [`Query::AnyAfter`].
    Any {
        /// The space; `None` where it does not exist.
        space: Option<Stats>,
        /// Whether there is an entry.
        any: bool,
    },
    /// To [`Query::State`], one for each key.
    Values(Vec<Option<Bytes>>),
    /// To [`Query::List`].
    State {
        /// The entries.
        entries: Vec<StateEntry>,
        /// Whether some are left.
        more: bool,
    },
    /// To [`Query::Stats`]; `None` where the space does not exist.
    Stats(Option<Stats>),
}

impl Query {
    /// The name of the method that asks it.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Known(_) => "known",
            Self::Time { .. } => "scan_time",
            Self::Keys { .. } => "scan_keys",
            Self::Order { .. } => "scan_order",
            Self::Object { .. } => "scan_object",
            Self::Feed { .. } => "feed",
            Self::AnyAfter(_) => "changed",
            Self::State(_) => "load",
            Self::List { .. } => "list",
            Self::Stats => "stats",
        }
    }
}

impl Answer {
    /// To [`Query::Get`]: the first rows, of the ids in order, that fit the bytes.
    pub fn found<E>(
        rows: impl IntoIterator<Item = Result<Option<Row>, E>>,
        max_bytes: usize,
    ) -> Result<Self, E> {
        let mut budget = Budget::new(max_bytes);
        let mut found = Vec::new();
        for row in rows {
            let row = row?;
            if !budget.takes(row.as_ref().map_or(0, Row::weight)) {
                break;
            }
            found.push(row);
        }
        Ok(Self::Found(found))
    }

    /// To [`Query::Time`], [`Query::Order`] and [`Query::Object`]: the first rows within the limit.
    pub fn rows<E>(
        rows: impl IntoIterator<Item = Result<Row, E>>,
        limit: Limit,
    ) -> Result<Self, E> {
        let batch = Batch::fill(rows, limit, Row::weight, |_| ())?;
        Ok(Self::Rows {
            more: batch.next.is_some(),
            rows: batch.items,
        })
    }

    /// To [`Query::Keys`]: the first keys within the limit.
    pub fn keys<E>(
        keys: impl IntoIterator<Item = Result<TimeKey, E>>,
        limit: Limit,
    ) -> Result<Self, E> {
        let batch = Batch::fill(keys, limit, |_| 0, |_| ())?;
        Ok(Self::Keys {
            more: batch.next.is_some(),
            keys: batch.items,
        })
    }

    /// To [`Query::List`]: the first entries within the limit.
    pub fn state<E>(
        entries: impl IntoIterator<Item = Result<StateEntry, E>>,
        limit: Limit,
    ) -> Result<Self, E> {
        let batch = Batch::fill(entries, limit, |entry| entry.value.len(), |_| ())?;
        Ok(Self::State {
            more: batch.next.is_some(),
            entries: batch.items,
        })
    }

    /// To [`Query::Feed`]: the first of live rows and tombstones, each by seq, within the limit.
    pub fn feed<E>(
        space: Stats,
        live: impl IntoIterator<Item = Result<FeedEntry, E>>,
        dead: impl IntoIterator<Item = Result<FeedEntry, E>>,
        limit: Limit,
    ) -> Result<Self, E> {
        let (entries, more) = feed::merge(live, dead, limit)?;
        Ok(Self::Feed {
            space: Some(space),
            entries,
            more,
        })
    }

    /// The answer of a space that does not exist.
    pub fn nothing(query: &Query) -> Self {
        match query {
            Query::Get { ids, .. } => Self::Found(vec![None; ids.len()]),
            Query::Known(ids) => Self::Known(vec![Known::Unknown; ids.len()]),
            Query::Time { .. } | Query::Order { .. } | Query::Object { .. } => Self::Rows {
                rows: Vec::new(),
                more: false,
            },
            Query::Keys { .. } => Self::Keys {
                keys: Vec::new(),
                more: false,
            },
            Query::Feed { .. } => Self::Feed {
                space: None,
                entries: Vec::new(),
                more: false,
            },
            Query::AnyAfter(_) => Self::Any {
                space: None,
                any: false,
            },
            Query::State(keys) => Self::Values(vec![None; keys.len()]),
            Query::List { .. } => Self::State {
                entries: Vec::new(),
                more: false,
            },
            Query::Stats => Self::Stats(None),
        }
    }

    /// Its items, and what the byte budget counts of them.
    pub(crate) fn size(&self) -> (usize, usize) {
        fn sum<T>(items: &[T], weight: impl Fn(&T) -> usize) -> (usize, usize) {
            (items.len(), items.iter().map(weight).sum())
        }
        match self {
            Self::Found(rows) => sum(rows, |row| row.as_ref().map_or(0, Row::weight)),
            Self::Known(known) => (known.len(), 0),
            Self::Rows { rows, .. } => sum(rows, Row::weight),
            Self::Keys { keys, .. } => (keys.len(), 0),
            Self::Feed { entries, .. } => sum(entries, FeedEntry::weight),
            Self::Any { .. } | Self::Stats(_) => (0, 0),
            Self::Values(values) => sum(values, |value| value.as_ref().map_or(0, Bytes::len)),
            Self::State { entries, .. } => sum(entries, |entry| entry.value.len()),
        }
    }

    /// The error of an engine that answers another query than it was asked.
    pub(crate) fn to_another_query() -> Error {
        Error::new(ErrorKind::Failed).with_message("the engine answered another query")
    }
}

/// What became of a page.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the page answers.
    pub applied: Applied,
    /// Something was committed.
    pub changed: bool,
    /// Rows were left behind for the sweep.
    pub garbage: bool,
}

/// What a write did, as far as the sweep asks.
pub trait LeavesGarbage {
    /// Whether rows were left behind for the sweep.
    fn leaves_garbage(&self) -> bool;
}

impl LeavesGarbage for Written {
    fn leaves_garbage(&self) -> bool {
        self.garbage
    }
}

impl LeavesGarbage for Altered {
    fn leaves_garbage(&self) -> bool {
        false
    }
}

/// Whether a space was dropped.
impl LeavesGarbage for bool {
    fn leaves_garbage(&self) -> bool {
        *self
    }
}

/// A change of a space as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begin a new epoch over the same rows: [`Altered::Epoch`].
    NewEpoch,
    /// Raise the floor to this seq, or to the head where that is lower: [`Altered::Floor`].
    RaiseFloor(Seq),
    /// Look at the next tombstones after this seq, up to the floor, and drop all but standing ones
    /// of an operator: [`Altered::Pruned`].
    PrunePiece(Seq),
}

impl Change {
    /// The name of the method that makes it.
    pub const fn operation(self) -> &'static str {
        match self {
            Self::NewEpoch => "new_epoch",
            Self::RaiseFloor(_) | Self::PrunePiece(_) => "prune",
        }
    }
}

/// What a [`Change`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Altered {
    /// The space does not exist.
    Absent,
    /// The epoch now.
    Epoch(Epoch),
    /// The floor now.
    Floor(Seq),
    /// A piece of a prune.
    Pruned {
        /// Tombstones that were dropped.
        dropped: u64,
        /// The last one that was looked at, where some are left.
        next: Option<Seq>,
    },
}
