use serde::Serialize;
use sync_store::{Page, SyncStore};

use crate::confirm::confirm;
use crate::count::Count;
use crate::failure::Result;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// Rows removed by one step of the sweep; other writers write in between.
const SWEEP_ROWS: usize = 10_000;

/// The arguments of `reset`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    epoch: Option<String>,
    rows: u64,
    tombstones: u64,
    swept: u64,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let space = session.space.as_str();
    let before = session.stats().await?;
    if before.epoch.is_some() {
        let rows = Count(before.total, "row");
        let what = format!("empty space {space}: {rows}, all tombstones, all state");
        confirm(args.yes, &what)?;
        let _ = session.store.apply(Page::new().reset()).await?;
    }
    let swept = sweep(&session).await?;
    let epoch = session.store.stats().await?.epoch;
    let text = match epoch {
        Some(epoch) => format!(
            "emptied space {space} of {} and {}; the epoch is {epoch}, seqs go on\n",
            Count(before.total, "row"),
            Count(before.tombstones, "tombstone")
        ),
        None => String::new(),
    };
    let document = Document {
        space,
        epoch: epoch.map(|epoch| epoch.to_string()),
        rows: before.total,
        tombstones: before.tombstones,
        swept,
    };
    Report::new(&document, text)
}

/// Removes the rows that resets left behind, of every space of the database, to the end.
async fn sweep(session: &Session) -> Result<u64> {
    let mut progress = Progress::new("rows swept");
    let mut removed = 0;
    loop {
        let swept = session.backend.sweep(SWEEP_ROWS).await?;
        removed += swept.removed;
        progress.at(removed);
        if !swept.more {
            return Ok(removed);
        }
    }
}
