//! What the index itself costs.

use std::hint::black_box;

use fastrand::Rng;
use sync_core::TimeKey;
use sync_reconcile::{Index, Initiator, Options};

use crate::cpu::{median, time};
use crate::sets;
use crate::theirs::Vector;

/// Inserts between two snapshots.
const BETWEEN: usize = 500;

pub(crate) fn report(keys: &[TimeKey]) {
    let count = keys.len() as f64;
    let mut rng = Rng::with_seed(2);
    let mut shuffled = keys.to_vec();
    rng.shuffle(&mut shuffled);
    let [sorted, mixed] = [keys, &shuffled].map(|keys| time(|| black_box(Vector::load(keys))).0);
    println!(
        "the crate: load and seal, sorted / shuffled: {:.1} / {:.1} ms",
        sorted * 1e3,
        mixed * 1e3
    );
    let mut builds = [0; 5].map(|_| time(|| Index::from_sorted(keys.iter().copied()).unwrap()).0);
    println!("from_sorted: {:.1} ms", median(&mut builds) * 1e3);

    let (seconds, grown) = time(|| insert(Index::new(), &shuffled));
    println!(
        "random inserts with a snapshot per {BETWEEN}, from nothing: {:.0} a second",
        count / seconds
    );
    assert_eq!(grown.len(), keys.len());
    drop(grown);
    let index = Index::from_sorted(keys.iter().copied()).unwrap();
    let more: Vec<_> = sets::random(&mut rng, keys.len()).take(100_000).collect();
    let (seconds, index) = time(|| insert(index, &more));
    println!(
        "the same into {} keys: {:.0} a second (target: 300000)",
        keys.len(),
        more.len() as f64 / seconds
    );

    let repeats = 1_000_000;
    let (seconds, ()) = time(|| {
        for _ in 0..repeats {
            black_box(index.snapshot());
        }
    });
    println!(
        "snapshot and drop: {:.1} ns (target: under 100)",
        seconds * 1e9 / f64::from(repeats)
    );
    let mut first = [0; 101].map(|_| {
        let start = || Initiator::start(index.snapshot(), Options::new()).unwrap();
        time(|| black_box(start())).0
    });
    println!("first message: {:.1} µs", median(&mut first) * 1e6);
    let view = index.snapshot();
    let ranges: Vec<_> = more
        .chunks_exact(2)
        .take(20_000)
        .map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1])))
        .collect();
    let (seconds, ()) = time(|| {
        for (from, to) in &ranges {
            black_box(view.fingerprint(from..to));
        }
    });
    println!(
        "fingerprint of a random range: {:.2} µs",
        seconds * 1e6 / ranges.len() as f64
    );
}

/// Inserts in groups, each with a snapshot before it that lives until the next.
fn insert(mut index: Index, keys: &[TimeKey]) -> Index {
    for group in keys.chunks(BETWEEN) {
        let snapshot = index.snapshot();
        for key in group {
            index.insert(*key);
        }
        black_box(snapshot);
    }
    index
}
