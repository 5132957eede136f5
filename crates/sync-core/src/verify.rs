use crate::{
    Batch, Error, ErrorKind, FeedCursor, FeedKind, Known, Limit, OpId, Payloads, Result, Row, Seq,
    Stats, SyncStore, TimeKey, TimeRange,
};

/// Rows of one page of a walk; small enough that a page of the largest payloads stays bounded.
const PAGE: usize = 1_000;
/// How many recounts are tried while the space changes, before the report says so.
const ATTEMPTS: u32 = 5;

/// The result of [`SyncStoreExt::verify`](crate::SyncStoreExt::verify).
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct VerifyReport {
    /// The counters at both ends of the recount.
    pub stats: Stats,
    /// Rows counted.
    pub rows: u64,
    /// Every contradiction. Empty if the space is sound.
    pub findings: Vec<Finding>,
}

/// One contradiction.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A counter and a recount differ.
    Counter {
        /// The counter.
        counter: &'static str,
        /// The value of the counter.
        claimed: u64,
        /// The number that was counted.
        counted: u64,
    },
    /// Two walks do not show the same rows.
    Walks {
        /// The first walk.
        left: &'static str,
        /// The second walk.
        right: &'static str,
    },
    /// A walk is not in its order, or shows a row twice.
    Disorder {
        /// The walk.
        walk: &'static str,
        /// The id at which it went wrong.
        id: OpId,
    },
    /// A row or tombstone has a seq above the head.
    AboveHead {
        /// Its id.
        id: OpId,
        /// Its seq.
        seq: Seq,
    },
    /// `known`, or the entry itself, contradicts the walk that showed the id.
    Lookup {
        /// The id.
        id: OpId,
    },
    /// Damage that the backend's own check found.
    Backend(String),
    /// The space changed during every recount, so nothing is known. It is the only finding then.
    Moving,
}

impl VerifyReport {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counter {
                counter,
                claimed,
                counted,
            } => {
                write!(
                    f,
                    "the counter {counter} says {claimed}, the recount says {counted}"
                )
            }
            Self::Walks { left, right } => write!(f, "{left} and {right} show different rows"),
            Self::Disorder { walk, id } => write!(f, "{walk} is out of order at {id}"),
            Self::AboveHead { id, seq } => write!(f, "{id} has seq {seq}, above the head"),
            Self::Lookup { id } => {
                write!(f, "a look-up of {id} contradicts the walk that showed it")
            }
            Self::Backend(what) => f.write_str(what),
            Self::Moving => f.write_str("the space changed during every recount"),
        }
    }
}

pub(crate) async fn verify<S: SyncStore + ?Sized>(store: &S) -> Result<VerifyReport> {
    let mut before = store.stats().await?;
    for _ in 0..ATTEMPTS {
        let recounted = recount(store, before).await;
        let after = store.stats().await?;
        // Equal readings mean that nothing that is recounted changed between them. A row comes or
        // goes with a new head, and tombstones are added with one. Between equal heads orders are
        // only set, tombstones are only dropped, and each has its counter. A reset and a failover
        // change the epoch.
        match recounted {
            Ok((rows, findings)) if after == before => {
                return Ok(VerifyReport {
                    stats: before,
                    rows,
                    findings,
                });
            }
            Err(error) if after == before || !is_refused_cursor(&error) => return Err(error),
            Ok(_) | Err(_) => before = after,
        }
    }
    Ok(VerifyReport {
        stats: before,
        rows: 0,
        findings: vec![Finding::Moving],
    })
}

/// One recount: the rows counted, and everything that contradicts `stats` or another walk.
async fn recount<S: SyncStore + ?Sized>(store: &S, stats: Stats) -> Result<(u64, Vec<Finding>)> {
    let recount = Recount::of(store, stats).await?;
    let (rows, mut findings) = recount.finish(stats);
    findings.extend(store.check().await?.into_iter().map(Finding::Backend));
    Ok((rows, findings))
}

/// Whether the feed refused to go on, because a prune, a reset or a failover overtook the walk.
fn is_refused_cursor(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Pruned { .. } | ErrorKind::WrongEpoch { .. } | ErrorKind::AheadOfLog { .. }
    )
}

/// A set of rows as a count and a sum, so that two walks compare in constant memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hash: u128,
}

impl Sum {
    fn add(&mut self, fields: &[&[u8]]) {
        let mut hasher = blake3::Hasher::new();
        for field in fields {
            hasher
                .update(&(field.len() as u64).to_le_bytes())
                .update(field);
        }
        let whole = hasher.finalize();
        let (half, _) = whole
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 16], &[]));
        self.count += 1;
        self.hash = self.hash.wrapping_add(u128::from_le_bytes(*half));
    }

    fn add_key(&mut self, key: TimeKey) {
        self.add(&[&key.ts.value().to_le_bytes(), key.id.as_bytes()]);
    }

    fn add_row(&mut self, row: &Row) {
        let operation = &row.operation;
        self.add(&[
            operation.id.as_bytes(),
            operation.digest().as_bytes(),
            &row.seq.value().to_le_bytes(),
            &operation
                .sync_order
                .map_or([0xff; 8], |order| order.value().to_le_bytes()),
        ]);
    }
}

