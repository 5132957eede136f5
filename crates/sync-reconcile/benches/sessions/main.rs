//! Sessions over our index against sessions over the `negentropy` crate's vector, in one run.
//!
//! `cargo xtask bench reconcile` runs it. Both sides of a session run in one thread, and what counts is
//! the processor time of that thread, because machines are shared. `--items N` changes the number of
//! keys, `--large N` that of the second part, which is ours alone; 0 leaves it out. `--only TEXT`
//! chooses sessions of the first part by their names.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
#![expect(clippy::indexing_slicing, reason = "a benchmark that fails may panic")]
#![expect(
    clippy::cast_precision_loss,
    reason = "figures are printed with three digits"
)]

mod cpu;
mod index;
mod memory;
mod sets;
mod theirs;

use std::hint::black_box;

use sync_core::TimeKey;
use sync_reconcile::{Index, Initiator, Options, Responder, View};

use cpu::{median, time};
use sets::Sets;
use theirs::Vector;

const FRAME: usize = 60_000;

fn main() {
    let options = Arguments::parse();
    if let Some(kind) = options.memory {
        memory::measure(&kind, options.items);
        return;
    }
    println!(
        "{} keys; milliseconds of processor time, both sides\n",
        options.items
    );
    let sets = Sets::generate(options.items);
    let small = with_the_crate(&sets, &options.only);
    index::report(&sets.all);
    memory::report(options.items);
    drop(sets);

    if options.large > 0 {
        println!("\n{} keys, ours alone\n", options.large);
        let sets = Sets::generate(options.large);
        let large = alone(&sets);
        for (name, small, large) in [
            ("identical sets", small[0], large[0]),
            ("100 differences", small[1], large[1]),
        ] {
            println!(
                "{name:<42}{:>8.2} of {} keys (target: at most 2)",
                large / small,
                options.items
            );
        }
        index::report(&sets.all);
        drop(sets);
        memory::report(options.large);
    }
}

/// What one session cost, and what went over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wire {
    rounds: usize,
    bytes: usize,
    have: usize,
    need: usize,
}

struct Scenario<'s> {
    name: &'s str,
    asks: &'s [TimeKey],
    answers: &'s [TimeKey],
    frame: Option<usize>,
    /// How often to repeat ours, and the crate's.
    repeats: [usize; 2],
    /// How many times faster ours has to be, without and with the load and seal of one vector.
    targets: [Option<f64>; 2],
}

fn scenarios(sets: &Sets) -> [Scenario<'_>; 6] {
    let scenario = |name, asks, answers, frame, repeats, targets| Scenario {
        name,
        asks,
        answers,
        frame,
        repeats,
        targets,
    };
    let frame = Some(FRAME);
    let (all, half, oldest) = (&*sets.all, &*sets.half, &*sets.oldest);
    let [some, others] = &sets.differing;
    [
        scenario(
            "identical sets",
            all,
            all,
            None,
            [201, 5],
            [Some(150.0), Some(1_000.0)],
        ),
        scenario(
            "100 differences",
            some,
            others,
            None,
            [21, 5],
            [Some(5.0), Some(20.0)],
        ),
        scenario(
            "half missing, no frame limit",
            all,
            half,
            None,
            [3, 1],
            [None, None],
        ),
        scenario(
            "half missing, 60 kB, the initiator has all",
            all,
            half,
            frame,
            [3, 1],
            [Some(7.0), None],
        ),
        scenario(
            "half missing, 60 kB, the responder has all",
            half,
            all,
            frame,
            [3, 1],
            [Some(7.0), None],
        ),
        scenario(
            "newest half missing, 60 kB",
            oldest,
            all,
            frame,
            [7, 3],
            [Some(20.0), None],
        ),
    ]
}

