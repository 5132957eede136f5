//! Sources that fail, that do not keep to the protocol, or that are not the space's.

use std::error::Error as _;

use pollster::block_on;
use sync_core::SyncStore;
use sync_hydrate::{Error, ErrorKind, Hydrator, SourceErrorKind, Start};

use crate::kit::{Entry, Rig, Rule, add, assert_end, at, expected, remove_of};

#[test]
fn a_second_source_is_refused_and_nothing_is_written() {
    let rig = Rig::new(log()).limit(3);
    for steps in [1, 3, 100] {
        let rig = rig.fresh();
        let mut run = rig.run();
        for _ in 0..steps {
            run.advance().unwrap();
        }
        run.backfill().unwrap();
        let before = rig.dump();
        let other = rig.source.clone().named("another");
        let mut second = Hydrator::new(rig.store(), other, rig.config.clone());
        let now = rig.clock.now();
        let asked = rig.source.calls();
        let errors = [
            block_on(second.advance(now)).unwrap_err(),
            block_on(second.backfill(now)).unwrap_err(),
            block_on(second.run(|| now, |_| ())).unwrap_err(),
        ];
        for error in errors {
            let other = ErrorKind::OtherSource {
                stored: "scripted".to_owned(),
            };
            assert_eq!(*error.kind(), other);
            assert!(!error.is_retryable());
        }
        assert_eq!(
            rig.source.calls(),
            asked,
            "nobody asks a source that is refused"
        );
        assert_eq!(rig.dump(), before);
        rig.run().finish().unwrap();
        assert_end(&rig.store(), &expected(&log()), "the first goes on");
    }
}

#[test]
fn an_error_of_the_source_leaves_everything_in_order_at_any_call() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log()).start(start).limit(3).rule(Rule::At(9));
        rig.finish();
        let calls = rig.source.calls();
        for (kind, retryable) in [
            (SourceErrorKind::Unavailable, true),
            (SourceErrorKind::Timeout, true),
            (SourceErrorKind::Refused, false),
            (SourceErrorKind::Protocol, false),
        ] {
            for restart in [false, true] {
                for after in 0..calls {
                    let rig = Rig::new(log()).start(start).limit(3).rule(Rule::At(9));
                    rig.source
                        .after_calls(after, move |script| script.fail = Some(kind));
                    let mut run = rig.run();
                    let context = format!("{start:?}, {kind:?} after {after} calls");
                    if let Err(error) = run.finish() {
                        assert_source_failed(&error, kind, retryable, &context);
                        if restart {
                            run = rig.run();
                        }
                        run.finish().unwrap();
                    }
                    assert_end(&rig.store(), &expected(&log()), &context);
                }
            }
        }
    }
}

#[test]
fn an_error_of_the_source_surfaces() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log()).start(start);
        rig.source.script().fail = Some(SourceErrorKind::Timeout);
        let error = rig.run().advance().unwrap_err();
        assert_source_failed(&error, SourceErrorKind::Timeout, true, "first call");
        assert_eq!(rig.dump().state, vec![]);
        assert_eq!(block_on(rig.store().stats()).unwrap().epoch, None);
    }
}

#[test]
fn a_log_whose_cursor_does_not_advance_is_an_error_and_not_a_circle() {
    let rig = Rig::new(log()).log_only().limit(3);
    let mut run = rig.run();
    run.advance().unwrap();
    rig.source.script().stuck_changes = true;
    let error = run.reach_tip().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotAdvancing);
    assert!(!error.is_retryable());
    rig.source.script().stuck_changes = false;
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&log()), "once it advances");
}

#[test]
fn a_walk_over_a_log_whose_cursor_does_not_advance_is_an_error_and_not_a_circle() {
    let rig = Rig::new(log()).limit(3);
    let mut run = rig.run();
    run.reach_tip().unwrap();
    rig.source.script().stuck_changes = true;
    let error = run.walk().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotAdvancing);
    rig.source.script().stuck_changes = false;
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&log()), "once it advances");
}

#[test]
fn a_snapshot_whose_cursor_does_not_advance_is_an_error_and_not_a_circle() {
    let rig = Rig::new(spread()).limit(3);
    let mut run = rig.run();
    run.advance().unwrap();
    rig.source.script().stuck_snapshot = true;
    // The page after the next may have been read already.
    let error = run.past_snapshot().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotAdvancing);
    rig.source.script().stuck_snapshot = false;
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&spread()), "once it advances");
}

