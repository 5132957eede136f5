//! Our store against a bare loop of prepared statements, interleaved in one run.
//!
//! `cargo xtask bench sqlite` runs it. The loop writes the same columns to the same tables and
//! indexes, in a file with the same page size, under the same PRAGMAs and durability, with ids and
//! digests computed beforehand: it is the ceiling, not a competitor.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
#![expect(clippy::indexing_slicing, reason = "a benchmark that fails may panic")]
#![expect(
    clippy::cast_precision_loss,
    reason = "figures are printed with three digits"
)]

mod input;
mod ours;
mod raw;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use input::Input;
use sync_core::Page;
use table::Table;

const PAIRS: usize = 5;

fn main() {
    let options = Options::parse();
    let input = Input::generate(options.rows);
    println!(
        "{} operations of 844 bytes, {PAIRS} pairs, {:?}, in {}",
        options.rows,
        options.durability,
        options.dir.display()
    );
    println!(
        "the loop: PRAGMA {}\n{}\n",
        raw::pragmas(options.durability),
        raw::INSERT
    );
    let mut table = Table::default();
    for pair in 0..PAIRS {
        for page in [500, 5_000] {
            run_pair(&options, &input, page, pair, &mut table);
        }
    }
    table.print();
}

fn run_pair(options: &Options, input: &Input, page: usize, pair: usize, table: &mut Table) {
    let dir = tempfile::tempdir_in(&options.dir).unwrap();
    let raw_path = dir.path().join("raw.db");
    let mut raw = raw::Loop::create(&raw_path, options.durability);
    let ours = ours::Ours::create(&dir.path().join("ours.db"), options.durability);
    let (mut raw_time, mut ours_time) = (Duration::ZERO, Duration::ZERO);
    // Page by page in turn, and in turns who begins, so that a drift of the machine favours neither.
    for (n, (operations, digests)) in input.pages(page).enumerate() {
        let prepared = Page::new().upserts(operations.iter().cloned());
        if (n + pair).is_multiple_of(2) {
            raw_time += raw.write(operations, digests);
            ours_time += ours.apply(prepared);
        } else {
            ours_time += ours.apply(prepared);
            raw_time += raw.write(operations, digests);
        }
    }
    drop(raw);
    let rate = |time: Duration| input.operations.len() as f64 / time.as_secs_f64();
    let raw_rate = rate(raw_time);
    let replay = rate(ours.replay(input, page));
    let unordered = ours::Ours::create(&dir.path().join("unordered.db"), options.durability);
    let backfill = rate(unordered.backfill(input, page));
    table.raw_insert(page, raw_rate);
    table.ratio(
        &format!("insert, pages of {page}"),
        rate(ours_time) / raw_rate,
        0.90,
    );
    table.ratio(&format!("replay, pages of {page}"), replay / raw_rate, 2.5);
    table.ratio(
        &format!("backfill, pages of {page}"),
        backfill / raw_rate,
        1.3,
    );
    table.keys(ours.scan_keys());
    let raw_reads = raw::cold_reads(&raw_path, options.durability, input);
    for (ours, raw) in ours.cold_reads(input).iter().zip(&raw_reads) {
        assert_eq!(ours.name, raw.name);
        table.cold_read(ours.name, ours.millis, raw.millis);
    }
}

struct Options {
    rows: usize,
    durability: sync_core::Durability,
    dir: PathBuf,
}

impl Options {
    /// `--rows N`, `--normal`, `--dir PATH`; cargo's own `--bench` is ignored.
    fn parse() -> Self {
        let mut options = Self {
            rows: 100_000,
            durability: sync_core::Durability::Machine,
            dir: Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--normal" => options.durability = sync_core::Durability::Process,
                "--rows" => options.rows = arguments.next().unwrap().parse().unwrap(),
                "--dir" => options.dir = arguments.next().unwrap().into(),
                other => panic!("unknown argument {other}: --rows N, --normal, --dir PATH"),
            }
        }
        options
    }
}
