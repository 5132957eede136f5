use serde::Serialize;
use sync_store::{Pruned, Seq, SyncStore};

use crate::confirm::confirm;
use crate::count::Count;
use crate::duration::Seconds;
use crate::failure::{Failure, Result};
use crate::marks::{self, Mark, Marks};
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `prune`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Keep tombstones younger than this: 90d, 12h, 30m, 45s
    ///
    /// Tombstones of reject stay at any age. Others have no time of writing. Each run notes the time and the head, and prunes up to the
    /// newest note that is old enough; the first run therefore prunes nothing.
    #[arg(
        long,
        value_name = "AGE",
        default_value = "90d",
        conflicts_with = "up_to"
    )]
    keep: Seconds,
    /// Prune up to this seq, whatever its age
    #[arg(long, value_name = "SEQ")]
    up_to: Option<Seq>,
    /// Prune although the backfill of a snapshot's rows still needs the tombstones
    #[arg(long)]
    before_backfill: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    /// The seq asked for, or the one of the note used; absent where no note is old enough.
    up_to: Option<u64>,
    floor: u64,
    dropped: u64,
    tombstones: u64,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let space = session.space.as_str();
    let stats = session.stats().await?;
    if !args.before_backfill && sync_hydrate::backfill_is_pending(&session.store).await? {
        return Err(Failure::refused(format!(
            "the backfill of space {space} is not done, and needs its tombstones: let `sync-node \
             hydrate` run to its end, or prune all the same with --before-backfill"
        )));
    }
    let what = match args.up_to {
        Some(seq) => format!("drop the tombstones of space {space} up to seq {seq}"),
        None => format!(
            "drop the tombstones of space {space} older than {}",
            args.keep
        ),
    };
    confirm(args.yes, &what)?;
    let (up_to, why_none) = match args.up_to {
        Some(seq) => (Some(seq), String::new()),
        None if stats.epoch.is_none() => (None, String::new()),
        None => by_age(&session, args.keep, stats.head).await?,
    };
    let Pruned { floor, dropped } = if stats.epoch.is_some() {
        // Without a seq the floor stays; what an interrupted prune left is dropped all the same.
        session.store.prune(up_to.unwrap_or(stats.floor)).await?
    } else {
        Pruned {
            floor: Seq::ZERO,
            dropped: 0,
        }
    };
    let tombstones = session.store.stats().await?.tombstones;
    let text = format!(
        "{why_none}dropped {} of space {space}, {tombstones} left; the floor is {floor}\n",
        Count(dropped, "tombstone")
    );
    let document = Document {
        space,
        up_to: up_to.map(u64::from),
        floor: floor.value(),
        dropped,
        tombstones,
    };
    Report::new(&document, text)
}

/// The newest seq that is known to be old enough, or why there is none.
async fn by_age(session: &Session, keep: Seconds, head: Seq) -> Result<(Option<Seq>, String)> {
    let now = marks::now();
    let marks = Marks::note(session, Mark { time: now, head }).await?;
    if let Some(mark) = marks.newest_at(now.saturating_sub(keep.0)) {
        return Ok((Some(mark.head), String::new()));
    }
    let oldest = marks.oldest().map_or(now, |mark| mark.time);
    let why = format!(
        "nothing is known to be older than {keep}: the oldest note of this space is from {} ago\n",
        marks::ago(oldest)
    );
    Ok((None, why))
}
