//! Records that are no operations.

use std::collections::BTreeMap;

use pollster::block_on;
use sync_core::Bytes;
use sync_hydrate::{InvalidRecord, Start, Status, StoredInvalid, invalid_records};

use crate::kit::{Entry, Rig, Rule, What, add, assert_end, at, expected, invalid, object, remove};

#[test]
fn a_record_that_is_no_operation_is_kept_and_its_page_goes_on() {
    let log = vec![
        add(1, 1),
        invalid(2, "bad date", 5),
        add(3, 2),
        invalid(4, "bad hash", 6),
        invalid(5, "bad date", 7),
    ];
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 500] {
            let rig = Rig::new(log.clone()).start(start).limit(limit);
            let mut run = rig.run();
            run.finish().unwrap();
            let context = format!("{start:?}, pages of {limit}");
            assert_end(&rig.store(), &expected(&log), &context);
            let counts = [("bad date", 2), ("bad hash", 1)];
            assert_eq!(status(&rig).invalid, counted(counts), "{context}");
            let counts = counts.map(|(reason, n)| (reason.into(), n));
            assert_eq!(run.progress().invalid, BTreeMap::from(counts), "{context}");
            let mut kept: Vec<_> = kept(&rig).into_iter().map(|kept| kept.record).collect();
            kept.sort_by_key(|record| record.sha256);
            assert_eq!(kept.len(), 3, "{context}");
            let seqs = match start {
                Start::Log => [2, 4, 5].map(|seq| Some(at(seq))),
                // A snapshot has no positions.
                Start::Snapshot => [None; 3],
            };
            for (kept, (entry, seq)) in kept
                .iter()
                .zip([1, 3, 4].map(|n| &log[n]).into_iter().zip(seqs))
            {
                let What::Invalid(record) = &entry.what else {
                    unreachable!();
                };
                let expected = InvalidRecord {
                    seq,
                    ..record.clone()
                };
                assert_eq!(*kept, expected, "{context}");
            }
        }
    }
}

#[test]
fn a_page_of_nothing_but_invalid_records_moves_the_cursor() {
    let mut log: Vec<Entry> = (1..=10).map(|n| invalid(n, "bad", 1)).collect();
    log.push(add(11, 1));
    for limit in [1, 3, 500] {
        let rig = Rig::new(log.clone()).log_only().limit(limit);
        rig.run().finish().unwrap();
        assert_end(&rig.store(), &expected(&log), &format!("pages of {limit}"));
        assert_eq!(status(&rig).cursor, Some(at(11)));
        assert_eq!(status(&rig).invalid, counted([("bad", 10)]));
    }
}

#[test]
fn reading_a_record_again_does_not_count_it_again() {
    let mut log: Vec<Entry> = (1..=20).map(|n| add(u64::from(n), n)).collect();
    log[3] = invalid(4, "bad", 4);
    log[17] = invalid(18, "bad", 18);
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 7, 500] {
            let rig = Rig::new(log.clone())
                .start(start)
                .limit(limit)
                .rule(Rule::At(10));
            let mut run = rig.run();
            run.finish().unwrap();
            for seconds in [0, 5, 10, 100, 1000] {
                rig.clock.pass(seconds);
                run.finish().unwrap();
            }
            let context = format!("{start:?}, pages of {limit}");
            assert_eq!(run.progress().invalid.values().sum::<u64>(), 2, "{context}");
            for seconds in [0, 5, 100] {
                rig.clock.pass(seconds);
                rig.run().finish().unwrap();
            }
            assert_eq!(status(&rig).invalid, counted([("bad", 2)]), "{context}");
            assert_eq!(kept(&rig).len(), 2, "{context}");
        }
    }
}

