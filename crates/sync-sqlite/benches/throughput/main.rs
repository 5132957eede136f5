//! Our store against a bare loop of prepared statements, interleaved in one run.
//!
//! `cargo xtask bench sqlite` runs it. The loop writes the same columns to the same tables and
//! indexes, in a file with the same page size, under the same PRAGMAs and durability, with ids and
//! digests computed beforehand: it is the ceiling, not a competitor.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

mod ours;
mod raw;
mod table;

use std::path::{Path, PathBuf};
use std::thread;

use sync_bench::{Input, apply, backfill, interleave, replay};
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
    let mut table = Table::new(options.rows);
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
    let ours = ours::Ours::create(&dir.path().join("ours.db"), options.durability);
    let (raw_time, ours_time) = thread::scope(|scope| {
        let raw = raw::LoopThread::create(scope, &raw_path, options.durability);
        interleave(
            input,
            page,
            pair,
            |operations, digests| raw.write(operations, digests),
            |page| apply(&ours.store, page),
        )
    });
    let again = replay(&ours.store, input, page);
    let unordered = ours::Ours::create(&dir.path().join("unordered.db"), options.durability);
    let orders = backfill(&unordered.store, input, page);
    let times = [
        ("insert", ours_time, Some(0.90)),
        ("replay", again, Some(2.5)),
        ("backfill", orders, Some(1.3)),
    ];
    table.ratios.add(page, raw_time, times);
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
