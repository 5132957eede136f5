//! Our store against a bare `COPY`, interleaved in one run.
//!
//! `cargo xtask bench postgres` runs it. The loop copies the same columns into the same tables and
//! indexes, each page in a transaction of its own, with ids, seqs and digests computed beforehand:
//! it is the ceiling, not a competitor.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
#![expect(clippy::indexing_slicing, reason = "a benchmark that fails may panic")]

mod ours;
mod raw;
mod table;

use sync_bench::{Input, apply, backfill, interleave, replay};
use table::Table;

const PAIRS: usize = 5;

fn main() {
    let options = Options::parse();
    let admin = raw::Admin::connect();
    println!("{}", admin.describe());
    if options.keys > 0 {
        admin.keys(options.keys);
        return;
    }
    let input = Input::generate(options.rows);
    println!("{} operations of 844 bytes, {PAIRS} pairs", options.rows);
    println!("the loop: {}\n", raw::COPY);
    let mut table = Table::new(options.rows);
    for pair in 0..PAIRS {
        for &page in &options.pages {
            run_pair(&admin, &input, page, pair, &mut table);
        }
    }
    table.print();
}

fn run_pair(admin: &raw::Admin, input: &Input, page: usize, pair: usize, table: &mut Table) {
    let ours = ours::Ours::create(admin, "bench_ours");
    let mut raw = raw::Loop::create(admin, "bench_raw");
    let (raw_time, ours_time) = interleave(
        input,
        page,
        pair,
        |operations, digests| raw.write(operations, digests),
        |page| apply(&ours.store, page),
    );
    drop(raw);
    table.bytes(admin.bytes_per_operation("bench_ours", input.operations.len()));
    let again = replay(&ours.store, input, page);
    let unordered = ours::Ours::create(admin, "bench_unordered");
    let orders = backfill(&unordered.store, input, page);
    let times = [
        ("insert", ours_time, Some(0.80)),
        ("replay", again, Some(1.0)),
        ("backfill", orders, Some(0.25)),
    ];
    table.ratios.add(page, raw_time, times);
    table.keys(ours.scan_keys());
    for read in ours.reads(input) {
        table.read(read.name, read.millis);
    }
    for schema in ["bench_ours", "bench_raw", "bench_unordered"] {
        admin.drop_schema(schema);
    }
}

struct Options {
    rows: usize,
    keys: usize,
    pages: Vec<usize>,
}

impl Options {
    /// `--rows N` and `--pages N,N`, or `--keys N` for a walk over that many keys; cargo's own
    /// `--bench` is ignored.
    fn parse() -> Self {
        let mut options = Self {
            rows: 100_000,
            keys: 0,
            pages: vec![500, 5_000],
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--rows" => options.rows = arguments.next().unwrap().parse().unwrap(),
                "--keys" => options.keys = arguments.next().unwrap().parse().unwrap(),
                "--pages" => {
                    let pages = arguments.next().unwrap();
                    let pages = pages.split(',').map(|page| page.parse().unwrap());
                    options.pages = pages.collect();
                }
                other => panic!("unknown argument {other}: --rows N, --pages N,N, --keys N"),
            }
        }
        options
    }
}
