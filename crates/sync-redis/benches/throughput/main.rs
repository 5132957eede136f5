//! Our store against the bare driver's batched pipeline, interleaved in one run.
//!
//! `cargo xtask bench redis` runs it on the server that `SYNC_TEST_REDIS_URL` names. The pipeline
//! writes the same columns to the same hash and sorted sets, four variadic commands a page, with ids
//! and digests computed beforehand: it is the ceiling, not a competitor. It looks nothing up, and a
//! reader sees its page in parts.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
#![expect(clippy::indexing_slicing, reason = "a benchmark that fails may panic")]
#![expect(
    clippy::cast_precision_loss,
    reason = "figures are printed with three digits"
)]

mod cpu;
mod ours;
mod raw;
mod table;

use sync_bench::{Input, apply, backfill, interleave, replay};
use sync_core::Page;
use table::Table;

const PAIRS: usize = 5;

fn main() {
    let options = Options::parse();
    let input = Input::generate(options.rows);
    println!(
        "{} operations of 844 bytes, {PAIRS} pairs; the pipeline: {}\n",
        options.rows,
        raw::COMMANDS
    );
    let mut table = Table::new(options.rows);
    for pair in 0..PAIRS {
        for page in [500, 5_000] {
            run_pair(&options, &input, page, pair, &mut table);
        }
    }
    for page in [500, 5_000] {
        for _ in 0..3 {
            measure_cpu(&options, &input, page, &mut table);
        }
    }
    for _ in 0..3 {
        table.keys(ours::scan_keys(&options.url, options.keys));
    }
    table.print(options.keys);
}

fn run_pair(options: &Options, input: &Input, page: usize, pair: usize, table: &mut Table) {
    let ours = ours::Ours::create(&options.url);
    let mut raw = raw::Pipe::create(&options.url);
    let (raw_time, ours_time) = interleave(
        input,
        page,
        pair,
        |operations, digests| raw.write(operations, digests),
        |page| apply(&ours.store, page),
    );
    table.bytes("ours", ours.bytes() as f64 / input.operations.len() as f64);
    table.bytes(
        "the pipeline",
        raw.bytes() as f64 / input.operations.len() as f64,
    );
    let again = replay(&ours.store, input, page);
    let unordered = ours::Ours::create(&options.url);
    let orders = backfill(&unordered.store, input, page);
    let target = if page == 500 { 0.65 } else { 0.55 };
    let times = [
        ("insert", ours_time, Some(target)),
        ("replay", again, None),
        ("backfill", orders, None),
    ];
    table.ratios.add(page, raw_time, times);
    for (ours, raw) in ours.reads(input).iter().zip(&raw.reads(input)) {
        assert_eq!(ours.name, raw.name);
        table.read(ours.name, ours.millis, raw.millis);
    }
}

/// All pages of the one, then all pages of the other.
fn measure_cpu(options: &Options, input: &Input, page: usize, table: &mut Table) {
    let mut cpu = cpu::Cpu::of(&options.url);
    let mut raw = raw::Pipe::create(&options.url);
    let pipe = cpu.each(input.operations.len(), || {
        for (operations, digests) in input.pages(page) {
            raw.write(operations, digests);
        }
    });
    let store = ours::Ours::create(&options.url);
    let pages: Vec<_> = input
        .pages(page)
        .map(|(operations, _)| Page::new().upserts(operations.iter().cloned()))
        .collect();
    let ours = cpu.each(input.operations.len(), || {
        for page in pages {
            apply(&store.store, page);
        }
    });
    table.cpu(page, ours, pipe);
}

struct Options {
    rows: usize,
    keys: usize,
    url: String,
}

impl Options {
    /// `--rows N`, `--keys N`; cargo's own `--bench` is ignored.
    fn parse() -> Self {
        let mut options = Self {
            rows: 100_000,
            keys: 1_000_000,
            url: std::env::var("SYNC_TEST_REDIS_URL")
                .unwrap_or_else(|_| panic!("SYNC_TEST_REDIS_URL names no server")),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--rows" => options.rows = arguments.next().unwrap().parse().unwrap(),
                "--keys" => options.keys = arguments.next().unwrap().parse().unwrap(),
                other => panic!("unknown argument {other}: --rows N, --keys N"),
            }
        }
        options
    }
}
