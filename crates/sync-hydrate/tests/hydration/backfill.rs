//! Rows that came without order get it from the log.

use fastrand::Rng;
use pollster::block_on;
use sync_core::Known;
use sync_core::SyncStore;
use sync_hydrate::{BackfillStep, Phase, Status, backfill_is_pending};

use crate::kit::{
    Entry, Rig, Rule, STEPS, add, assert_end, assert_same_end, dump, expected, id, nothing,
    random_log, remove, same_on_every_path,
};

#[test]
fn backfill_orders_what_came_in_a_snapshot() {
    let log: Vec<_> = (1..=20).map(|n| add(u64::from(n) * 3, n)).collect();
    let rig = Rig::new(log.clone()).limit(7);
    let mut run = rig.run();
    run.reach_tip().unwrap();
    let stats = block_on(rig.store().stats()).unwrap();
    assert_eq!((stats.total, stats.ordered), (20, 0));
    run.walk().unwrap();
    assert_end(&rig.store(), &expected(&log), "after the walk");
    assert_eq!(run.progress().unordered, Some(0));
    assert_eq!(run.progress().totals.ordered, 20);
    assert_eq!(run.progress().phase, Phase::Current);
}

#[test]
fn a_walk_over_a_log_without_removals_leaves_the_head_where_it_was() {
    let log: Vec<_> = (1..=50).map(|n| add(u64::from(n), n)).collect();
    let rig = Rig::new(log.clone()).limit(7);
    let mut run = rig.run();
    run.reach_tip().unwrap();
    let before = rig.dump();
    run.walk().unwrap();
    let after = rig.dump();
    assert_eq!(after.head, before.head);
    assert_same_end(&after.end, &expected(&log), "after the walk");
}

#[test]
fn a_walk_mints_seqs_for_tombstones_only() {
    for seed in 1..=50 {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 100);
        let checkpoint = rng.u64(0..=log.last().unwrap().seq);
        let rig = Rig::new(log)
            .rule(Rule::At(checkpoint))
            .limit(rng.u32(1..30));
        let mut run = rig.run();
        run.reach_tip().unwrap();
        let before = rig.dump();
        run.walk().unwrap();
        let after = rig.dump();
        let minted = after.head.value() - before.head.value();
        let buried = (after.buried.len() - before.buried.len()) as u64;
        assert_eq!(minted, buried, "SEED={seed}");
        let rows = |dump: &crate::kit::Dump| dump.end.rows.keys().copied().collect::<Vec<_>>();
        assert_eq!(
            rows(&after),
            rows(&before),
            "SEED={seed}: a walk moves no row"
        );
    }
}

#[test]
fn an_id_that_ended_removed_before_the_checkpoint_cannot_be_brought_back_by_a_peer() {
    let log = vec![add(1, 1), add(2, 2), remove(3, 1)];
    let rig = Rig::new(log.clone());
    rig.finish();
    let peers = crate::kit::Record {
        id: 1,
        object: crate::kit::object_of(1),
        variant: 0,
    };
    let store = rig.store();
    let page = sync_core::Page::new().upsert(peers.operation());
    assert_eq!(block_on(store.apply(page)).unwrap().totals().tombstoned, 1);
    assert_end(&store, &expected(&log), "after the peer's page");
}

#[test]
fn the_order_of_an_id_that_came_back_is_that_of_its_first_addition_after_its_last_removal() {
    // Each action of id 1 may stand before or behind the checkpoint.
    let log = vec![
        add(1, 1),
        add(2, 2),
        add(3, 1),
        remove(5, 1),
        remove(6, 1),
        add(8, 1),
        nothing(9),
        add(10, 1),
        remove(12, 2),
    ];
    let expected = expected(&log);
    assert_eq!(expected.rows[&id(1)].order, Some(crate::kit::at(8)));
    same_on_every_path(&log, &expected);
}

