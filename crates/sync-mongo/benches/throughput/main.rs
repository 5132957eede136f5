//! Our store against the driver's bare `insert_many`, interleaved in one run.
//!
//! `cargo xtask bench mongo` runs it. The driver writes the same documents to a collection with the
//! same indexes, unordered and acknowledged by a majority, with ids and digests computed beforehand:
//! it is the ceiling, not a competitor.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
#![expect(
    clippy::cast_precision_loss,
    reason = "figures are printed with three digits"
)]
#![allow(clippy::expect_used, reason = "a benchmark that fails may panic")]

mod ours;
mod raw;
#[path = "../../tests/common/server.rs"]
mod server;
mod table;

use server::{Server, TestDatabase};
use sync_bench::{Input, apply, backfill, interleave, replay};
use table::Table;

fn main() {
    let options = Options::parse();
    let input = Input::generate(options.rows);
    println!(
        "{} operations of 844 bytes, {} pairs; the driver: insert_many, ordered false, w majority",
        options.rows, options.pairs
    );
    let mut table = Table::new(options.rows);
    for pair in 0..options.pairs {
        for (page, target) in [(500, 0.60), (5_000, 0.50)] {
            run_pair(&input, page, target, pair, &mut table);
        }
    }
    if options.keys > 0 {
        let many = ours::Ours::create(TestDatabase::new());
        many.fill(options.keys);
        // Once before, for the server's cache.
        many.scan_keys(options.keys);
        let times = (0..3).map(|_| many.scan_keys(options.keys));
        table.keys(options.keys, times.collect());
    }
    table.print();
}

fn run_pair(input: &Input, page: usize, target: f64, pair: usize, table: &mut Table) {
    let ours = ours::Ours::create(TestDatabase::new());
    let mut raw = raw::Raw::create(Server::shared(), TestDatabase::new());
    let (raw_time, ours_time) = interleave(
        input,
        page,
        pair,
        |operations, digests| raw.write(operations, digests),
        |page| apply(&ours.store, page),
    );
    table.bytes(ours.bytes() as f64 / input.operations.len() as f64);
    let again = replay(&ours.store, input, page);
    drop(ours);
    let unordered = ours::Ours::create(TestDatabase::new());
    let orders = backfill(&unordered.store, input, page);
    let times = [
        ("insert", ours_time, Some(target)),
        ("replay", again, None),
        ("backfill", orders, None),
    ];
    table.ratios.add(page, raw_time, times);
}

struct Options {
    rows: usize,
    pairs: usize,
    keys: usize,
}

impl Options {
    /// `--rows N`, `--pairs N`, `--keys N`; cargo's own `--bench` is ignored.
    fn parse() -> Self {
        let mut options = Self {
            rows: 50_000,
            pairs: 5,
            keys: 1_000_000,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let number = match argument.as_str() {
                "--bench" => continue,
                "--rows" => &mut options.rows,
                "--pairs" => &mut options.pairs,
                "--keys" => &mut options.keys,
                other => panic!("unknown argument {other}: --rows N, --pairs N, --keys N"),
            };
            *number = arguments.next().unwrap().parse().unwrap();
        }
        options
    }
}
