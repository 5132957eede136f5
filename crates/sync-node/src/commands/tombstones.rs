use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sync_store::{
    FeedCursor, FeedEntry, FeedKind, Known, Limit, Object, OpId, Payloads, SyncStore,
    TombstoneReason,
};

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
    /// It is what the store answers for the id: neither lifted, nor passed by a row or a newer one.
    stands: bool,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    session.stats().await?;
    let mut tombstones = Vec::new();
    let mut more = false;
    let mut cursor = FeedCursor::Beginning;
    'walk: loop {
        let page = session
            .store
            .feed(cursor, Limit::rows(ENTRIES), Payloads::Skip)
            .await?;
        for entry in page.entries {
            if !is_asked_for(&entry, args.reason) {
                continue;
            }
            if tombstones.len() == args.limit {
                more = true;
                break 'walk;
            }
            tombstones.extend(Listed::of(entry));
        }
        if !page.more {
            break;
        }
        cursor = page.next;
    }
    say_which_stand(&session, &mut tombstones).await?;
    let document = Document {
        space: session.space.as_str(),
        tombstones,
        more,
    };
    let text = document.to_text();
    Report::new(&document, text)
}

fn is_asked_for(entry: &FeedEntry, wanted: Option<TombstoneReason>) -> bool {
    match entry.kind {
        FeedKind::Tombstone { reason, .. } => wanted.is_none_or(|wanted| wanted == reason),
        FeedKind::Live { .. } => false,
    }
}

async fn say_which_stand(session: &Session, tombstones: &mut [Listed]) -> Result<()> {
    for part in tombstones.chunks_mut(ENTRIES) {
        let ids = part.iter().map(|listed| listed.id.parse());
        let ids: Vec<OpId> = ids.collect::<Result<_, sync_store::Error>>()?;
        let known = session.store.known(&ids).await?;
        for (listed, known) in part.iter_mut().zip(known) {
            listed.stands =
                matches!(known, Known::Tombstoned { seq, .. } if seq.value() == listed.seq);
        }
    }
    Ok(())
}

impl Listed {
    fn of(entry: FeedEntry) -> Option<Self> {
        let FeedKind::Tombstone {
            reason,
            source_seq,
            lifted,
        } = entry.kind
        else {
            return None;
        };
        let bytes = entry.object.map(Object::into_bytes);
        let text = bytes
            .as_deref()
            .and_then(|bytes| str::from_utf8(bytes).ok());
        Some(Self {
            id: entry.id.to_string(),
            ts: entry.ts.map(u64::from),
            object: text.map(ToOwned::to_owned),
            object_base64: match text {
                Some(_) => None,
                None => bytes.as_deref().map(|bytes| STANDARD.encode(bytes)),
            },
            reason: reason.name(),
            source_seq: source_seq.map(u64::from),
            seq: entry.seq.value(),
            lifted,
            stands: false,
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
            text.push_str(match (listed.stands, listed.lifted) {
                (true, _) => "\n",
                (false, true) => "  (lifted)\n",
                (false, false) => "  (passed)\n",
            });
        }
        if self.more {
            text.push_str("and more: raise --limit\n");
        }
        text
    }
}
