//! Our store against a bare `COPY`, interleaved in one run.
//!
//! `cargo xtask bench postgres` runs it. The loop copies the same columns into the same tables and
//! indexes, each page in a transaction of its own, with ids, seqs and digests computed beforehand:
//! it is the ceiling, not a competitor.

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

use std::time::Duration;

use input::Input;
use sync_core::Page;
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
    let mut table = Table::default();
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
    table.rates(page, raw_rate, rate(ours_time));
    table.bytes(admin.bytes_per_operation("bench_ours", input.operations.len()));
    let replay = rate(ours.replay(input, page));
    let unordered = ours::Ours::create(admin, "bench_unordered");
    let backfill = rate(unordered.backfill(input, page));
    let mut ratio = |what: &str, rate: f64, target: f64| {
        table.ratio(&format!("{what}, pages of {page}"), rate / raw_rate, target);
    };
    ratio("insert", rate(ours_time), 0.80);
    ratio("replay", replay, 1.0);
    ratio("backfill", backfill, 0.25);
    table.keys(ours.scan_keys());
    for (name, millis) in ours.reads(input) {
        table.read(name, millis);
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
