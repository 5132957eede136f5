use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest, Sha256};
use sync_mdip_simulator::{Capture, Config, Gatekeeper, Log, Row, Shares};

use crate::count::Count;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::{Bar, LINES, Step, note};
use crate::report::Report;
use crate::settings::Settings;
use crate::stop::Stop;

/// The arguments of `generate`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Operations that the log accepts
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u32,
    /// The same seed and arguments make the same log
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write to this file, which appears when it is complete; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Rows of one answer
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    page_size: u32,
    /// Serve the log as a Gatekeeper would, at this address of the loopback, until SIGINT,
    /// SIGTERM or SIGHUP, instead of writing it
    #[arg(long, value_name = "IP:PORT", conflicts_with_all = ["output", "page_size"])]
    serve: Option<SocketAddr>,
    #[command(flatten)]
    weights: Weights,
}

/// The frequency of each kind of row. The first nine are weights: each is a share of their sum.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Frequencies")]
struct Weights {
    /// Weight of new agents, which have keys of their own
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().agents)]
    agents: u16,
    /// Weight of new assets, which an agent controls
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().assets)]
    assets: u16,
    /// Weight of updates
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().updates)]
    updates: u16,
    /// Weight of deactivations
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().deletes)]
    deletes: u16,
    /// Weight of removals of a DID
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().removals)]
    removals: u16,
    /// Weight of removed DIDs that are accepted again
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().additions)]
    additions: u16,
    /// Weight of updates that displace others; the log has no row of what they displaced
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().reorganisations)]
    reorganisations: u16,
    /// Weight of a registry's blocks
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().blocks)]
    blocks: u16,
    /// Weight of confirmations
    #[arg(long, value_name = "WEIGHT", default_value_t = Shares::default().confirmations)]
    confirmations: u16,
    /// Of a thousand DIDs, how many are private to the Gatekeeper
    #[arg(long, value_name = "PER_MILLE", default_value_t = Shares::default().local)]
    local: u16,
    /// Of a thousand updates of agents, how many change the key
    #[arg(long, value_name = "PER_MILLE", default_value_t = Shares::default().rotations)]
    rotations: u16,
    /// Of a thousand operations, how many have a date before their neighbours'
    #[arg(long, value_name = "PER_MILLE", default_value_t = Shares::default().late)]
    late: u16,
}

#[derive(Serialize)]
struct Document {
    operations: u32,
    rows: u64,
    pages: u64,
    epoch: String,
    file: String,
}

#[derive(Serialize)]
struct Served {
    operations: u32,
    rows: u64,
    url: String,
    requests: u64,
}

pub(crate) fn run(args: Args, settings: &Settings) -> Result<Report> {
    match args.serve {
        Some(address) => serve(&args, address),
        None => write(&args, settings),
    }
}

fn write(args: &Args, settings: &Settings) -> Result<Report> {
    let to_stdout = args.output.as_os_str() == "-";
    if settings.json && to_stdout {
        return Err(Failure::usage(
            "with --json standard output holds one JSON document; name a file with --output",
        ));
    }
    if to_stdout {
        let out = BufWriter::new(io::stdout().lock());
        args.write(out, "standard output".to_owned())?;
        return Report::new(&(), String::new());
    }
    let output = Output::create(&args.output, "generate")?;
    let document = args.write(output.writer(), args.output.display().to_string())?;
    output.keep()?;
    let Document {
        operations,
        rows,
        pages,
        file,
        ..
    } = &document;
    let text = format!(
        "wrote {} in {} and {} to {file}\n",
        Count(operations, "operation"),
        Count(rows, "row"),
        Count(pages, "answer")
    );
    Report::new(&document, text)
}

fn serve(args: &Args, address: SocketAddr) -> Result<Report> {
    if !address.ip().is_loopback() {
        return Err(Failure::usage(
            "--serve takes an address of the loopback only, such as 127.0.0.1:4224",
        ));
    }
    let (rows, newest) = args.rows();
    let mut log = Log::from_rows(rows).map_err(|error| Failure::input(error.to_string()))?;
    log.set_epoch(args.epoch());
    let gatekeeper = Gatekeeper::start_at(address, log)
        .map_err(|error| Failure::io(format!("listening at {address}"), error))?;
    let stop = Stop::on_signals()?;
    note(&format!(
        "serving {} at {} until SIGINT, SIGTERM or SIGHUP, for trying things out: no operation is \
         accepted, and nothing is kept",
        Count(args.operations, "operation"),
        gatekeeper.url()
    ));
    stop.wait_for();
    let document = Served {
        operations: args.operations,
        rows: newest,
        url: gatekeeper.url().to_owned(),
        requests: gatekeeper.requests(),
    };
    let text = format!("answered {}\n", Count(document.requests, "request"));
    Report::new(&document, text)
}

impl Args {
    fn config(&self) -> Config {
        let Weights {
            agents,
            assets,
            updates,
            deletes,
            removals,
            additions,
            reorganisations,
            blocks,
            confirmations,
            local,
            rotations,
            late,
        } = self.weights;
        let mut config = Config::new(self.seed, self.operations);
        config.shares = Shares {
            agents,
            assets,
            updates,
            deletes,
            removals,
            additions,
            reorganisations,
            blocks,
            confirmations,
            local,
            rotations,
            late,
        };
        config
    }

    /// The rows, with progress on standard error, and the position of the last one.
    fn rows(&self) -> (impl Iterator<Item = Row>, u64) {
        let rows = sync_mdip_simulator::generate(self.config());
        let newest = rows.newest();
        let mut bar = Bar::new(LINES);
        let rows = rows.inspect(move |row| {
            bar.at(Step {
                phase: "generate",
                part: Some((row.seq, newest)),
                count: row.seq,
            });
        });
        (rows, newest)
    }

    /// The epoch of the log: another log has another one.
    fn epoch(&self) -> String {
        let digest = Sha256::digest(format!("{:?}", self.config()));
        let short = digest.get(..8).unwrap_or_default();
        format!("generated-{}", hex::encode(short))
    }

    fn write(&self, out: impl Write, file: String) -> Result<Document> {
        let (rows, newest) = self.rows();
        let capture = Capture {
            epoch: self.epoch(),
            newest: Some(newest),
            limit: usize::try_from(self.page_size).unwrap_or(usize::MAX),
        };
        let pages = sync_mdip_simulator::write_capture(rows, &capture, out)
            .map_err(|error| Failure::io(format!("writing to {file}"), error))?;
        Ok(Document {
            operations: self.operations,
            rows: newest,
            pages,
            epoch: capture.epoch,
            file,
        })
    }
}
