use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use sync_store::{
    AnyStore, Delete, DeleteOutcome, Error, ErrorKind, FeedCursor, FeedEntry, FeedKind, Known,
    Limit, OpId, Page, Payloads, Seq, Stats, SyncStore, TombstoneReason,
};

use crate::attempts::{Attempts, is_overtaken};
use crate::commands::ids;
use crate::count::Count;
use crate::failure::Result;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `reject`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: ids::Operations,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    operations: usize,
    #[serde(flatten)]
    counts: Counts,
    /// Only with --verbose.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Rejected>>,
}

/// How many operations had each outcome.
#[derive(Default, Serialize)]
struct Counts {
    deleted: usize,
    raised: usize,
    rejected: usize,
    already: usize,
}

#[derive(Serialize)]
struct Rejected {
    id: String,
    outcome: Outcome,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// The row was deleted.
    Deleted,
    /// It had a tombstone of its source, which is an operator's now.
    Raised,
    /// It was not here.
    Rejected,
    /// It had an operator's tombstone.
    Already,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let ids: Vec<OpId> = args.ids.read()?.into_keys().collect();
    let session = Session::open(settings).await?;
    let mut progress = Progress::new("operations rejected");
    let mut counts = Counts::default();
    let mut results = args.ids.verbose.then(Vec::new);
    let mut done = 0;
    for page in ids.chunks(ids::PAGE) {
        let rejected = reject(&session.store, page).await;
        let rejected = rejected.map_err(|failure| ids::after(done, ids.len(), failure))?;
        for (id, outcome) in rejected {
            counts.add(outcome);
            if let Some(results) = &mut results {
                let id = id.to_string();
                results.push(Rejected { id, outcome });
            }
        }
        done += page.len();
        progress.at(done as u64);
    }
    let document = Document {
        space: session.space.as_str(),
        operations: ids.len(),
        counts,
        results,
    };
    let text = document.to_text();
    Report::new(&document, text)
}

/// Rejects the operations of one page. What another process writes meanwhile is looked up again.
async fn reject(store: &AnyStore, ids: &[OpId]) -> Result<BTreeMap<OpId, Outcome>> {
    let mut attempts = Attempts::default();
    let mut outcomes = BTreeMap::new();
    let mut left = ids.to_vec();
    loop {
        match reject_known(store, &left).await {
            Ok(rejected) => outcomes.extend(rejected),
            Err(error) if is_overtaken(&error) => {}
            Err(error) => return Err(error.into()),
        }
        left.retain(|id| !outcomes.contains_key(id));
        if left.is_empty() {
            return Ok(outcomes);
        }
        attempts.again("the operations were written to")?;
    }
}

/// Rejects operations by a look-up of them. Leaves out those that got a tombstone after it.
async fn reject_known(store: &AnyStore, ids: &[OpId]) -> Result<Vec<(OpId, Outcome)>, Error> {
    let stats = store.stats().await?;
    let mut page = Page::new();
    let mut decided = Vec::with_capacity(ids.len());
    let mut rejected = Vec::with_capacity(ids.len());
    for (id, known) in ids.iter().zip(store.known(ids).await?) {
        let (before, outcome) = match known {
            Known::Tombstoned {
                reason: TombstoneReason::Operator,
                ..
            } => {
                rejected.push((*id, Outcome::Already));
                continue;
            }
            Known::Tombstoned { seq, .. } => {
                page = page.lift(*id);
                (tombstone(store, stats, seq).await?, Outcome::Raised)
            }
            Known::Live { .. } | Known::Unknown => (None, Outcome::Rejected),
        };
        page = page.delete(operators(*id, before));
        decided.push((*id, outcome));
    }
    let applied = store.apply(page).await?;
    for ((id, outcome), deleted) in decided.into_iter().zip(applied.deletes) {
        match deleted {
            DeleteOutcome::Deleted => rejected.push((id, Outcome::Deleted)),
            DeleteOutcome::Rejected => rejected.push((id, outcome)),
            // It got a tombstone after it was looked up.
            DeleteOutcome::AlreadyDeleted
            // A delete without object and source seq, which rejects, ends in none of these.
            | DeleteOutcome::OtherObject
            | DeleteOutcome::Superseded
            | DeleteOutcome::Unknown => {}
        }
    }
    Ok(rejected)
}

/// An operator's delete, with what the tombstone before it recorded.
fn operators(id: OpId, before: Option<FeedEntry>) -> Delete {
    let delete = Delete::new(id, TombstoneReason::Operator).reject();
    let Some(entry) = before else { return delete };
    let source_seq = match entry.kind {
        FeedKind::Tombstone { source_seq, .. } => source_seq,
        FeedKind::Live { .. } => None,
    };
    Delete {
        ts: entry.ts,
        object: entry.object,
        source_seq,
        ..delete
    }
}

/// The feed's entry at `seq`; none where it was pruned.
async fn tombstone(store: &AnyStore, stats: Stats, seq: Seq) -> Result<Option<FeedEntry>, Error> {
    let before = seq.value().checked_sub(1).and_then(Seq::new);
    let (Some(epoch), Some(before)) = (stats.epoch, before) else {
        return Ok(None);
    };
    let cursor = FeedCursor::After {
        epoch,
        floor: stats.floor,
        seq: before,
    };
    match store.feed(cursor, Limit::rows(1), Payloads::Skip).await {
        Ok(page) => Ok(page.entries.into_iter().find(|entry| entry.seq == seq)),
        Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Deleted => &mut self.deleted,
            Outcome::Raised => &mut self.raised,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Already => &mut self.already,
        } += 1;
    }

    fn of(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Deleted => self.deleted,
            Outcome::Raised => self.raised,
            Outcome::Rejected => self.rejected,
            Outcome::Already => self.already,
        }
    }
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Deleted, Self::Raised, Self::Rejected, Self::Already];

    fn to_text(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Raised => "removed before by the source",
            Self::Rejected => "not here before",
            Self::Already => "rejected before",
        }
    }
}

impl Document<'_> {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for Rejected { id, outcome } in self.results.iter().flatten() {
            let _ = writeln!(text, "{id} {}", outcome.to_text());
        }
        let operations = Count(self.operations, "operation");
        let _ = write!(text, "space {} refuses {operations}", self.space);
        let mut mark = ": ";
        for outcome in Outcome::ALL {
            let count = self.counts.of(outcome);
            if count > 0 {
                let _ = write!(text, "{mark}{count} {}", outcome.to_text());
                mark = ", ";
            }
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests;
