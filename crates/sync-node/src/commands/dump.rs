mod walks;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use sync_store::AnyStore;

use self::walks::Walks;
use crate::attempts::Attempts;
use crate::count::Count;
use crate::dump::{Counts, PayloadForm, Writer};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `dump`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Write to this file, which appears when it is complete
    ///
    /// The dump begins again where a prune or a reset overtakes it. On standard output it cannot,
    /// and ends with exit code 3.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// By (ts, id), by (sync order, id), or by seq
    #[arg(long, value_enum, default_value_t = Order::Time)]
    order: Order,
    /// Add tombstones, the floor and state, which `load` needs to restore the space. By seq
    #[arg(long, conflicts_with_all = ["order", "keys"])]
    all: bool,
    /// Write only id, syncOrder and ts of each row, by time
    #[arg(long, conflicts_with_all = ["order", "json_payload"])]
    keys: bool,
    /// Write payloads that are JSON on one line as JSON instead of base64
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
    let store = &session.store;
    let Some(path) = &args.output else {
        // What is printed cannot be taken back, so a walk that was overtaken fails.
        let writer = Writer::new(BufWriter::new(io::stdout()), args.payload_form());
        let (writer, _) = write(&args, store, writer).await?;
        writer.finish().map_err(output_failed)?;
        return Report::new(&(), String::new());
    };
    let (counts, bytes) = write_file(&args, store, path).await?;
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

/// Writes a file, from its beginning each time the walk is overtaken; answers its records and bytes.
async fn write_file(args: &Args, store: &AnyStore, path: &Path) -> Result<(Counts, u64)> {
    let mut attempts = Attempts::default();
    loop {
        let output = Output::create(path, "dump")?;
        let writer = Writer::new(output.writer(), args.payload_form());
        let (writer, counts) = match write(args, store, writer).await {
            Ok(written) => written,
            Err(failure) if failure.is_moved() => {
                attempts.again("the space was pruned or reset")?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let bytes = writer.bytes();
        writer.finish().map_err(output_failed)?;
        output.keep()?;
        return Ok((counts, bytes));
    }
}

/// Writes one dump. Fails as moved where a prune or a reset overtook it.
async fn write<W: Write + Send>(
    args: &Args,
    store: &AnyStore,
    writer: Writer<W>,
) -> Result<(Writer<W>, Counts)> {
    let mut walks = Walks::begin(store, writer).await?;
    let counts = if args.all {
        walks.everything().await
    } else if args.keys {
        walks.keys().await
    } else {
        match args.order {
            Order::Time => walks.by_time().await,
            Order::Sync => walks.by_order().await,
            Order::Seq => walks.by_seq().await,
        }
    }?;
    Ok((walks.into_writer(), counts))
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
                "wrote {}, {} and {} of space {space} to {file}\n",
                Count(rows, "row"),
                Count(tombstones, "tombstone"),
                Count(state, "state entry")
            )
        } else {
            format!("wrote {} of space {space} to {file}\n", Count(rows, "row"))
        }
    }
}

#[cfg(test)]
mod tests;