#[test]
fn of_a_snapshot_whose_checkpoint_moves_the_first_one_holds() {
    let rig = Rig::new(spread()).limit(3);
    rig.source.script().moving_checkpoint = true;
    let mut run = rig.run();
    run.advance().unwrap();
    let first = run.progress().checkpoint.unwrap();
    while run.advance().unwrap() == sync_hydrate::Advance::Snapshot {
        assert!(
            rig.source.script().changes.is_empty(),
            "the log is read after the snapshot"
        );
    }
    let from = rig.source.script().changes[0];
    assert!(
        from <= first.value(),
        "read from {from}, the snapshot began at {first}"
    );
    assert!(rig.source.script().snapshots > 5);
    rig.source.push([add(100, 100), remove_of(101, 3, 3)]);
    run.finish().unwrap();
    assert_end(
        &rig.store(),
        &expected(&rig.source.log()),
        "after the snapshot",
    );
}

#[test]
fn a_snapshot_whose_checkpoint_moves_loses_no_row_that_came_while_it_was_read() {
    let rig = Rig::new(spread()).limit(3).rule(Rule::Frozen);
    let mut run = rig.run();
    run.advance().unwrap();
    rig.source.script().moving_checkpoint = true;
    rig.source
        .push((41..60).map(|n| add(n, 41 + (n % 7) as u16)));
    run.finish().unwrap();
    assert_end(
        &rig.store(),
        &expected(&rig.source.log()),
        "after the snapshot",
    );
}

#[test]
fn a_snapshot_at_a_position_that_the_log_never_had_is_an_error_and_not_a_circle() {
    for walks_first in [false, true] {
        let rig = Rig::new(log()).rule(Rule::At(1000));
        let mut run = rig.run();
        run.advance().unwrap();
        let ended = if walks_first {
            run.walk()
        } else {
            run.reach_tip()
        };
        let context = format!("walks first: {walks_first}");
        assert_source_refused(&ended.unwrap_err(), &context);
        let stats = block_on(rig.store().stats()).unwrap();
        assert!(stats.total > 0, "{context}: the rows stay");
        // It is none any more once the log has got there.
        rig.source.push([add(1001, 200)]);
        run.finish().unwrap();
        assert_end(&rig.store(), &expected(&rig.source.log()), &context);
    }
}

#[test]
fn a_source_whose_snapshot_and_log_are_of_different_histories_is_an_error_and_not_a_circle() {
    for log in [log(), Vec::new()] {
        let rig = Rig::new(log);
        rig.source.script().log_epoch = Some("another".to_owned());
        let error = rig.run().reach_tip().unwrap_err();
        assert_source_refused(&error, "two histories at once");
    }
}

#[test]
fn positions_reach_the_highest_there_is() {
    let highest = (1 << 53) - 1;
    let log = vec![add(1, 1), add(highest - 1, 2), add(highest, 3)];
    for limit in [1, 500] {
        let rig = Rig::new(log.clone()).limit(limit);
        crate::kit::assert_same_end(&rig.finish().end, &expected(&log), "over a snapshot");
        let rig = rig.fresh().log_only();
        let end = rig.finish().end;
        crate::kit::assert_same_end(&end, &expected(&log), "from zero");
        assert_eq!(end.rows[&crate::kit::id(3)].order, Some(at(highest)));
    }
}

#[track_caller]
fn assert_source_refused(error: &Error, context: &str) {
    assert_eq!(*error.kind(), ErrorKind::Source, "{context}: {error:?}");
    let kind = error.source_error().unwrap().kind();
    assert_eq!(kind, SourceErrorKind::Protocol, "{context}");
}

#[track_caller]
fn assert_source_failed(error: &Error, kind: SourceErrorKind, retryable: bool, context: &str) {
    assert_eq!(*error.kind(), ErrorKind::Source, "{context}");
    assert_eq!(error.is_retryable(), retryable, "{context}");
    assert_eq!(error.source_error().unwrap().kind(), kind, "{context}");
    assert_eq!(error.source().unwrap().to_string(), "as the script says");
}

fn log() -> Vec<Entry> {
    let mut log = spread();
    log.truncate(15);
    log.extend([
        remove_of(16, 3, 3),
        add(17, 3).about(3),
        remove_of(18, 5, 5),
        remove_of(19, 400, 400),
    ]);
    log
}

/// Forty operations, each on an object of its own.
fn spread() -> Vec<Entry> {
    (1..=40).map(|n| add(u64::from(n), n).about(n)).collect()
}
