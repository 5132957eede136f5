use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;
use sync_store::{
    AnyStore, ErrorKind, FeedCursor, FeedEntry, FeedKind, Known, Limit, Operation, Payloads, Seq,
    StateKey, SyncState, SyncStore, TimeRange,
};
use tempfile::SpooledTempFile;

use crate::dump::{Counts, LOCAL_STATE, PayloadForm, Tombstone, Writer};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// Rows of one step of a walk.
const ROWS: usize = 1_000;
/// Keys of one step of a walk.
const KEYS: usize = 10_000;
/// State entries of one step of the listing.
const STATE: usize = 100_000;
/// State is held in memory up to this size, and in a temporary file above it.
const STATE_IN_MEMORY: usize = 8 << 20;

/// The arguments of `dump`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Write to this file, which appears when it is complete
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// By (ts, id), by (sync order, id), or by seq
    #[arg(long, value_enum, default_value_t = Order::Time)]
    order: Order,
    /// Also tombstones, the floor and state: everything `load` needs to restore the space. By seq
    #[arg(long, conflicts_with_all = ["order", "keys"])]
    all: bool,
    /// Only id, syncOrder and ts of each row, by time
    #[arg(long, conflicts_with_all = ["order", "json_payload"])]
    keys: bool,
    /// Payloads that are JSON on one line as they are, instead of in base64
    #[arg(long)]
    json_payload: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Time,
    /// Rows without sync order are left out.
    Sync,
    Seq,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    file: String,
    bytes: u64,
    rows: u64,
    tombstones: u64,
    state: u64,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    if settings.json && args.output.is_none() {
        return Err(Failure::usage(
            "with --json standard output holds one JSON document; name a file with --output",
        ));
    }
    let session = Session::open(settings).await?;
    session.stats().await?;
    let Some(path) = &args.output else {
        let writer = Writer::new(BufWriter::new(io::stdout()), args.payload_form());
        let (writer, _) = write(&args, &session, writer).await?;
        writer.finish().map_err(output_failed)?;
        return Report::new(&(), String::new());
    };
    let output = Output::create(path, "dump")?;
    let writer = Writer::new(output.writer(), args.payload_form());
    let (writer, counts) = write(&args, &session, writer).await?;
    let bytes = writer.bytes();
    writer.finish().map_err(output_failed)?;
    output.keep()?;
    let document = Document {
        space: session.space.as_str(),
        file: path.display().to_string(),
        bytes,
        rows: counts.rows,
        tombstones: counts.tombstones,
        state: counts.state,
    };
    let text = document.to_text(args.all);
    Report::new(&document, text)
}

fn output_failed(error: io::Error) -> Failure {
    Failure::io("writing the dump", error)
}

async fn write<W: Write + Send>(
    args: &Args,
    session: &Session,
    writer: Writer<W>,
) -> Result<(Writer<W>, Counts)> {
    let mut dump = Dump {
        store: &session.store,
        writer,
        progress: Progress::new("records written"),
    };
    let written = if args.all {
        dump.everything().await
    } else if args.keys {
        dump.keys().await
    } else {
        match args.order {
            Order::Time => dump.by_time().await,
            Order::Sync => dump.by_order().await,
            Order::Seq => dump.by_seq().await,
        }
    };
    let counts = written?;
    Ok((dump.writer, counts))
}

impl Args {
    fn payload_form(&self) -> PayloadForm {
        if self.json_payload {
            PayloadForm::Json
        } else {
            PayloadForm::Base64
        }
    }
}

struct Dump<'a, W> {
    store: &'a AnyStore,
    writer: Writer<W>,
    progress: Progress,
}