fn with_the_crate(sets: &Sets, only: &str) -> [f64; 2] {
    println!(
        "{:<44}{:>10}{:>10}{:>8}{:>8}{:>13}{:>8}{:>8}{:>9}{:>9}",
        "", "crate", "ours", "ratio", "target", "+load, seal", "ratio", "target", "rounds", "kB"
    );
    let mut ours = [0.0; 2];
    let chosen = |scenario: &Scenario<'_>| scenario.name.contains(only);
    for (n, scenario) in scenarios(sets).into_iter().filter(chosen).enumerate() {
        let views = views(&scenario);
        let (mine, wire) = repeated(scenario.repeats[0], || session(&views, scenario.frame));
        let vectors = [scenario.asks, scenario.answers].map(Vector::load);
        let load = repeated(3, || drop(Vector::load(scenario.answers))).0;
        let (theirs, their_wire) = repeated(scenario.repeats[1], || {
            theirs::session(&vectors, scenario.frame)
        });
        assert_eq!((wire.have, wire.need), (their_wire.have, their_wire.need));
        if scenario.frame.is_none() {
            assert_eq!(wire, their_wire);
        }
        let [alone, loaded] = scenario
            .targets
            .map(|target| target.map_or(String::new(), |target| format!("{target}")));
        println!(
            "{:<44}{:>10.3}{:>10.4}{:>8.1}{:>8}{:>13.1}{:>8.0}{:>8}{:>9}{:>9}",
            scenario.name,
            theirs * 1e3,
            mine * 1e3,
            theirs / mine,
            alone,
            (theirs + load) * 1e3,
            (theirs + load) / mine,
            loaded,
            wire.rounds,
            wire.bytes / 1_000,
        );
        if scenario.frame.is_some() {
            println!(
                "{:>122}{:>9}",
                format!("the crate: {}", their_wire.rounds),
                their_wire.bytes / 1_000
            );
        }
        if let Some(place) = ours.get_mut(n) {
            *place = mine;
        }
    }
    println!();
    ours
}

fn alone(sets: &Sets) -> [f64; 2] {
    let mut ours = [0.0; 2];
    for (n, scenario) in scenarios(sets).into_iter().enumerate() {
        let views = views(&scenario);
        let (mine, wire) = repeated(scenario.repeats[0].min(51), || {
            session(&views, scenario.frame)
        });
        println!(
            "{:<44}{:>10.4}{:>9} rounds{:>9} kB",
            scenario.name,
            mine * 1e3,
            wire.rounds,
            wire.bytes / 1_000
        );
        if let Some(place) = ours.get_mut(n) {
            *place = mine;
        }
    }
    println!();
    ours
}

fn views(scenario: &Scenario<'_>) -> [View; 2] {
    [scenario.asks, scenario.answers]
        .map(|keys| Index::from_sorted(keys.iter().copied()).unwrap().snapshot())
}

fn repeated<T>(repeats: usize, mut run: impl FnMut() -> T) -> (f64, T) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..repeats {
        let (seconds, result) = time(&mut run);
        times.push(seconds);
        last = Some(result);
    }
    (median(&mut times), last.unwrap())
}

fn session(views: &[View; 2], frame: Option<usize>) -> Wire {
    let limits = Options::new()
        .max_ids(1 << 40)
        .max_ranges(1 << 40)
        .max_bytes(1 << 50)
        .max_rounds(1 << 40);
    let options = frame.map_or(limits, |bytes| limits.frame_limit(bytes));
    let [asks, answers] = views.clone();
    let mut responder = Responder::start(answers, options).unwrap();
    let (mut initiator, mut message) = Initiator::start(asks, options).unwrap();
    loop {
        let answer = responder.receive(&message).unwrap();
        match initiator.receive(&answer).unwrap().message {
            Some(next) => message = next,
            None => break,
        }
    }
    assert_eq!(initiator.expected(), responder.view().aggregate());
    let usage = black_box(&responder).usage();
    Wire {
        rounds: usize::try_from(usage.rounds).unwrap(),
        bytes: usize::try_from(usage.bytes_received + usage.bytes_sent).unwrap(),
        have: initiator.have().len(),
        need: initiator.need().len(),
    }
}

struct Arguments {
    items: usize,
    large: usize,
    only: String,
    memory: Option<String>,
}

impl Arguments {
    /// `--items N`, `--large N`, `--only TEXT`; cargo's own `--bench` is ignored, `--memory KIND` is for itself.
    fn parse() -> Self {
        let mut options = Self {
            items: 1_000_000,
            large: 10_000_000,
            only: String::new(),
            memory: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--items" => options.items = arguments.next().unwrap().parse().unwrap(),
                "--large" => options.large = arguments.next().unwrap().parse().unwrap(),
                "--only" => options.only = arguments.next().unwrap(),
                "--memory" => options.memory = arguments.next(),
                other => panic!("unknown argument {other}: --items N, --large N, --only TEXT"),
            }
        }
        options
    }
}
