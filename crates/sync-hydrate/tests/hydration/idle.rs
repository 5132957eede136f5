//! A source with nothing new.

use fastrand::Rng;
use sync_hydrate::{Advance, Start};

use crate::kit::{
    Entry, Rig, Rule, add, assert_end, expected, invalid, nothing, random_log, remove,
};

#[test]
fn polls_that_find_nothing_write_nothing() {
    for (log, restart) in logs().into_iter().zip([false, true].into_iter().cycle()) {
        for start in [Start::Snapshot, Start::Log] {
            for limit in [1, 500] {
                let rig = Rig::new(log.clone())
                    .start(start)
                    .limit(limit)
                    .rule(Rule::Frozen);
                let mut run = rig.run();
                run.finish().unwrap();
                let mut before = rig.dump();
                let context = format!("{start:?}, pages of {limit}, restart: {restart}");
                let mut written = 0;
                for seconds in [0, 1, 2, 2, 3, 5, 2, 4, 7, 1, 9, 9, 9, 9, 9, 9, 70, 5, 70, 5] {
                    rig.clock.pass(seconds);
                    if restart {
                        run = rig.run();
                    }
                    run.finish().unwrap();
                    let after = rig.dump();
                    assert_eq!(after.head, before.head, "{context}");
                    written += usize::from(after.state != before.state);
                    before = after;
                }
                // Once: a minute after the last row, that no position below it appears any more.
                assert!(written <= 1, "{context}: {written} polls wrote");
            }
        }
    }
}

#[test]
fn a_hydrator_at_the_tip_finds_what_comes_in() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(vec![add(1, 1)]).start(start);
        let mut run = rig.run();
        run.finish().unwrap();
        for n in 2..30 {
            rig.source.push([add(u64::from(n), n)]);
            rig.clock.pass(u64::from(n));
            run.reach_tip().unwrap();
            assert_end(
                &rig.store(),
                &expected(&rig.source.log()),
                &format!("{start:?}, {n}"),
            );
        }
    }
}

#[test]
fn an_idle_poll_asks_for_what_may_still_have_changed_and_no_more() {
    let log: Vec<_> = (1..=1000).map(|n| add(u64::from(n), n)).collect();
    let rig = Rig::new(log).log_only().limit(100);
    let mut run = rig.run();
    run.finish().unwrap();
    rig.clock.pass(100);
    run.reach_tip().unwrap();
    let asked = rig.source.calls();
    for _ in 0..10 {
        rig.clock.pass(2);
        assert_eq!(run.advance().unwrap(), Advance::AtTip);
    }
    // The tip is a minute old: nothing below it appears any more, and one request shows that the
    // last row is still there and that nothing came after it.
    let calls = rig.source.calls() - asked;
    assert!(calls <= 20, "{calls} requests in 10 polls");
}

#[test]
fn reading_again_counts_nothing_again() {
    let log = vec![
        add(1, 1),
        add(2, 2),
        remove(3, 2),
        add(4, 2),
        remove(5, 1),
        invalid(6, "bad", 1),
    ];
    for limit in [1, 500] {
        let rig = Rig::new(log.clone()).log_only().limit(limit);
        let mut run = rig.run();
        run.finish().unwrap();
        let totals = run.progress().totals;
        assert_eq!(totals.inserted, 3);
        assert_eq!(totals.deleted, 2);
        for _ in 0..10 {
            rig.clock.pass(3);
            run.reach_tip().unwrap();
        }
        assert_eq!(run.progress().totals, totals);
        assert_eq!(run.progress().invalid.values().sum::<u64>(), 1);
    }
}

fn logs() -> Vec<Vec<Entry>> {
    let mut logs: Vec<_> = (1..=6)
        .map(|seed| random_log(&mut Rng::with_seed(seed), 30))
        .collect();
    logs.push(vec![]);
    logs.push(vec![nothing(1), nothing(2)]);
    logs.push(vec![add(1, 1), nothing(2), nothing(9)]);
    logs.push(vec![add(1, 1), remove(2, 1)]);
    logs.push(vec![invalid(1, "bad", 1)]);
    logs
}
