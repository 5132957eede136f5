use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds as _};

use sync_core::{OpId, TimeKey, TimeRange, Ts};

use super::*;
use crate::{Aggregate, ErrorKind};

fn key(ts: u64, id: u64) -> TimeKey {
    let mut bytes = [0; 32];
    for (n, chunk) in (0..).zip(bytes.chunks_mut(8)) {
        // Far apart, so that every digit of a sum is used.
        let digit = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n);
        chunk.copy_from_slice(&digit.to_be_bytes());
    }
    TimeKey {
        ts: Ts::new(ts).unwrap(),
        id: OpId::new(bytes),
    }
}

fn random_key(rng: &mut fastrand::Rng, times: u64) -> TimeKey {
    let ts = rng.u64(..times);
    key(ts, rng.u64(..2_000))
}

/// Compares every answer of `view` with what a sorted list says.
fn assert_shows(view: &View, keys: &[TimeKey], rng: &mut fastrand::Rng) {
    assert_eq!(view.len(), keys.len());
    assert!(view.iter().eq(keys.iter().copied()));
    assert_eq!(view.iter().len(), keys.len());
    assert_eq!(view.aggregate(), keys.iter().map(|key| &key.id).collect());
    assert_eq!(view.nth(keys.len()), None);
    for _ in 0..20 {
        let (a, b) = (random_key(rng, 1_000), random_key(rng, 1_000));
        assert_eq!(view.lower_bound(&a), keys.partition_point(|key| *key < a));
        if !keys.is_empty() {
            let position = rng.usize(..keys.len());
            assert_eq!(view.nth(position), Some(keys[position]));
        }
        for range in [
            (Bound::Included(a), Bound::Excluded(b)),
            (Bound::Excluded(a), Bound::Included(b)),
            (Bound::Unbounded, Bound::Included(b)),
            (Bound::Included(a), Bound::Unbounded),
        ] {
            let inside: Vec<_> = keys
                .iter()
                .filter(|key| range.contains(*key))
                .copied()
                .collect();
            let expected: Aggregate = inside.iter().map(|key| &key.id).collect();
            assert_eq!(view.count(range), inside.len());
            assert_eq!(view.fingerprint(range), expected.fingerprint());
            let part = view.range(range);
            assert!(part.iter().eq(inside.iter().copied()));
            assert_eq!(part.aggregate(), expected);
            assert!(part.first(3).iter().eq(inside.iter().copied().take(3)));
        }
        let rest: Vec<_> = keys.iter().filter(|key| **key > a).copied().collect();
        assert!(view.after(a).iter().eq(rest.iter().copied()));
        let times = TimeRange {
            from: a.ts,
            to: b.ts,
        };
        let inside = keys.iter().filter(|key| (a.ts..=b.ts).contains(&key.ts));
        assert!(view.times(times).iter().eq(inside.copied()));
    }
}

#[test]
fn an_index_answers_as_a_sorted_list_through_any_inserts_and_removals() {
    let mut rng = fastrand::Rng::with_seed(5);
    for times in [1, 40, 1_000] {
        let mut index = Index::new();
        let mut list = BTreeSet::new();
        for step in 0..6_000 {
            let key = random_key(&mut rng, times);
            // Grows first, then shrinks to nothing.
            if rng.u32(..6_000) > step {
                assert_eq!(index.insert(key), list.insert(key));
            } else {
                let nearest = list.range(key..).next().copied().unwrap_or(key);
                assert_eq!(index.remove(&nearest), list.remove(&nearest));
            }
            assert_eq!(index.len(), list.len());
            assert_eq!(index.contains(&key), list.contains(&key));
            if step % 500 == 0 {
                index.root.check();
                let keys: Vec<_> = list.iter().copied().collect();
                assert_shows(&index.snapshot(), &keys, &mut rng);
            }
        }
        for key in std::mem::take(&mut list) {
            assert!(index.remove(&key));
            index.root.check();
        }
        assert!(index.is_empty());
        assert_shows(&index.snapshot(), &[], &mut rng);
    }
}

