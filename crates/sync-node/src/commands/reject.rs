use serde::Serialize;
use std::collections::BTreeSet;
use sync_store::{
    Delete, DeleteOutcome, Epoch, FeedCursor, FeedEntry, FeedKind, Known, LiftOutcome, Limit, OpId,
    Page, Payloads, Seq, Stats, SyncStore, TombstoneReason,
};

use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `reject`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The operations, 64 hexadecimal digits each
    #[arg(required = true, value_name = "ID")]
    ids: Vec<OpId>,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    results: Vec<Decided>,
}

#[derive(Serialize)]
struct Decided {
    id: String,
    outcome: &'static str,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let ids: Vec<OpId> = args
        .ids
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let stats = session.store.stats().await?;
    let known = session.store.known(&ids).await?;
    let mut page = Page::new();
    for (id, known) in ids.iter().zip(known) {
        page = match known {
            Known::Tombstoned {
                reason: TombstoneReason::Operator,
                ..
            } => page,
            Known::Tombstoned { seq, .. } => {
                let entry = tombstone(&session, stats, seq).await?;
                page.lift(*id).delete(operators(*id, entry))
            }
            Known::Live { .. } | Known::Unknown => page.delete(operators(*id, None)),
        };
    }
    let decided: Vec<OpId> = page.deletes.iter().map(|delete| delete.id).collect();
    let lifted = page.lifts.clone();
    let applied = session.store.apply(page).await?;
    let outcome = |id: &OpId| {
        let at = decided.iter().position(|decided| decided == id);
        match at.and_then(|at| applied.deletes.get(at)) {
            None | Some(DeleteOutcome::AlreadyDeleted) => "already",
            Some(DeleteOutcome::Deleted) => "deleted",
            Some(DeleteOutcome::Rejected) if lifted.contains(id) => "raised",
            Some(DeleteOutcome::Rejected) => "rejected",
            // A delete without object and source seq, which rejects, ends in none of these.
            Some(
                DeleteOutcome::OtherObject | DeleteOutcome::Superseded | DeleteOutcome::Unknown,
            ) => "left",
        }
    };
    let lost = applied.lifts.contains(&LiftOutcome::NotTombstoned)
        || applied.deletes.contains(&DeleteOutcome::AlreadyDeleted);
    if lost {
        return Err(Failure::moved(
            "the operations were written to at the same time",
        ));
    }
    let results: Vec<_> = ids
        .iter()
        .map(|id| Decided {
            id: id.to_string(),
            outcome: outcome(id),
        })
        .collect();
    let text = results.iter().map(Decided::to_text).collect();
    let space = session.space.as_str();
    Report::new(&Document { space, results }, text)
}

/// An operator's delete, with what the tombstone it takes over recorded.
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

/// The feed's entry at `seq`.
async fn tombstone(session: &Session, stats: Stats, seq: Seq) -> Result<Option<FeedEntry>> {
    let epoch: Epoch = session.existing(stats.epoch)?;
    let Some(before) = seq.value().checked_sub(1).and_then(Seq::new) else {
        return Ok(None);
    };
    let cursor = FeedCursor::After {
        epoch,
        floor: stats.floor,
        seq: before,
    };
    let page = session
        .store
        .feed(cursor, Limit::rows(1), Payloads::Skip)
        .await?;
    Ok(page.entries.into_iter().find(|entry| entry.seq == seq))
}

impl Decided {
    fn to_text(&self) -> String {
        let what = match self.outcome {
            "deleted" => "removed, and refused from now on",
            "rejected" => "was not here; refused from now on",
            "raised" => "was removed before; refused from now on",
            "already" => "was refused already",
            _ => "left as it was",
        };
        format!("{} {what}\n", self.id)
    }
}
