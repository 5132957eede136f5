//! What a space says of its hydration, and what a run says of itself.

use pollster::block_on;
use sync_hydrate::{Phase, Start, Status, backfill_is_pending, invalid_records};

use crate::kit::{Rig, add, assert_end, at, expected, remove, remove_of};

#[test]
fn a_space_that_was_never_hydrated_has_no_status() {
    let store = Rig::new(Vec::new()).store();
    assert!(block_on(Status::load(&store)).unwrap().is_none());
    assert!(!block_on(backfill_is_pending(&store)).unwrap());
    assert_eq!(block_on(invalid_records(&store)).unwrap(), vec![]);
}

#[test]
fn the_status_says_where_hydration_is() {
    let log: Vec<_> = (1..=9).map(|n| add(u64::from(n), n).about(n)).collect();
    let rig = Rig::new(log).limit(4);
    let status = || block_on(Status::load(&rig.store())).unwrap().unwrap();
    let mut run = rig.run();

    run.advance().unwrap();
    let now = status();
    assert_eq!(
        (now.name.as_str(), now.phase),
        ("scripted", Phase::Snapshot)
    );
    assert_eq!((now.cursor, now.checkpoint), (None, Some(at(9))));
    assert_eq!(now.epoch.to_string(), "first");
    assert_eq!(now.held, 4);

    run.past_snapshot().unwrap();
    run.reach_tip().unwrap();
    assert_eq!((status().cursor, status().held), (Some(at(9)), 9));
    assert_eq!(status().unordered, 9);

    rig.source.push([remove_of(10, 3, 3), add(12, 12)]);
    run.finish().unwrap();
    let now = status();
    assert_eq!((now.phase, now.cursor), (Phase::Current, Some(at(12))));
    assert_eq!((now.held, now.unordered), (9, 0));
}

#[test]
fn a_run_goes_to_the_tip_and_to_the_end_of_backfill_and_says_how_far_it_is() {
    for start in [Start::Snapshot, Start::Log] {
        let mut log: Vec<_> = (1..=50).map(|n| add(u64::from(n), n).about(n)).collect();
        log.push(remove_of(51, 7, 7));
        let rig = Rig::new(log.clone()).start(start).limit(7);
        let clock = rig.clock.clone();
        let mut run = rig.run();
        let mut pages = Vec::new();
        let mut phases = Vec::new();
        let observe = |progress: &sync_hydrate::Progress| {
            pages.push(progress.pages);
            phases.push(progress.phase);
        };
        block_on(run.hydrator.run(|| clock.now(), observe)).unwrap();
        assert!(pages.is_sorted(), "{pages:?}");
        assert!(pages.len() > 7, "{pages:?}");
        phases.dedup();
        assert_eq!(*phases.last().unwrap(), Phase::Current, "{phases:?}");
        if start == Start::Snapshot {
            assert!(phases.contains(&Phase::Snapshot), "{phases:?}");
            assert!(phases.contains(&Phase::Collect), "{phases:?}");
            assert!(phases.contains(&Phase::Order), "{phases:?}");
        }
        assert_end(&rig.store(), &expected(&log), &format!("{start:?}"));
    }
}

#[test]
fn the_totals_of_a_run_say_what_its_pages_did() {
    let log = vec![add(1, 1), add(2, 2), remove(3, 1), remove(4, 9), add(5, 1)];
    let rig = Rig::new(log).log_only().limit(1);
    let mut run = rig.run();
    run.finish().unwrap();
    let totals = run.progress().totals;
    let counted = (totals.inserted, totals.deleted, totals.rejected);
    assert_eq!(counted, (3, 1, 1));
}
