mod cursor;
mod restore;
mod rows;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use sync_store::{AnyStore, Limit, StateKey, Stats, SyncState, SyncStore, Totals, limits};

use crate::confirm::confirm;
use crate::count::Count;
use crate::dump::{Counts, LOCAL_STATE, Line, Lines, Record, parse};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

use self::cursor::Cursor;

/// Bytes of payloads and values at which a page is written, below the 64 MiB a page may have.
const PAGE_BYTES: usize = 16 << 20;

/// The arguments of `load`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The output of dump; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Operations in one page; a page of large operations has fewer
    #[arg(long, value_name = "N", default_value = "5000", value_parser = page_size)]
    page_size: usize,
    /// Keep the number of records loaded under this state key, and begin after that many
    #[arg(long, value_name = "KEY")]
    cursor_key: Option<StateKey>,
    /// Empty the space first, in one step with the first page
    #[arg(long)]
    reset: bool,
    /// Do not ask before --reset
    #[arg(long)]
    yes: bool,
}

fn page_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok();
    size.filter(|size| (1..=limits::PAGE_OPERATIONS).contains(size))
        .ok_or_else(|| format!("not in 1..={}", limits::PAGE_OPERATIONS))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    /// The input was a complete dump, with tombstones, floor and state.
    all: bool,
    /// Lines that were loaded before, by the cursor.
    skipped: u64,
    /// Records this run loaded, by kind.
    rows: u64,
    tombstones: u64,
    state: u64,
    /// The rows by outcome.
    inserted: u64,
    ordered: u64,
    unchanged: u64,
    divergent: u64,
    order_conflicts: u64,
    tombstoned: u64,
}

/// The state of a load, of rows alone or of a complete dump.
struct Load<'a> {
    store: &'a AnyStore,
    lines: Lines,
    cursor: Cursor,
    page_size: usize,
    /// The next page begins by emptying the space.
    reset: bool,
    progress: Progress,
}

/// The records and outcomes of a load.
#[derive(Default)]
struct Loaded {
    counts: Counts,
    totals: Totals,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let space = session.space.as_str();
    if args.reset {
        if !args.yes && args.file.as_os_str() == "-" {
            return Err(Failure::usage(
                "--reset needs --yes where standard input is the dump",
            ));
        }
        confirm(args.yes, &format!("empty space {space} and load the dump"))?;
    }
    let stats = session.store.stats().await?;
    let mut load = Load {
        store: &session.store,
        lines: crate::dump::open(&args.file)?,
        cursor: Cursor::read(&session.store, args.cursor_key, args.reset).await?,
        page_size: args.page_size,
        reset: args.reset && stats.epoch.is_some(),
        progress: Progress::new("records loaded"),
    };
    let skipped = load.cursor.position();
    let first = load.lines.next()?;
    let header = |line: &Line| matches!(parse(line), Ok(Record::Header));
    let all = first.as_ref().is_some_and(header);
    let loaded = if all {
        if skipped == 0 && !args.reset {
            refuse_contents(&session, stats).await?;
            // An empty space may have had another history: the copy begins one of its own.
            load.reset = stats.epoch.is_some();
        }
        load.restore().await?
    } else {
        load.rows(first).await?
    };
    let document = Document::of(space, all, skipped, &loaded);
    let text = document.to_text();
    Report::new(&document, text)
}

async fn refuse_contents(session: &Session, stats: Stats) -> Result<()> {
    let entries = session.store.list("", None, Limit::rows(1)).await?;
    if stats.total == 0 && stats.tombstones == 0 && entries.items.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "space {} is not empty; a complete dump is loaded into an empty space, or with --reset \
         instead of its contents",
        session.space
    )))
}

impl Load<'_> {
    /// Skips the lines that were loaded, by the cursor; `each` gets them.
    fn skip(&mut self, mut each: impl FnMut(&Line) -> Result<()>) -> Result<()> {
        let position = self.cursor.position();
        while self.lines.count() < position {
            let Some(line) = self.lines.next()? else {
                let lines = self.lines.count();
                return Err(Failure::refused(format!(
                    "the cursor says that {} of this input were loaded, but it has {lines}: it is \
                     another input",
                    Count(position, "line")
                )));
            };
            each(&line)?;
        }
        Ok(())
    }
}

/// Adds to a failure how far the pages before it came.
fn after(position: u64, failure: Failure) -> Failure {
    match position {
        0 => failure.and("nothing is loaded"),
        _ => failure.and(format!(
            "lines 1 to {position} are loaded, and nothing after them"
        )),
    }
}

impl<'a> Document<'a> {
    fn of(space: &'a str, all: bool, skipped: u64, loaded: &Loaded) -> Self {
        let Loaded { counts, totals } = loaded;
        Self {
            space,
            all,
            skipped,
            rows: counts.rows,
            tombstones: counts.tombstones,
            state: counts.state,
            inserted: totals.inserted,
            ordered: totals.ordered,
            unchanged: totals.unchanged,
            divergent: totals.divergent,
            order_conflicts: totals.order_conflicts,
            tombstoned: totals.tombstoned,
        }
    }

    fn to_text(&self) -> String {
        let space = self.space;
        let rows = Count(self.rows, "row");
        let mut text = if self.all {
            let tombstones = Count(self.tombstones, "tombstone");
            let state = Count(self.state, "state entry");
            format!("restored {rows}, {tombstones} and {state} into space {space}\n")
        } else {
            format!("loaded {rows} into space {space}\n")
        };
        for (count, what) in [
            (self.skipped, "lines loaded before"),
            (
                self.ordered,
                "rows that were there without sync order, and got it",
            ),
            (self.unchanged, "rows that were there already"),
            (
                self.divergent,
                "rows not loaded, because another record has the id here",
            ),
            (
                self.order_conflicts,
                "rows not loaded, because the row has another sync order here",
            ),
            (
                self.tombstoned,
                "rows not loaded, because the id has a tombstone here",
            ),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{what}: {count}");
            }
        }
        text
    }
}
