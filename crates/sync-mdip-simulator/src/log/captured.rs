//! A log from the recorded answers of a Gatekeeper.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::history::History;
use super::{Frozen, Log, Unordered, suffix};
use crate::{Change, Event, Row};

/// Why recorded answers make no log.
#[derive(Debug)]
#[non_exhaustive]
pub enum CapturedError {
    /// A line is no answer of the index export.
    Json {
        /// Counted from 1, in the file it is in.
        line: usize,
        /// Why.
        error: serde_json::Error,
    },
    /// A cursor is no position.
    Cursor {
        /// Counted from 1, in the file it is in.
        line: usize,
    },
    /// The answers do not follow one another.
    Unordered(Unordered),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    #[serde(borrow)]
    index_epoch: Cow<'a, str>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    checkpoint_cursor: Cow<'a, str>,
    #[serde(borrow)]
    dids: Vec<Did<'a>>,
    #[serde(borrow)]
    blocks: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    operations: Vec<Operation<'a>>,
    #[serde(borrow, default)]
    removed_operations: Vec<Removed<'a>>,
}

#[derive(Deserialize)]
struct Did<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Operation<'a> {
    seq: u64,
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Removed<'a> {
    seq: u64,
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    operation_hash: Cow<'a, str>,
}

impl Log {
    /// The log behind recorded answers: `changes` are the pages of the whole change log from its
    /// beginning, with operations, one a line; `snapshot` the pages of a snapshot.
    ///
    /// It then answers changes at any limit as the recorded Gatekeeper would, and the recorded
    /// snapshot, at its checkpoint, until [`snapshot_now`](Self::snapshot_now). Without any
    /// `snapshot` line a snapshot shows the current state.
    ///
    /// Rows without operations have no position in an answer. They are put where the answers leave
    /// gaps: confirmations by the place of their DID in the page, blocks in the gaps after that,
    /// and [`Change::Unseen`] in what then is left.
    pub fn from_captured<'a>(
        changes: impl IntoIterator<Item = &'a str>,
        snapshot: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, CapturedError> {
        let mut log = Self::new();
        for (index, line) in changes.into_iter().enumerate() {
            let line_error = |error| CapturedError::Json {
                line: index + 1,
                error,
            };
            let export: Export<'_> = serde_json::from_str(line).map_err(line_error)?;
            log.epoch = export.index_epoch.clone().into_owned();
            let rows = rows(&log, &export).map_err(line_error)?;
            for (seq, change) in rows {
                log.push_row(Row { seq, change })
                    .map_err(CapturedError::Unordered)?;
            }
        }
        for (index, line) in snapshot.into_iter().enumerate() {
            let line = (index + 1, line);
            log.freeze(line.0, line.1)?;
        }
        Ok(log)
    }

    /// Takes one page of the recorded snapshot.
    fn freeze(&mut self, line: usize, page: &str) -> Result<(), CapturedError> {
        let line_error = |error| CapturedError::Json { line, error };
        let export: Export<'_> = serde_json::from_str(page).map_err(line_error)?;
        let checkpoint = export.checkpoint_cursor.parse();
        let checkpoint = checkpoint.map_err(|_| CapturedError::Cursor { line })?;
        let frozen = self.frozen.get_or_insert_with(|| Frozen {
            checkpoint,
            histories: BTreeMap::new(),
        });
        for did in &export.dids {
            let history = History::new(
                did.did.clone().into_owned(),
                did.events().map_err(line_error)?,
            );
            frozen.histories.insert(suffix(&did.did), history);
        }
        Ok(())
    }
}

impl Did<'_> {
    fn events(&self) -> Result<Vec<Event>, serde_json::Error> {
        self.events
            .iter()
            .map(|event| Event::from_json(event.get()))
            .collect()
    }
}

/// The rows of a page after those that `log` holds.
fn rows(log: &Log, page: &Export<'_>) -> Result<BTreeMap<u64, Change>, serde_json::Error> {
    let mut rows = BTreeMap::new();
    // By DID the position of its last row.
    let mut last: HashMap<String, u64> = HashMap::new();
    for Operation { seq, did, event } in &page.operations {
        let did = did.clone().into_owned();
        last.insert(did.clone(), *seq);
        let event = Event::from_json(event.get())?;
        rows.insert(*seq, Change::Accepted { did, event });
    }
    for removed in &page.removed_operations {
        let did = removed.did.clone().into_owned();
        let known = last.entry(did.clone()).or_default();
        *known = removed.seq.max(*known);
        let hash = removed.operation_hash.clone().into_owned();
        rows.insert(removed.seq, Change::Removed { did, hash });
    }
    let end = page.cursor.as_ref().and_then(|cursor| cursor.parse().ok());
    let mut gaps = (log.last() + 1..=end.unwrap_or_default())
        .filter(|seq| !rows.contains_key(seq))
        .collect::<BTreeSet<_>>();
    let mut reached = 0;
    for did in &page.dids {
        // DIDs are listed by their last rows. One that is listed later has a row that shows no
        // operation.
        let shown = last.get(&*did.did).filter(|seq| **seq > reached);
        if let Some(seq) = shown {
            reached = *seq;
        } else if let Some(seq) = gaps.range(reached..).next().copied() {
            gaps.remove(&seq);
            reached = seq;
            let events = did.events()?;
            let did = did.did.clone().into_owned();
            rows.insert(seq, Change::Confirmed { did, events });
        }
    }
    let mut blocks = page.blocks.iter();
    for seq in gaps {
        let change = blocks.next().map_or(Change::Unseen, |block| Change::Block {
            json: block.get().to_owned(),
        });
        rows.insert(seq, change);
    }
    Ok(rows)
}

impl fmt::Display for CapturedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, .. } => write!(f, "line {line} is no answer of the index export"),
            Self::Cursor { line } => write!(f, "the checkpoint of line {line} is no position"),
            Self::Unordered(_) => f.write_str("the answers do not follow one another"),
        }
    }
}

impl std::error::Error for CapturedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json { error, .. } => Some(error),
            Self::Cursor { .. } => None,
            Self::Unordered(error) => Some(error),
        }
    }
}