#[test]
fn an_index_of_sorted_keys_is_the_one_that_inserts_make() {
    let mut rng = fastrand::Rng::with_seed(6);
    for len in [0, 1, 63, 64, 65, 1_000, 1_536, 1_537, 40_000] {
        let keys: Vec<_> = (0..len)
            .map(|n| key(n / 3, n))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let built = Index::from_sorted(keys.iter().copied()).unwrap();
        built.root.check();
        assert_eq!(built.len(), keys.len());
        assert_shows(&built.snapshot(), &keys, &mut rng);
        let mut grown = Index::new();
        for key in &keys {
            assert!(grown.insert(*key));
        }
        grown.root.check();
        assert!(grown.snapshot().iter().eq(built.snapshot().iter()));
        assert_eq!(grown.snapshot().aggregate(), built.snapshot().aggregate());
    }
}

#[test]
fn an_index_built_page_by_page_answers_and_changes_as_one_that_inserts_make() {
    let mut rng = fastrand::Rng::with_seed(8);
    for len in [0, 1, 31, 32, 33, 1_024, 1_025, 5_000] {
        let mut list: BTreeSet<_> = (0..len).map(|_| random_key(&mut rng, 1_000)).collect();
        let mut builder = IndexBuilder::new();
        let mut grown = Index::new();
        let keys: Vec<_> = list.iter().copied().collect();
        for page in keys.chunks(rng.usize(1..500)) {
            builder.extend(page.iter().copied()).unwrap();
            for key in page {
                assert!(grown.insert(*key));
            }
        }
        let mut built = builder.finish();
        built.root.check();
        assert_shows(&built.snapshot(), &keys, &mut rng);
        for _ in 0..2_000 {
            let key = random_key(&mut rng, 1_000);
            if rng.bool() {
                let new = list.insert(key);
                assert_eq!((built.insert(key), grown.insert(key)), (new, new));
            } else {
                let nearest = list.range(key..).next().copied().unwrap_or(key);
                let was_there = list.remove(&nearest);
                let removed = (built.remove(&nearest), grown.remove(&nearest));
                assert_eq!(removed, (was_there, was_there));
            }
        }
        built.root.check();
        assert_eq!(built.snapshot().aggregate(), grown.snapshot().aggregate());
        let keys: Vec<_> = list.iter().copied().collect();
        assert_shows(&built.snapshot(), &keys, &mut rng);
    }
}

#[test]
fn a_builder_leaves_out_what_it_refuses() {
    let mut builder = IndexBuilder::new();
    builder.extend((1..=32).map(|n| key(n, 1))).unwrap();
    for refused in [key(32, 1), key(5, 1)] {
        let error = builder.push(refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsorted { index: 32 });
    }
    builder.push(key(33, 1)).unwrap();
    let index = builder.finish();
    index.root.check();
    let expected = (1..=33).map(|n| key(n, 1));
    assert!(index.snapshot().iter().eq(expected));
}

#[test]
fn keys_that_do_not_ascend_are_refused_by_their_index() {
    for bad in [[key(1, 1), key(1, 1)], [key(2, 1), key(1, 1)]] {
        let keys = [key(0, 1)].into_iter().chain(bad);
        let error = Index::from_sorted(keys).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsorted { index: 2 });
    }
}

#[test]
fn a_snapshot_keeps_what_it_shows_whatever_is_written() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut index = Index::new();
    let mut list = BTreeSet::new();
    let mut snapshots = Vec::new();
    for step in 0..4_000 {
        let key = random_key(&mut rng, 50);
        if rng.bool() || step < 2_000 {
            index.insert(key);
            list.insert(key);
        } else {
            index.remove(&key);
            list.remove(&key);
        }
        if step % 400 == 0 {
            let keys: Vec<_> = list.iter().copied().collect();
            snapshots.push((index.snapshot(), keys));
        }
    }
    for (snapshot, keys) in snapshots {
        assert_shows(&snapshot, &keys, &mut rng);
    }
}

#[test]
fn views_and_indexes_cross_threads() {
    fn sendable<T: Send + Sync + 'static>() {}
    sendable::<Index>();
    sendable::<View>();
}
