//! A log in memory that answers the index export.

mod author;
mod captured;
mod export;
mod history;
mod request;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use self::history::{History, Subject};
use crate::{Change, Event, Row, Signer};
use sync_mdip::{JsonError, object};

pub use self::captured::CapturedError;
pub(crate) use self::export::write_changes;
pub use self::request::{Refusal, Request};

/// A change log in memory, and the state of its DIDs, which follows from the rows.
///
/// It takes rows of any kind from anywhere: from [`generate()`](crate::generate()), from a
/// [capture](Self::from_captured), from a test ([`push`](Self::push)), or makes them itself
/// ([`create`](Self::create) and its relatives). It answers the index export as the deployed
/// Gatekeeper does ([`export`](Self::export)). A page of it takes time by the page's size, not by
/// the log's.
///
/// ```
/// use sync_mdip_simulator::Log;
///
/// let mut log = Log::new();
/// let did = log.create("hyperswarm");
/// log.update(&did);
/// let answer = log.export(br#"{"mode":"changes","cursor":"1","includeOperations":true}"#)?;
/// assert!(answer.contains(r#""cursor":"2","checkpointCursor":"2","hasMore":false"#));
/// # Ok::<(), sync_mdip_simulator::Refusal>(())
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    epoch: String,
    /// By rising position.
    rows: Vec<Row>,
    hidden: BTreeSet<u64>,
    /// By the suffix of the DID.
    subjects: BTreeMap<String, Subject>,
    frozen: Option<Frozen>,
    /// The keys of the DIDs made here.
    signers: HashMap<String, Signer>,
    /// Operations and blocks made here.
    made: u64,
}

/// What a snapshot answers instead of the current state.
#[derive(Clone, Debug)]
struct Frozen {
    checkpoint: u64,
    histories: BTreeMap<String, History>,
}

/// A row that does not come after the rows before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unordered {
    /// The row's position.
    pub seq: u64,
    /// The newest position.
    pub newest: u64,
}