#[test]
fn a_restart_within_the_settle_time_does_not_count_a_record_again() {
    for limit in [1, 500] {
        let rig = Rig::new(vec![add(1, 1), invalid(2, "bad", 2), add(3, 3)])
            .log_only()
            .limit(limit);
        rig.finish();
        rig.source.push([add(4, 4)]);
        rig.clock.pass(5);
        rig.finish();
        assert_eq!(status(&rig).invalid, counted([("bad", 1)]));
        assert_eq!(kept(&rig).len(), 1);
    }
}

#[test]
fn the_newest_256_are_kept_and_all_are_counted() {
    let log: Vec<Entry> = (1..=600)
        .map(|n| invalid(u64::from(n), ["bad", "worse"][usize::from(n % 2)], n))
        .collect();
    for limit in [1, 7, 250, 300, 5000] {
        let rig = Rig::new(log.clone()).log_only().limit(limit);
        rig.run().finish().unwrap();
        assert_eq!(
            status(&rig).invalid,
            counted([("bad", 300), ("worse", 300)])
        );
        let seqs: Vec<_> = kept(&rig).into_iter().map(|kept| kept.record.seq).collect();
        let newest: Vec<_> = (345..=600).map(|seq| Some(at(seq))).collect();
        assert_eq!(seqs, newest, "pages of {limit}");
    }
}

#[test]
fn of_a_long_record_the_first_4_kib_are_kept() {
    let mut entry = invalid(1, "too long", 1);
    let whole: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
    if let What::Invalid(record) = &mut entry.what {
        record.start = Bytes::from(whole.clone());
        record.sha256 = [7; 32];
        record.object = Some(object(9));
    }
    let rig = Rig::new(vec![entry]).log_only();
    rig.run().finish().unwrap();
    let [kept] = kept(&rig).try_into().unwrap();
    assert_eq!(kept.record.start, whole[..InvalidRecord::START_BYTES]);
    assert_eq!(kept.record.sha256, [7; 32]);
    assert_eq!(kept.record.object, Some(object(9)));
    assert_eq!(kept.at, 1_750_000_000);
}

#[test]
fn a_record_without_position_and_object_is_kept() {
    let mut entry = invalid(5, "no row", 1);
    if let What::Invalid(record) = &mut entry.what {
        record.seq = None;
        record.object = None;
    }
    for limit in [1, 500] {
        let log = vec![add(1, 1), entry.clone(), add(6, 6)];
        let rig = Rig::new(log.clone()).log_only().limit(limit);
        rig.run().finish().unwrap();
        assert_end(&rig.store(), &expected(&log), "the row after it");
        assert_eq!(status(&rig).invalid, counted([("no row", 1)]));
        let [kept] = kept(&rig).try_into().unwrap();
        assert_eq!((kept.record.seq, kept.record.object), (None, None));
    }
}

#[test]
fn a_record_without_position_is_not_counted_again_within_the_settle_time() {
    let mut entry = invalid(5, "no row", 1);
    if let What::Invalid(record) = &mut entry.what {
        record.seq = None;
    }
    let rig = Rig::new(vec![add(1, 1), entry, add(6, 6)]).log_only();
    let mut run = rig.run();
    run.finish().unwrap();
    for seconds in [0, 5, 10] {
        rig.clock.pass(seconds);
        run.finish().unwrap();
    }
    rig.finish();
    assert_eq!(status(&rig).invalid, counted([("no row", 1)]));
}

#[test]
fn an_invalid_record_says_nothing_of_the_operations_around_it() {
    let log = vec![
        add(1, 1),
        invalid(2, "bad", 1),
        remove(3, 1),
        invalid(4, "bad", 2),
        add(5, 1),
        invalid(6, "bad", 3),
    ];
    crate::kit::same_on_every_path(&log, &expected(&log));
}

fn status(rig: &Rig) -> Status {
    block_on(Status::load(&rig.store())).unwrap().unwrap()
}

fn kept(rig: &Rig) -> Vec<StoredInvalid> {
    block_on(invalid_records(&rig.store())).unwrap()
}

fn counted<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(reason, n)| (reason.to_owned(), n)).into()
}
