use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sync_store::{
    AnyStore, Error, FeedCursor, FeedEntry, FeedKind, Known, Limit, Object, OpId, Payloads,
    SyncStore, TombstoneReason,
};

use crate::attempts::{Attempts, is_overtaken};
use crate::failure::Result;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// Feed entries of one step of the walk.
const ENTRIES: usize = 10_000;

/// The arguments of `tombstones`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only tombstones with this reason: removed, rejected, operator
    #[arg(long)]
    reason: Option<TombstoneReason>,
    /// The most tombstones to list
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    tombstones: Vec<Listed>,
    /// There are more than were asked for.
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_base64: Option<String>,
    reason: &'static str,
    source_seq: Option<u64>,
    seq: u64,
    lifted: bool,
    /// It refuses its id: it is not lifted, and neither a row nor a newer tombstone superseded it.
    in_effect: bool,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    session.stats().await?;
    let List { tombstones, more } = list(&session.store, &args).await?;
    let document = Document {
        space: session.space.as_str(),
        tombstones,
        more,
    };
    let text = document.to_text();
    Report::new(&document, text)
}

#[derive(Default)]
struct List {
    tombstones: Vec<Listed>,
    more: bool,
}

/// Lists from the beginning each time a prune or a reset overtakes the walk.
async fn list(store: &AnyStore, args: &Args) -> Result<List> {
    let mut attempts = Attempts::default();
    loop {
        let before = store.stats().await?;
        let walked = walk(store, args).await;
        let after = store.stats().await?;
        match walked {
            Ok(Some(list)) if (after.epoch, after.floor) == (before.epoch, before.floor) => {
                return Ok(list);
            }
            Err(error) if !is_overtaken(&error) => return Err(error.into()),
            Ok(_) | Err(_) => attempts.again("tombstones were pruned or lifted")?,
        }
    }
}

/// The list, or nothing where tombstones were pruned or lifted meanwhile.
async fn walk(store: &AnyStore, args: &Args) -> Result<Option<List>, Error> {
    let mut list = List::default();
    let mut cursor = FeedCursor::Beginning;
    loop {
        let limit = Limit::rows(ENTRIES);
        let page = store.feed(cursor, limit, Payloads::Skip).await?;
        let asked = |entry: &&FeedEntry| is_asked_for(entry, args.reason);
        let entries: Vec<_> = page.entries.iter().filter(asked).collect();
        let ids: Vec<OpId> = entries.iter().map(|entry| entry.id).collect();
        let known = store.known(&ids).await?;
        let doubtful = entries.iter().zip(&known).filter(is_doubtful);
        let doubtful: Vec<_> = doubtful.map(|(entry, _)| *entry).collect();
        if !doubtful.is_empty() {
            let again = store.feed(cursor, limit, Payloads::Skip).await?.entries;
            let is_there = |entry: &&FeedEntry| {
                let at = again.binary_search_by_key(&entry.seq, |other| other.seq);
                at.ok().and_then(|at| again.get(at)) == Some(*entry)
            };
            if !doubtful.iter().all(is_there) {
                return Ok(None);
            }
        }
        for (entry, known) in entries.into_iter().zip(known) {
            if list.tombstones.len() == args.limit {
                list.more = true;
                return Ok(Some(list));
            }
            list.tombstones.extend(Listed::of(entry, known));
        }
        if !page.more {
            return Ok(Some(list));
        }
        cursor = page.next;
    }
}

/// Whether the tombstone is in effect by the page, and its id unknown by the look-up after it. A newer
/// tombstone of the id was lifted, or the space changed between the two.
fn is_doubtful((entry, known): &(&&FeedEntry, &Known)) -> bool {
    matches!(entry.kind, FeedKind::Tombstone { lifted: false, .. }) && **known == Known::Unknown
}

fn is_asked_for(entry: &FeedEntry, asked: Option<TombstoneReason>) -> bool {
    match entry.kind {
        FeedKind::Tombstone { reason, .. } => asked.is_none_or(|asked| asked == reason),
        FeedKind::Live { .. } => false,
    }
}

impl Listed {
    /// The tombstone of the entry; `known` is of its id.
    fn of(entry: &FeedEntry, known: Known) -> Option<Self> {
        let FeedKind::Tombstone {
            reason,
            source_seq,
            lifted,
        } = entry.kind
        else {
            return None;
        };
        let bytes = entry.object.as_ref().map(Object::as_bytes);
        let text = bytes.and_then(|bytes| str::from_utf8(bytes).ok());
        Some(Self {
            id: entry.id.to_string(),
            ts: entry.ts.map(u64::from),
            object: text.map(ToOwned::to_owned),
            object_base64: match text {
                Some(_) => None,
                None => bytes.map(|bytes| STANDARD.encode(bytes)),
            },
            reason: reason.name(),
            source_seq: source_seq.map(u64::from),
            seq: entry.seq.value(),
            lifted,
            in_effect: matches!(known, Known::Tombstoned { seq, .. } if seq == entry.seq),
        })
    }
}

impl Document<'_> {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for listed in &self.tombstones {
            let Listed {
                id, reason, seq, ..
            } = listed;
            let _ = write!(text, "{seq:>10}  {id}  {reason:<8}");
            if let Some(source_seq) = listed.source_seq {
                let _ = write!(text, "  source seq {source_seq}");
            }
            match (&listed.object, &listed.object_base64) {
                (Some(object), _) => {
                    let _ = write!(text, "  {}", object.escape_debug());
                }
                (None, Some(base64)) => {
                    let _ = write!(text, "  base64 {base64}");
                }
                (None, None) => {}
            }
            text.push_str(match (listed.in_effect, listed.lifted) {
                (true, _) => "\n",
                (false, true) => "  (lifted)\n",
                (false, false) => "  (superseded)\n",
            });
        }
        if self.more {
            text.push_str("and more: raise --limit\n");
        }
        text
    }
}

#[cfg(test)]
mod tests;