#[test]
fn an_addition_of_what_is_there_does_not_move_it_wherever_the_checkpoint_lies() {
    let log = vec![add(1, 1), add(2, 2), add(4, 1), add(7, 2), add(9, 3)];
    same_on_every_path(&log, &expected(&log));
}

#[test]
fn a_walk_goes_on_where_a_process_ended_after_every_page() {
    let log = removals_between(60);
    for limit in [1, 7, 500] {
        let rig = Rig::new(log.clone()).limit(limit);
        rig.run().reach_tip().unwrap();
        let steps = (0..STEPS)
            .find(|_| rig.run().backfill().unwrap() == BackfillStep::Done)
            .unwrap();
        // Two passes over the log and one over what was removed, with a page or so for each turn.
        let pages = 3 * 60 / limit as usize + 10;
        assert!(steps <= pages, "{steps} steps at pages of {limit}");
        assert_end(&rig.store(), &expected(&log), "after the walk");
    }
}

#[test]
fn backfill_is_pending_from_the_snapshot_until_the_walk_is_done() {
    let rig = Rig::new(removals_between(10)).limit(2);
    let pending = || block_on(backfill_is_pending(&rig.store())).unwrap();
    let mut run = rig.run();
    run.advance().unwrap();
    assert!(pending());
    run.reach_tip().unwrap();
    assert!(pending());
    while run.backfill().unwrap() == BackfillStep::Page {
        let done = run.progress().phase == Phase::Current;
        assert_eq!(pending(), !done, "{:?}", run.progress().phase);
    }
    assert!(!pending());
}

#[test]
fn a_space_read_from_the_logs_beginning_has_nothing_to_walk() {
    let rig = Rig::new(removals_between(10)).log_only();
    let mut run = rig.run();
    run.reach_tip().unwrap();
    assert!(!block_on(backfill_is_pending(&rig.store())).unwrap());
    let asked = rig.source.calls();
    assert_eq!(run.backfill().unwrap(), BackfillStep::Done);
    assert_eq!(rig.source.calls(), asked);
}

#[test]
fn backfill_before_anything_is_there_to_order_does_nothing() {
    let rig = Rig::new(removals_between(10)).limit(1);
    let mut run = rig.run();
    assert_eq!(run.backfill().unwrap(), BackfillStep::Done);
    assert_eq!(rig.dump().state, vec![]);
    run.advance().unwrap();
    let before = rig.dump();
    assert_eq!(
        run.backfill().unwrap(),
        BackfillStep::Done,
        "the snapshot is not complete"
    );
    assert_eq!(rig.dump(), before);
}

#[test]
fn a_row_that_the_log_does_not_cover_stays_without_order_and_is_counted() {
    let log = vec![add(1, 1), add(2, 2), remove(3, 2)];
    let held = [1, 4, 5].map(|id| crate::kit::Record {
        id,
        object: crate::kit::object_of(id),
        variant: 0,
    });
    let rig = Rig::new(log).rule(Rule::Given(held.to_vec()));
    let mut run = rig.run();
    run.finish().unwrap();
    assert_eq!(run.progress().unordered, Some(2));
    let status = block_on(Status::load(&rig.store())).unwrap().unwrap();
    assert_eq!(status.unordered, 2);
    let known = block_on(rig.store().known(&[id(4), id(5)])).unwrap();
    for known in known {
        let unordered = matches!(
            known,
            Known::Live {
                sync_order: None,
                ..
            }
        );
        assert!(unordered, "{known:?}");
    }
}

#[test]
fn a_walk_of_a_log_that_is_empty_ends() {
    let rig = Rig::new(Vec::new());
    let mut run = rig.run();
    run.finish().unwrap();
    assert_eq!(dump(&rig.store()).end, expected(&[]));
    assert_eq!(run.progress().phase, Phase::Current);
}

/// `rows` rows, every fifth of which removes one that is there.
fn removals_between(rows: u16) -> Vec<Entry> {
    (1..=rows)
        .map(|n| match n % 5 {
            0 => remove(u64::from(n), n - 2),
            _ => add(u64::from(n), n),
        })
        .collect()
}
