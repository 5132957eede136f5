//! A source that begins a new history.

use pollster::block_on;
use sync_core::SyncStore;
use sync_hydrate::{ErrorKind, Start};

use crate::kit::{Entry, Rig, Rule, add, assert_end, assert_same_end, expected, nothing, remove};

#[test]
fn a_source_that_comes_back_empty_takes_no_row_with_it() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(additions(0, 10)).start(start);
        let mut run = rig.run();
        run.finish().unwrap();
        let before = rig.dump();
        rig.source.script().renew("second", Vec::new());
        for _ in 0..3 {
            let error = run.finish().unwrap_err();
            let shrank = ErrorKind::SourceShrank { held: 10, holds: 0 };
            assert_eq!(*error.kind(), shrank);
            assert!(!error.is_retryable());
            assert_eq!(rig.dump(), before, "{start:?}");
            // A new process is no operator.
            run = rig.run();
            rig.clock.pass(100_000);
        }
    }
}

#[test]
fn an_operator_may_accept_that_a_source_shrank() {
    for log in [Vec::new(), additions(100, 3)] {
        let mut rig = Rig::new(additions(0, 10));
        rig.finish();
        rig.source.script().renew("second", log.clone());
        assert!(rig.run().finish().is_err());
        rig.config.accept_shrunk_source = true;
        let mut run = rig.run();
        run.finish().unwrap();
        assert_eq!(run.progress().resets, 1);
        assert_end(&rig.store(), &expected(&log), "accepted");
        rig.config.accept_shrunk_source = false;
        run = rig.run();
        run.finish().unwrap();
        assert_eq!(run.progress().resets, 0, "accepted once is accepted");
        assert_end(&rig.store(), &expected(&log), "and then as ever");
    }
}

#[test]
fn a_source_that_comes_back_full_fills_the_space_anew() {
    let second = vec![
        add(1, 103),
        add(2, 104),
        add(3, 5),
        add(4, 6),
        remove(5, 104),
        nothing(6),
        add(7, 104),
        add(8, 2).variant(1),
        add(9, 9),
        remove(10, 9),
    ];
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 3, 500] {
            let rig = Rig::new(additions(0, 10)).start(start).limit(limit);
            let mut run = rig.run();
            run.finish().unwrap();
            let old = block_on(rig.store().stats()).unwrap().epoch;
            rig.source.script().renew("second", second.clone());
            run.finish().unwrap();
            let context = format!("{start:?}, pages of {limit}");
            assert_eq!(run.progress().resets, 1, "{context}");
            assert_same_end(&rig.dump().end, &rig.fresh().finish().end, &context);
            assert_end(&rig.store(), &expected(&second), &context);
            assert_ne!(block_on(rig.store().stats()).unwrap().epoch, old);
        }
    }
}

