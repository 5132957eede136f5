//! Different records under one id.

use fastrand::Rng;
use pollster::block_on;
use sync_core::{Page, SyncStore};
use sync_hydrate::Start;

use crate::kit::{
    Entry, Record, Rig, Rule, add, assert_end, assert_same_end, at, expected, id, object_of,
    random_log, remove, same_on_every_path, seeds,
};

#[test]
fn a_sources_record_replaces_the_stored_one_and_keeps_its_place() {
    let log = vec![add(1, 1), add(2, 2), add(4, 1).variant(1)];
    let expected = expected(&log);
    assert_eq!(expected.rows[&id(1)].order, Some(at(1)));
    same_on_every_path(&log, &expected);
}

#[test]
fn a_sources_record_replaces_a_peers() {
    for start in [Start::Snapshot, Start::Log] {
        let log = vec![add(1, 1), add(2, 2)];
        let rig = Rig::new(log.clone()).start(start);
        let peers = Record {
            id: 2,
            object: object_of(2),
            variant: 7,
        };
        let page = Page::new().upsert(peers.operation());
        let _ = block_on(rig.store().apply(page)).unwrap();
        let mut run = rig.run();
        run.finish().unwrap();
        assert_eq!(run.progress().totals.replaced, 1, "{start:?}");
        assert_end(&rig.store(), &expected(&log), &format!("{start:?}"));
    }
}

#[test]
fn reading_rows_again_does_not_turn_one_record_into_another_and_back() {
    let log = vec![
        add(1, 1),
        add(2, 1).variant(1),
        add(3, 2),
        add(4, 2).variant(1),
        remove(5, 2),
        add(6, 2).variant(2),
        add(7, 1).variant(2),
    ];
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 3, 500] {
            let rig = Rig::new(log.clone())
                .start(start)
                .limit(limit)
                .rule(Rule::At(3));
            let mut run = rig.run();
            run.finish().unwrap();
            let head = rig.dump().head;
            let context = format!("{start:?}, pages of {limit}");
            for seconds in [0, 1, 10, 50] {
                rig.clock.pass(seconds);
                run.finish().unwrap();
                assert_eq!(rig.dump().head, head, "{context}");
            }
            // A new process has seen nothing yet.
            assert_eq!(rig.finish().head, head, "{context}, restarted");
            assert_end(&rig.store(), &expected(&log), &context);
        }
    }
}

#[test]
fn rows_read_again_with_a_new_one_among_them_do_not_flip_a_record() {
    let log = vec![
        add(10, 1),
        add(11, 1).variant(1),
        add(12, 2).published(5),
        add(13, 1).variant(2),
    ];
    for restart in [false, true] {
        for limit in [1, 500] {
            let rig = Rig::new(log.clone()).log_only().limit(limit);
            let mut run = rig.run();
            run.finish().unwrap();
            let head = rig.dump().head.value();
            rig.clock.pass(10);
            if restart {
                run = rig.run();
            }
            run.finish().unwrap();
            let context = format!("pages of {limit}, restart: {restart}");
            assert_end(&rig.store(), &expected(&log), &context);
            assert_eq!(rig.dump().head.value(), head + 1, "{context}");
        }
    }
}

#[test]
fn an_addition_below_the_one_that_stands_is_not_stored_again() {
    let log = vec![
        add(9, 2).published(5),
        add(10, 1),
        remove(11, 1),
        add(12, 1).variant(1),
    ];
    let rig = Rig::new(log.clone()).log_only();
    let mut run = rig.run();
    run.finish().unwrap();
    let head = rig.dump().head.value();
    rig.clock.pass(10);
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&log), "after the late one");
    assert_eq!(rig.dump().head.value(), head + 1);
}

#[test]
fn generated_logs_of_variants_end_with_the_last_record_in_the_first_ones_place() {
    for seed in seeds("variants", 300) {
        let mut rng = Rng::with_seed(seed);
        let rows = rng.usize(0..60);
        let log: Vec<Entry> = random_log(&mut rng, rows)
            .into_iter()
            .map(|entry| entry.variant(rng.u8(0..3)))
            .collect();
        let expected = expected(&log);
        let limit = [1, 2, 3, 7, 100][rng.usize(0..5)];
        let context = format!("SEED={seed}, pages of {limit}");
        let from_zero = Rig::new(log.clone()).log_only().limit(limit);
        assert_same_end(&from_zero.finish().end, &expected, &context);
        let checkpoint = rng.u64(0..=log.last().map_or(0, |entry| entry.seq));
        let rig = Rig::new(log).limit(limit).rule(Rule::At(checkpoint));
        let context = format!("{context}, snapshot at {checkpoint}");
        assert_same_end(&rig.finish().end, &expected, &context);
    }
}