impl Log {
    /// An empty log with an epoch of its own, which is a random UUID.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: uuid(&mut fastrand::Rng::new()),
            rows: Vec::new(),
            hidden: BTreeSet::new(),
            subjects: BTreeMap::new(),
            frozen: None,
            signers: HashMap::new(),
            made: 0,
        }
    }

    /// A log of these rows, which come by rising position.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, Unordered> {
        let mut log = Self::new();
        for row in rows {
            log.push_row(row)?;
        }
        Ok(log)
    }

    /// Adds a row at its position, which may leave a gap.
    pub fn push_row(&mut self, row: Row) -> Result<(), Unordered> {
        let newest = self.last();
        if row.seq <= newest {
            return Err(Unordered {
                seq: row.seq,
                newest,
            });
        }
        if let Some(did) = row.change.did() {
            let subject = self.subjects.entry(suffix(did)).or_default();
            subject.push(self.rows.len(), did, &row.change);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Adds a row at the next position, which it answers.
    pub fn push(&mut self, change: Change) -> u64 {
        let seq = self.last() + 1;
        // The position is the next one.
        let _ = self.push_row(Row { seq, change });
        seq
    }

    /// The rows, hidden ones included.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The newest position that an answer shows, 0 where there is none.
    pub fn newest(&self) -> u64 {
        let shown = |row: &&Row| !self.hidden.contains(&row.seq);
        self.rows.iter().rev().find(shown).map_or(0, |row| row.seq)
    }

    /// The position of the last row, hidden or not.
    fn last(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.seq)
    }

    /// `indexEpoch` of the answers.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Answers another epoch from now on, a random UUID.
    pub fn renew_epoch(&mut self) {
        self.epoch = uuid(&mut fastrand::Rng::new());
    }

    /// Answers this epoch from now on.
    pub fn set_epoch(&mut self, epoch: impl Into<String>) {
        self.epoch = epoch.into();
    }

    /// Forgets every row and answers another epoch, as the reset of a Gatekeeper on Redis does:
    /// positions begin at 1 again.
    pub fn reset(&mut self) {
        self.rewind(0);
        self.signers.clear();
        self.renew_epoch();
    }

    /// Forgets the rows after `seq`, under the same epoch, as a Gatekeeper does that was restored
    /// from a backup. The next row has the position after `seq`.
    pub fn rewind(&mut self, seq: u64) {
        self.rows
            .truncate(self.rows.partition_point(|row| row.seq <= seq));
        self.hidden.split_off(&(seq + 1));
        self.frozen = None;
        self.replay_all();
    }

    /// Leaves the row at `seq` out of every answer, as a Gatekeeper on PostgreSQL does while the
    /// row's transaction is open. Answers whether there is such a row.
    pub fn hide(&mut self, seq: u64) -> bool {
        let found = self.row(seq).is_some();
        if found && self.hidden.insert(seq) {
            self.replay_row(seq);
        }
        found
    }

    /// Shows a hidden row. Answers whether it was hidden.
    pub fn show(&mut self, seq: u64) -> bool {
        let hidden = self.hidden.remove(&seq);
        if hidden {
            self.replay_row(seq);
        }
        hidden
    }

    /// Answers snapshots as of position `seq` from now on, with `seq` as checkpoint, so that the
    /// rows after it are changes after the snapshot.
    ///
    /// Without it a snapshot shows the state at each of its pages, as the real one does.
    pub fn snapshot_at(&mut self, seq: u64) {
        let mut subjects: BTreeMap<String, History> = BTreeMap::new();
        for row in self.rows.iter().take_while(|row| row.seq <= seq) {
            if let Some(did) = row.change.did()
                && !self.hidden.contains(&row.seq)
            {
                subjects
                    .entry(suffix(did))
                    .or_default()
                    .apply(did, &row.change);
            }
        }
        subjects.retain(|_, history| !history.is_removed());
        self.frozen = Some(Frozen {
            checkpoint: seq,
            histories: subjects,
        });
    }

    /// Answers snapshots of the current state again.
    pub fn snapshot_now(&mut self) {
        self.frozen = None;
    }

    /// Spells every operation otherwise, see [`respell`](crate::respell()). Hashes and content ids
    /// stay the same.
    pub fn respell(&mut self, seed: u64) -> Result<(), JsonError> {
        let mut random = fastrand::Rng::with_seed(seed);
        for row in &mut self.rows {
            let events = match &mut row.change {
                Change::Accepted { event, .. } => std::slice::from_mut(event),
                Change::Confirmed { events, .. } => events,
                _ => &mut [],
            };
            for event in events {
                *event = event.respelt(&mut random)?;
            }
        }
        if let Some(frozen) = &mut self.frozen {
            for event in frozen.histories.values_mut().flat_map(History::events_mut) {
                *event = event.respelt(&mut random)?;
            }
        }
        self.replay_all();
        Ok(())
    }

    /// The events of a DID, oldest first; none where it is unknown or removed.
    pub fn history(&self, did: &str) -> &[Event] {
        self.subjects
            .get(&suffix(did))
            .map_or(&[], |subject| subject.history.events())
    }

    /// The DIDs that are not removed, by suffix.
    pub fn dids(&self) -> impl Iterator<Item = &str> {
        let shown = |subject: &&Subject| !subject.history.is_removed();
        self.subjects
            .values()
            .filter(shown)
            .map(|subject| subject.history.did())
    }

    fn row(&self, seq: u64) -> Option<&Row> {
        let place = self.rows.binary_search_by_key(&seq, |row| row.seq).ok()?;
        self.rows.get(place)
    }

    fn replay_all(&mut self) {
        self.subjects.clear();
        for (place, row) in self.rows.iter().enumerate() {
            if let Some(did) = row.change.did() {
                let subject = self.subjects.entry(suffix(did)).or_default();
                subject.rows.push(place);
                if !self.hidden.contains(&row.seq) {
                    subject.history.apply(did, &row.change);
                }
            }
        }
    }

    /// Works out again the history of the DID that the row at `seq` is about.
    fn replay_row(&mut self, seq: u64) {
        let Some(did) = self.row(seq).and_then(|row| row.change.did()) else {
            return;
        };
        let suffix = suffix(did);
        let Some(subject) = self.subjects.get(&suffix) else {
            return;
        };
        let mut history = History::default();
        for row in subject
            .rows
            .iter()
            .filter_map(|place| self.rows.get(*place))
        {
            if let Some(did) = row.change.did()
                && !self.hidden.contains(&row.seq)
            {
                history.apply(did, &row.change);
            }
        }
        if let Some(subject) = self.subjects.get_mut(&suffix) {
            subject.history = history;
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Change {
    /// The DID that the row is about.
    pub fn did(&self) -> Option<&str> {
        match self {
            Self::Accepted { did, .. }
            | Self::Removed { did, .. }
            | Self::Confirmed { did, .. } => Some(did),
            Self::Block { .. } | Self::Unseen | Self::Raw { .. } => None,
        }
    }
}

impl fmt::Display for Unordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} after row {}", self.seq, self.newest)
    }
}

impl std::error::Error for Unordered {}

/// The suffix of a DID. Text that is no DID is returned as it is.
fn suffix(did: &str) -> String {
    match object::of_did(did) {
        Ok(object) => String::from_utf8_lossy(object.as_bytes()).into_owned(),
        Err(_) => did.to_owned(),
    }
}

/// A UUID of version 4.
pub(crate) fn uuid(random: &mut fastrand::Rng) -> String {
    let [a, b, c, d] = [32, 16, 16, 48].map(|bits| random.u64(..1 << bits));
    let (version, variant) = (random.u16(..1 << 12) | 0x4000, c >> 2 | 0x8000);
    format!("{a:08x}-{b:04x}-{version:04x}-{variant:04x}-{d:012x}")
}