#[test]
fn half_of_what_a_source_held_is_enough_and_one_less_is_not() {
    for held in [9_u16, 10] {
        for start in [Start::Snapshot, Start::Log] {
            for limit in [1, 500] {
                for holds in 0..=held {
                    let rig = Rig::new(additions(0, held)).start(start).limit(limit);
                    let mut run = rig.run();
                    run.finish().unwrap();
                    rig.source.script().renew("second", additions(100, holds));
                    let ended = run.finish();
                    let context = format!("{holds} of {held}, {start:?}, pages of {limit}");
                    assert_eq!(ended.is_ok(), 2 * holds >= held, "{context}: {ended:?}");
                    if let Err(error) = ended {
                        let shrank = ErrorKind::SourceShrank {
                            held: u64::from(held),
                            holds: u64::from(holds),
                        };
                        assert_eq!(*error.kind(), shrank, "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_source_held_follows_its_additions_and_removals() {
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 500] {
            let mut log = additions(0, 10);
            log.extend([remove(11, 1), remove(12, 2), add(14, 1), add(15, 50)]);
            let rig = Rig::new(log).start(start).limit(limit).rule(Rule::At(7));
            let mut run = rig.run();
            run.finish().unwrap();
            // Reading rows again counts none of them again.
            for _ in 0..5 {
                rig.clock.pass(10);
                run.reach_tip().unwrap();
            }
            rig.source.script().rule = Rule::Frozen;
            rig.source.script().renew("second", additions(100, 4));
            let error = run.finish().unwrap_err();
            let shrank = ErrorKind::SourceShrank { held: 10, holds: 4 };
            assert_eq!(*error.kind(), shrank, "{start:?}, pages of {limit}");
        }
    }
}

#[test]
fn a_source_that_comes_back_under_its_old_epoch_is_read_on() {
    let rig = Rig::new(additions(0, 10));
    let mut run = rig.run();
    run.finish().unwrap();
    let mut log = rig.source.log();
    rig.source.script().renew("second", Vec::new());
    assert!(run.finish().is_err());
    log.push(add(11, 11));
    rig.source.script().renew("first", log.clone());
    run.finish().unwrap();
    assert_eq!(run.progress().resets, 0);
    assert_end(&rig.store(), &expected(&log), "read on");
}

#[test]
fn an_epoch_that_changes_at_any_call_ends_in_the_new_history() {
    for start in [Start::Snapshot, Start::Log] {
        for limit in [2, 500] {
            let mut first = additions(0, 12);
            first.extend([remove(13, 1), add(14, 1), remove(15, 2)]);
            let second: Vec<_> = additions(6, 12);
            let rig = Rig::new(first.clone()).start(start).limit(limit);
            let rig = rig.rule(Rule::At(8));
            rig.finish();
            let calls = rig.source.calls();
            for after in 0..calls {
                let rig = Rig::new(first.clone()).start(start).limit(limit);
                let second = second.clone();
                let expected = expected(&second);
                rig.source
                    .after_calls(after, move |script| script.renew("second", second));
                rig.run().finish().unwrap();
                let context = format!("{start:?}, pages of {limit}, after {after} calls");
                assert_same_end(&rig.finish().end, &expected, &context);
            }
        }
    }
}

#[test]
fn an_epoch_that_changes_again_while_the_new_history_is_counted_or_read_ends_in_the_last_one() {
    let first = additions(0, 8);
    let second = additions(100, 8);
    let third = additions(200, 8);
    for limit in [2, 500] {
        for restart in [false, true] {
            for after in 0..20 {
                let rig = Rig::new(first.clone()).limit(limit);
                let mut run = rig.run();
                run.finish().unwrap();
                rig.source.script().renew("second", second.clone());
                let then = third.clone();
                rig.source
                    .after_calls(after, move |script| script.renew("third", then));
                if restart {
                    run = rig.run();
                }
                run.finish().unwrap();
                run.finish().unwrap();
                let third_came = rig.source.script().epoch == "third";
                let end = expected(if third_came { &third } else { &second });
                let context = format!("pages of {limit}, after {after} calls, {restart}");
                assert_end(&rig.store(), &end, &context);
            }
        }
    }
}

#[test]
fn an_epoch_that_changes_to_nothing_at_any_call_loses_no_row() {
    let first = additions(0, 12);
    for limit in [2, 500] {
        let calls = {
            let rig = Rig::new(first.clone()).limit(limit);
            rig.finish();
            rig.source.calls()
        };
        for after in 0..calls {
            let rig = Rig::new(first.clone()).limit(limit);
            rig.source
                .after_calls(after, |script| script.renew("second", Vec::new()));
            let mut run = rig.run();
            let mut rows = 0;
            let mut ended = Ok(());
            for _ in 0..20 {
                ended = run
                    .advance()
                    .map(drop)
                    .and_then(|()| run.backfill().map(drop));
                let total = block_on(rig.store().stats()).unwrap().total;
                assert!(total >= rows, "pages of {limit}, after {after} calls");
                rows = total;
            }
            let shrank = ended.is_err();
            let context = format!("pages of {limit}, after {after} calls: {rows} rows, {ended:?}");
            assert_eq!(shrank, rows > 0, "{context}");
        }
    }
}

#[test]
fn a_snapshot_that_was_not_complete_when_the_epoch_changed_leaves_nothing_behind() {
    let rig = Rig::new(additions(0, 12)).limit(1);
    let mut run = rig.run();
    run.advance().unwrap();
    run.advance().unwrap();
    rig.source.script().renew("second", additions(100, 12));
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&additions(100, 12)), "the second");
}

/// `count` operations from `first` on.
fn additions(first: u16, count: u16) -> Vec<Entry> {
    (first..first + count)
        .zip(1..)
        .map(|(id, seq)| add(seq, id))
        .collect()
}
