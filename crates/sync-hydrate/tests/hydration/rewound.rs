//! A source that forgot rows: restored from a backup, or without what it had not written down.

use sync_core::SyncStore;
use sync_hydrate::{ErrorKind, Start, Visibility};

use crate::kit::{
    Entry, Rig, Rule, add, assert_end, assert_same_end, expected, invalid, nothing, remove,
};

#[test]
fn a_source_that_was_rewound_and_overtook_the_cursor_is_noticed() {
    for start in [Start::Snapshot, Start::Log] {
        for restart in [false, true] {
            for limit in [1, 500] {
                let rig = Rig::new(additions(1..=20)).start(start).limit(limit);
                let mut run = rig.run();
                run.finish().unwrap();
                rewind_to(&rig, 12, additions(100..=130));
                if restart {
                    run = rig.run();
                }
                run.finish().unwrap();
                let context = format!("{start:?}, pages of {limit}, restart: {restart}");
                assert_eq!(run.progress().resets, 1, "{context}");
                assert_end(&rig.store(), &expected(&rig.source.log()), &context);
                assert_same_end(&rig.fresh().finish().end, &rig.dump().end, &context);
            }
        }
    }
}

#[test]
fn a_source_that_was_rewound_below_the_cursor_is_noticed() {
    let rig = Rig::new(additions(1..=20)).log_only();
    let mut run = rig.run();
    run.finish().unwrap();
    rig.source.script().rewind(12);
    run.finish().unwrap();
    assert_eq!(run.progress().resets, 1);
    assert_end(&rig.store(), &expected(&rig.source.log()), "rewound to 12");
}

#[test]
fn a_source_that_was_rewound_while_nobody_looked_is_noticed_after_any_time() {
    let rig = Rig::new(additions(1..=20)).log_only();
    rig.finish();
    rewind_to(&rig, 15, additions(100..=130));
    rig.clock.pass(30 * crate::kit::Clock::DAY);
    assert_same_end(&rig.finish().end, &expected(&rig.source.log()), "a month");
}

#[test]
fn whatever_the_last_row_was_its_loss_is_noticed() {
    for last in [
        remove(21, 3),
        remove(21, 300),
        invalid(21, "bad", 1),
        add(21, 3),
        add(21, 21).variant(1),
        add(21, 22).about(77).seen_by(Visibility::Private),
        add(21, 23).about(78).seen_by(Visibility::AsItsObject),
        nothing(21),
    ] {
        let mut log = additions(1..=20);
        log.push(last.clone());
        let rig = Rig::new(log).log_only();
        let mut run = rig.run();
        run.finish().unwrap();
        rewind_to(&rig, 18, additions(100..=120));
        run.finish().unwrap();
        let context = format!("{last:?}");
        assert_eq!(run.progress().resets, 1, "{context}");
        assert_end(&rig.store(), &expected(&rig.source.log()), &context);
    }
}

#[test]
fn a_source_that_grows_was_not_rewound_whatever_its_last_row_is() {
    for last in [
        nothing(21),
        remove(21, 3),
        remove(21, 300),
        invalid(21, "bad", 1),
        add(21, 21).about(77).seen_by(Visibility::Private),
        add(21, 3),
    ] {
        for start in [Start::Snapshot, Start::Log] {
            for limit in [1, 500] {
                let mut log = additions(1..=20);
                log.push(last.clone());
                log.extend([nothing(25), nothing(26)]);
                let rig = Rig::new(log).start(start).limit(limit).rule(Rule::At(20));
                let mut run = rig.run();
                run.finish().unwrap();
                rig.source.push([nothing(30), add(31, 31)]);
                rig.clock.pass(1);
                run.finish().unwrap();
                assert_eq!(run.progress().resets, 0, "{last:?}");
                rig.source.push([remove(32, 31)]);
                rig.clock.pass(1000);
                run = rig.run();
                run.finish().unwrap();
                assert_eq!(run.progress().resets, 0, "{last:?}");
            }
        }
    }
}

#[test]
fn a_source_rewound_to_less_than_half_is_not_followed() {
    let rig = Rig::new(additions(1..=20)).log_only();
    let mut run = rig.run();
    run.finish().unwrap();
    let before = rig.dump();
    rig.source.script().rewind(9);
    let error = run.finish().unwrap_err();
    let shrank = ErrorKind::SourceShrank { held: 20, holds: 9 };
    assert_eq!(*error.kind(), shrank);
    assert_eq!(rig.dump(), before);
}

#[test]
fn a_snapshot_of_a_source_rewound_before_the_first_change_is_given_up() {
    // Between the snapshot and the first poll nothing but the checkpoint tells.
    let rig = Rig::new(additions(1..=20));
    let mut run = rig.run();
    run.past_snapshot().unwrap();
    rig.source.script().rewind(15);
    run.finish().unwrap();
    rig.source.push(numbered(15, additions(100..=130)));
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&rig.source.log()), "rewound to 15");
    let stats = pollster::block_on(rig.store().stats()).unwrap();
    assert_eq!(stats.total, stats.ordered);
}

fn additions(ids: std::ops::RangeInclusive<u16>) -> Vec<Entry> {
    ids.zip(1..).map(|(id, seq)| add(seq, id)).collect()
}

/// The same rows, at the positions after `seq`.
fn numbered(seq: u64, mut entries: Vec<Entry>) -> Vec<Entry> {
    for (entry, n) in entries.iter_mut().zip(1..) {
        entry.seq = seq + n;
    }
    entries
}

fn rewind_to(rig: &Rig, seq: u64, then: Vec<Entry>) {
    rig.source.script().rewind(seq);
    rig.source.push(numbered(seq, then));
}
