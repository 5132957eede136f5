//! Rows without order that came in later: the log is walked again, at most daily.

use pollster::block_on;
use sync_core::{Delete, Known, OpId, Operation, Page, SyncStore, TombstoneReason};
use sync_hydrate::{Start, Status};

use crate::kit::{Clock, Entry, Record, Rig, Rule, add, at, id, object_of};

/// What no log of these tests has.
const STRANGER: u16 = 900;

#[test]
fn the_log_is_not_walked_again_while_no_row_without_order_came_in() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log()).start(start);
        let mut run = rig.run();
        run.finish().unwrap();
        for _ in 0..5 {
            rig.clock.pass(Clock::DAY + 1);
            run.reach_tip().unwrap();
            let asked = rig.source.calls();
            run.walk().unwrap();
            assert_eq!(rig.source.calls(), asked, "{start:?}");
        }
    }
}

#[test]
fn the_log_is_walked_again_a_day_after_the_last_walk_when_rows_without_order_came_in() {
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log()).start(start);
        let mut run = rig.run();
        run.finish().unwrap();
        peer_brings(&rig, STRANGER);
        // What came before the first walk a space ever had was not walked for; later at most daily.
        rig.clock.pass(Clock::DAY + 1);
        run.finish().unwrap();
        assert_eq!(unordered(&rig), 1, "{start:?}");

        peer_brings(&rig, STRANGER + 1);
        rig.clock.pass(Clock::DAY / 2);
        run.reach_tip().unwrap();
        let asked = rig.source.calls();
        run.walk().unwrap();
        assert_eq!(
            rig.source.calls(),
            asked,
            "{start:?}: walked again after half a day"
        );
        rig.clock.pass(Clock::DAY / 2 + 1);
        run.walk().unwrap();
        assert!(rig.source.calls() > asked, "{start:?}: not walked again");
        assert_eq!(unordered(&rig), 2, "{start:?}");
    }
}

#[test]
fn rows_that_the_log_does_not_cover_do_not_make_it_walk_every_day() {
    let rig = Rig::new(log()).rule(Rule::Given(vec![record(1), record(STRANGER)]));
    let mut run = rig.run();
    run.finish().unwrap();
    assert_eq!(unordered(&rig), 1);
    for _ in 0..3 {
        rig.clock.pass(Clock::DAY + 1);
        run.reach_tip().unwrap();
        let asked = rig.source.calls();
        run.walk().unwrap();
        assert_eq!(rig.source.calls(), asked);
    }
}

#[test]
fn a_restart_does_not_bring_the_next_walk_forward() {
    let rig = Rig::new(log());
    rig.run().finish().unwrap();
    peer_brings(&rig, STRANGER);
    rig.clock.pass(Clock::DAY + 1);
    rig.run().finish().unwrap();
    peer_brings(&rig, STRANGER + 1);
    rig.clock.pass(Clock::DAY / 2);
    let mut run = rig.run();
    run.reach_tip().unwrap();
    let asked = rig.source.calls();
    run.walk().unwrap();
    assert_eq!(rig.source.calls(), asked);
}

#[test]
fn a_row_that_came_from_a_peer_later_gets_its_order_from_the_next_walk() {
    for start in [Start::Snapshot, Start::Log] {
        // An operator's tombstone keeps ids 2 and 9 out while the source is read: one before the
        // checkpoint of the snapshot, one after it. Then it is lifted.
        let log = log();
        let rig = Rig::new(log).start(start).rule(Rule::At(5));
        let refused = [id(2), id(9)];
        refuse(&rig, &refused);
        let mut run = rig.run();
        run.finish().unwrap();
        let mut page = Page::new();
        for id in refused {
            page = page.lift(id);
        }
        let _ = block_on(rig.store().apply(page)).unwrap();
        peer_brings(&rig, 2);
        peer_brings(&rig, 9);
        rig.clock.pass(Clock::DAY + 1);
        run.finish().unwrap();
        for (n, order) in [(2, 2), (9, 9)] {
            let known = block_on(rig.store().known(&[id(n)])).unwrap()[0];
            let Known::Live { sync_order, .. } = known else {
                panic!("{start:?}, id {n}: {known:?}");
            };
            assert_eq!(sync_order, Some(at(order)), "{start:?}, id {n}");
        }
        assert_eq!(unordered(&rig), 0, "{start:?}");
    }
}

fn log() -> Vec<Entry> {
    (1..=10).map(|n| add(u64::from(n), n)).collect()
}

fn record(id: u16) -> Record {
    Record {
        id,
        object: object_of(id),
        variant: 0,
    }
}

fn peer_brings(rig: &Rig, id: u16) {
    let operation: Operation = record(id).operation();
    let applied = block_on(rig.store().apply(Page::new().upsert(operation))).unwrap();
    assert_eq!(applied.totals().inserted, 1);
}

fn refuse(rig: &Rig, ids: &[OpId]) {
    let mut page = Page::new();
    for id in ids {
        page = page.delete(Delete::new(*id, TombstoneReason::Operator).reject());
    }
    let _ = block_on(rig.store().apply(page)).unwrap();
}

fn unordered(rig: &Rig) -> u64 {
    block_on(Status::load(&rig.store()))
        .unwrap()
        .unwrap()
        .unordered
}