#[derive(Default)]
struct Recount {
    time: Sum,
    time_keys: Sum,
    keys: Sum,
    time_ordered: Sum,
    order: Sum,
    feed: Sum,
    tombstones: u64,
    findings: Vec<Finding>,
}

impl Recount {
    async fn of<S: SyncStore + ?Sized>(store: &S, stats: Stats) -> Result<Self> {
        let mut recount = Self::default();
        recount.walk_time(store, stats.head).await?;
        recount.walk_keys(store).await?;
        recount.walk_order(store).await?;
        recount.walk_feed(store, stats.head).await?;
        Ok(recount)
    }

    async fn walk_time<S: SyncStore + ?Sized>(&mut self, store: &S, head: Seq) -> Result<()> {
        let mut after = None;
        loop {
            let Batch { items, next } = store
                .scan_time(TimeRange::ALL, after, Limit::rows(PAGE))
                .await?;
            let ids: Vec<OpId> = items.iter().map(|row| row.operation.id).collect();
            let known = store.known(&ids).await?;
            for (row, known) in items.iter().zip(known) {
                let operation = &row.operation;
                let key = operation.time_key();
                self.ascends("scan_time", key.id, after < Some(key));
                after = Some(key);
                if row.seq > head {
                    self.findings.push(Finding::AboveHead {
                        id: key.id,
                        seq: row.seq,
                    });
                }
                let shown = Known::Live {
                    ts: key.ts,
                    seq: row.seq,
                    sync_order: operation.sync_order,
                };
                if known != shown {
                    self.findings.push(Finding::Lookup { id: key.id });
                }
                self.time.add_row(row);
                self.time_keys.add_key(key);
                if operation.sync_order.is_some() {
                    self.time_ordered.add_row(row);
                }
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    async fn walk_keys<S: SyncStore + ?Sized>(&mut self, store: &S) -> Result<()> {
        let mut after = None;
        loop {
            let Batch { items, next } = store
                .scan_keys(TimeRange::ALL, after, Limit::rows(10 * PAGE))
                .await?;
            for key in items {
                self.ascends("scan_keys", key.id, after < Some(key));
                after = Some(key);
                self.keys.add_key(key);
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    async fn walk_order<S: SyncStore + ?Sized>(&mut self, store: &S) -> Result<()> {
        let mut after = None;
        loop {
            let Batch { items, next } = store.scan_order(after, Limit::rows(PAGE)).await?;
            let mut last = after.map(|key| (key.sync_order, key.id));
            for row in &items {
                let id = row.operation.id;
                let key = row.operation.sync_order.map(|order| (order, id));
                self.ascends("scan_order", id, key.is_some() && last < key);
                last = key;
                self.order.add_row(row);
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    async fn walk_feed<S: SyncStore + ?Sized>(&mut self, store: &S, head: Seq) -> Result<()> {
        let mut after = FeedCursor::Beginning;
        let mut last = Seq::ZERO;
        loop {
            let page = store
                .feed(after, Limit::rows(PAGE), Payloads::Include)
                .await?;
            for entry in page.entries {
                self.ascends("feed", entry.id, last < entry.seq);
                last = entry.seq;
                if entry.seq > head {
                    self.findings.push(Finding::AboveHead {
                        id: entry.id,
                        seq: entry.seq,
                    });
                }
                match (entry.kind, entry.ts) {
                    (
                        FeedKind::Live {
                            sync_order,
                            payload: Some(payload),
                        },
                        Some(ts),
                    ) => {
                        let operation = crate::Operation {
                            id: entry.id,
                            ts,
                            object: entry.object,
                            sync_order,
                            payload,
                        };
                        self.feed.add_row(&Row {
                            operation,
                            seq: entry.seq,
                        });
                    }
                    (FeedKind::Live { .. }, _) => {
                        self.findings.push(Finding::Lookup { id: entry.id });
                    }
                    (FeedKind::Tombstone { .. }, _) => self.tombstones += 1,
                }
            }
            after = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }

    fn ascends(&mut self, walk: &'static str, id: OpId, ascends: bool) {
        if !ascends {
            self.findings.push(Finding::Disorder { walk, id });
        }
    }

    fn finish(mut self, stats: Stats) -> (u64, Vec<Finding>) {
        for (counter, claimed, counted) in [
            ("total", stats.total, self.time.count),
            ("ordered", stats.ordered, self.time_ordered.count),
            ("tombstones", stats.tombstones, self.tombstones),
        ] {
            if claimed != counted {
                self.findings.push(Finding::Counter {
                    counter,
                    claimed,
                    counted,
                });
            }
        }
        for (left, right, equal) in [
            ("scan_time", "scan_keys", self.time_keys == self.keys),
            ("scan_time", "scan_order", self.time_ordered == self.order),
            ("scan_time", "feed", self.time == self.feed),
        ] {
            if !equal {
                self.findings.push(Finding::Walks { left, right });
            }
        }
        (self.time.count, self.findings)
    }
}
