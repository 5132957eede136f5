use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sync_store::{AnyStore, LiftOutcome, OpId, Operation, Page, SyncStore, UpsertOutcome};
use tempfile::SpooledTempFile;

use crate::commands::ids::{self, Errors, Ids};
use crate::count::Count;
use crate::dump::{Line, Record, parse};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// Bytes of a dump's lines at which a page is written, below the 64 MiB a page may have.
const PAGE_BYTES: usize = 16 << 20;
/// A dump's rows are held in memory up to this size, and in a temporary file above it.
const ROWS_IN_MEMORY: usize = 8 << 20;

/// The arguments of `revive`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: ids::Operations,
    /// Insert the operations at once, from this dump; - is standard input
    ///
    /// Records of other operations are skipped. Nothing is changed if the dump lacks one of the
    /// operations. Without --from an operation comes back when its source or a peer sends it.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    operations: usize,
    lifted: usize,
    inserted: usize,
    /// Only with --verbose.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Revived>>,
}

#[derive(Serialize)]
struct Revived {
    id: String,
    lifted: bool,
    inserted: bool,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    if args.ids.takes_stdin() && args.from.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage(
            "--ids and --from cannot both read standard input",
        ));
    }
    let ids = args.ids.read()?;
    let mut rows = match &args.from {
        Some(path) => Some(Rows::find(path, &ids)?),
        None => None,
    };
    let session = Session::open(settings).await?;
    session.stats().await?;
    let mut document = Document {
        space: session.space.as_str(),
        operations: ids.len(),
        lifted: 0,
        inserted: 0,
        results: args.ids.verbose.then(Vec::new),
    };
    let mut progress = Progress::new("operations revived");
    let mut ids = ids.into_keys().peekable();
    let mut done = 0;
    while ids.peek().is_some() {
        let mut page = Page::new();
        let mut bytes = 0;
        while page.lifts.len() < ids::PAGE && bytes < PAGE_BYTES {
            let Some(id) = ids.next() else { break };
            if let Some(rows) = &mut rows {
                let (row, size) = rows.read(id)?;
                page = page.upsert(row);
                bytes += size;
            }
            page = page.lift(id);
        }
        let size = page.lifts.len();
        let revived = revive(&session.store, page).await;
        let all = document.operations;
        document.add(revived.map_err(|failure| ids::after(done, all, failure))?);
        done += size;
        progress.at(done as u64);
    }
    let text = document.to_text();
    Report::new(&document, text)
}

async fn revive(store: &AnyStore, page: Page) -> Result<Vec<Revived>> {
    let ids = page.lifts.clone();
    let applied = store.apply(page).await?;
    let mut upserts = applied.upserts.into_iter();
    let revived = ids.into_iter().zip(applied.lifts);
    Ok(revived
        .map(|(id, outcome)| Revived {
            id: id.to_string(),
            lifted: outcome == LiftOutcome::Lifted,
            inserted: upserts.next() == Some(UpsertOutcome::Inserted),
        })
        .collect())
}

/// The rows of a dump that are to be inserted, as lines of a temporary file.
struct Rows {
    spool: SpooledTempFile,
    /// Where each line begins, and its length.
    lines: BTreeMap<OpId, (u64, usize)>,
}

impl Rows {
    /// Reads the dump. Of two rows of one id the later counts.
    fn find(path: &Path, ids: &Ids) -> Result<Self> {
        let mut dump = crate::dump::open(path)?;
        let mut spool = SpooledTempFile::new(ROWS_IN_MEMORY);
        let mut lines = BTreeMap::new();
        let mut end = 0;
        while let Some(line) = dump.next()? {
            if let Record::Row(operation) = parse(&line)?
                && ids.contains_key(&operation.id)
            {
                spool.write_all(&line.bytes).map_err(spool_failed)?;
                lines.insert(operation.id, (end, line.bytes.len()));
                end += line.bytes.len() as u64;
            }
        }
        let mut missing = Errors::default();
        for (id, line) in ids.iter().filter(|(id, _)| !lines.contains_key(id)) {
            missing.add(*line, id);
        }
        missing.finish(|count| format!("the dump lacks {}", Count(count, "operation")))?;
        Ok(Self { spool, lines })
    }

    /// The row of an id that was found, and the length of its line.
    fn read(&mut self, id: OpId) -> Result<(Operation, usize)> {
        let lost = || Failure::input(format!("the row of {id} was not found again"));
        let (begin, size) = self.lines.get(&id).copied().ok_or_else(lost)?;
        let mut bytes = vec![0; size];
        self.spool
            .seek(SeekFrom::Start(begin))
            .and_then(|_| self.spool.read_exact(&mut bytes))
            .map_err(spool_failed)?;
        let line = Line {
            number: 1,
            bytes,
            unfinished: false,
        };
        match parse(&line)? {
            Record::Row(operation) => Ok((operation, size)),
            _ => Err(lost()),
        }
    }
}

fn spool_failed(error: io::Error) -> Failure {
    Failure::io("a temporary file for the dump's rows", error)
}

impl Document<'_> {
    fn add(&mut self, revived: Vec<Revived>) {
        self.lifted += revived.iter().filter(|one| one.lifted).count();
        self.inserted += revived.iter().filter(|one| one.inserted).count();
        if let Some(results) = &mut self.results {
            results.extend(revived);
        }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for Revived {
            id,
            lifted,
            inserted,
        } in self.results.iter().flatten()
        {
            let what = match (lifted, inserted) {
                (_, true) => "inserted",
                (true, false) => "may come again, from its source or a peer",
                (false, false) => "had no tombstone in effect",
            };
            let _ = writeln!(text, "{id} {what}");
        }
        let _ = writeln!(
            text,
            "space {}: of {}, {} lifted and {} inserted",
            self.space,
            Count(self.operations, "operation"),
            Count(self.lifted, "tombstone"),
            Count(self.inserted, "row"),
        );
        text
    }
}