impl<W: Write + Send> Dump<'_, W> {
    async fn by_time(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self
                .store
                .scan_time(TimeRange::ALL, after, Limit::rows(ROWS))
                .await?;
            for row in &batch.items {
                self.row(&row.operation)?;
            }
            after = batch.next;
            if after.is_none() {
                return Ok(self.writer.counts());
            }
        }
    }

    async fn by_order(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self.store.scan_order(after, Limit::rows(ROWS)).await?;
            for row in &batch.items {
                self.row(&row.operation)?;
            }
            after = batch.next;
            if after.is_none() {
                return Ok(self.writer.counts());
            }
        }
    }

    async fn keys(&mut self) -> Result<Counts> {
        let mut after = None;
        loop {
            let batch = self
                .store
                .scan_keys(TimeRange::ALL, after, Limit::rows(KEYS))
                .await?;
            let ids: Vec<_> = batch.items.iter().map(|key| key.id).collect();
            let known = self.store.known(&ids).await?;
            for (key, known) in batch.items.into_iter().zip(known) {
                // A row that went between the two reads is not shown, and nor is one whose ts
                // changed: it did not stand throughout.
                if let Known::Live { ts, sync_order, .. } = known
                    && ts == key.ts
                {
                    self.writer.key(key, sync_order).map_err(output_failed)?;
                }
            }
            self.progress.at(self.writer.counts().rows);
            after = batch.next;
            if after.is_none() {
                return Ok(self.writer.counts());
            }
        }
    }

    async fn by_seq(&mut self) -> Result<Counts> {
        let mut cursor = FeedCursor::Beginning;
        loop {
            let page = self.feed(cursor).await?;
            for entry in page.entries {
                if let Entry::Row(operation) = Entry::of(entry)? {
                    self.row(&operation)?;
                }
            }
            if !page.more {
                return Ok(self.writer.counts());
            }
            cursor = page.next;
        }
    }

    /// Header, entries with the floor among them, state, end.
    async fn everything(&mut self) -> Result<Counts> {
        // State goes last, so that a copy has its cursors only when it has the rows behind them,
        // and is read first, so that no cursor is ahead of the rows.
        let (mut state, entries) = self.state().await?;
        self.writer
            .header(self.store.space())
            .map_err(output_failed)?;
        self.entries().await?;
        let counts = Counts {
            state: entries,
            ..self.writer.counts()
        };
        state
            .rewind()
            .and_then(|()| self.writer.append(BufReader::new(state)))
            .and_then(|()| self.writer.end(counts))
            .map_err(output_failed)?;
        Ok(counts)
    }

    /// The state's lines, and how many there are.
    async fn state(&mut self) -> Result<(SpooledTempFile, u64)> {
        let spool = SpooledTempFile::new(STATE_IN_MEMORY);
        let mut writer = Writer::new(spool, PayloadForm::Base64);
        let mut after: Option<StateKey> = None;
        loop {
            let batch = self
                .store
                .list("", after.as_ref(), Limit::rows(STATE))
                .await?;
            for entry in &batch.items {
                if !entry.key.as_str().starts_with(LOCAL_STATE) {
                    writer.state(entry).map_err(output_failed)?;
                }
            }
            after = batch.next;
            if after.is_none() {
                let entries = writer.counts().state;
                return Ok((writer.finish().map_err(output_failed)?, entries));
            }
        }
    }

    async fn entries(&mut self) -> Result<()> {
        let mut cursor = FeedCursor::Beginning;
        // Set while entries at or below the floor were written and none above it.
        let mut below_floor = false;
        loop {
            let page = self.feed(cursor).await?;
            let floor = match page.next {
                FeedCursor::After { floor, .. } => floor,
                FeedCursor::Beginning => Seq::ZERO,
            };
            for entry in page.entries {
                let above = entry.seq > floor;
                if above && std::mem::take(&mut below_floor) {
                    self.writer.floor().map_err(output_failed)?;
                }
                match Entry::of(entry)? {
                    Entry::Row(operation) => {
                        self.row(&operation)?;
                        below_floor = !above;
                    }
                    // What an interrupted prune left below the floor counts as pruned.
                    Entry::Tombstone(tombstone) if !above && !tombstone.outlives_prune() => {}
                    Entry::Tombstone(tombstone) => {
                        self.writer.tombstone(&tombstone).map_err(output_failed)?;
                        below_floor = !above;
                    }
                }
            }
            if !page.more {
                if below_floor {
                    self.writer.floor().map_err(output_failed)?;
                }
                return Ok(());
            }
            cursor = page.next;
        }
    }

    async fn feed(&mut self, cursor: FeedCursor) -> Result<sync_store::FeedPage> {
        let page = self
            .store
            .feed(cursor, Limit::rows(ROWS), Payloads::Include)
            .await;
        page.map_err(|error| match error.kind() {
            ErrorKind::Pruned { .. } | ErrorKind::WrongEpoch { .. } => {
                Failure::moved("the space was pruned or reset while it was dumped; dump it again")
            }
            _ => error.into(),
        })
    }

    fn row(&mut self, operation: &Operation) -> Result<()> {
        self.writer.row(operation).map_err(output_failed)?;
        self.progress.at(self.writer.counts().rows);
        Ok(())
    }
}

/// A feed entry as a record.
enum Entry {
    Row(Operation),
    Tombstone(Tombstone),
}

impl Entry {
    fn of(entry: FeedEntry) -> Result<Self> {
        let FeedEntry {
            id,
            ts,
            object,
            kind,
            ..
        } = entry;
        match (kind, ts) {
            (
                FeedKind::Live {
                    sync_order,
                    payload: Some(payload),
                },
                Some(ts),
            ) => Ok(Self::Row(Operation {
                id,
                ts,
                object,
                sync_order,
                payload,
            })),
            (FeedKind::Live { .. }, _) => Err(Failure::refused(format!(
                "the feed shows row {id} without its ts or payload; run verify"
            ))),
            (
                FeedKind::Tombstone {
                    reason,
                    source_seq,
                    lifted,
                },
                ts,
            ) => Ok(Self::Tombstone(Tombstone {
                id,
                ts,
                object,
                reason,
                source_seq,
                lifted,
            })),
        }
    }
}

impl Document<'_> {
    fn to_text(&self, all: bool) -> String {
        let Document {
            space,
            file,
            rows,
            tombstones,
            state,
            ..
        } = self;
        if all {
            format!(
                "wrote {rows} rows, {tombstones} tombstones and {state} state entries of space \
                 {space} to {file}\n"
            )
        } else {
            format!("wrote {rows} rows of space {space} to {file}\n")
        }
    }
}
