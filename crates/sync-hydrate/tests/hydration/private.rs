//! Operations that are private to their source.

use fastrand::Rng;
use sync_hydrate::{Start, Visibility};

use crate::kit::{
    Entry, Rig, Rule, add, assert_end, assert_same_end, expected, expected_of, one_call_a_process,
    remove_of, same_on_every_path, seeds,
};

/// What the operations of these tests are about: even ones are public.
const OBJECTS: u16 = 6;

#[test]
fn private_operations_are_not_stored_and_counted() {
    let log = vec![
        add(1, 1).about(1).seen_by(Visibility::Private),
        add(2, 2).about(2),
        add(3, 3).about(1).seen_by(Visibility::AsItsObject),
        add(4, 4).about(2).seen_by(Visibility::AsItsObject),
        add(5, 5).about(1).seen_by(Visibility::Private),
    ];
    for limit in [1, 500] {
        let rig = Rig::new(log.clone()).log_only().limit(limit);
        let mut run = rig.run();
        run.finish().unwrap();
        assert_end(&rig.store(), &expected(&log), &format!("pages of {limit}"));
        assert_eq!(run.progress().private, 2);
        assert_eq!(run.progress().unshown, 1);
        // Read again within the settle time, they are not counted again.
        rig.clock.pass(10);
        run.finish().unwrap();
        assert_eq!((run.progress().private, run.progress().unshown), (2, 1));
    }
    for limit in [1, 500] {
        let rig = Rig::new(log.clone()).limit(limit);
        let mut run = rig.run();
        run.finish().unwrap();
        assert_end(&rig.store(), &expected(&log), "over a snapshot");
        // A snapshot shows whole histories.
        assert_eq!((run.progress().private, run.progress().unshown), (3, 0));
    }
}

#[test]
fn private_operations_are_stored_where_that_is_wished() {
    for seed in 1..=50 {
        let mut rng = Rng::with_seed(seed);
        let log = with_private(&mut rng, 40);
        for start in [Start::Snapshot, Start::Log] {
            let mut rig = Rig::new(log.clone()).start(start).limit(rng.u32(1..9));
            rig.config.include_private = true;
            let mut run = rig.run();
            run.finish().unwrap();
            let context = format!("SEED={seed}, {start:?}");
            assert_end(&rig.store(), &expected_of(&log, true), &context);
            assert_eq!((run.progress().private, run.progress().unshown), (0, 0));
        }
    }
}

#[test]
fn of_private_operations_none_is_stored_at_pages_of_one_with_restarts_between() {
    for seed in seeds("private, pages of one", 60) {
        let mut rng = Rng::with_seed(seed);
        let log = with_private(&mut rng, 40);
        for start in [Start::Snapshot, Start::Log] {
            let rig = Rig::new(log.clone()).start(start).limit(1);
            let rig = rig.rule(Rule::At(rng.u64(0..40)));
            one_call_a_process(&rig, rng.u64(0..100), || rig.store());
            let context = format!("SEED={seed}, {start:?}");
            assert_end(&rig.store(), &expected(&log), &context);
        }
    }
}

#[test]
fn the_size_of_a_page_does_not_change_what_is_private() {
    for seed in seeds("private, page sizes", 100) {
        let mut rng = Rng::with_seed(seed);
        let log = with_private(&mut rng, 60);
        let checkpoint = rng.u64(0..60);
        for limit in [1, 2, 7, 500] {
            let rig = Rig::new(log.clone())
                .limit(limit)
                .rule(Rule::At(checkpoint));
            let context = format!("SEED={seed}, pages of {limit}, snapshot at {checkpoint}");
            assert_same_end(&rig.fresh().finish().end, &expected(&log), &context);
            let context = format!("SEED={seed}, pages of {limit}, from zero");
            assert_same_end(&rig.log_only().finish().end, &expected(&log), &context);
        }
    }
}

#[test]
fn a_private_operation_that_was_removed_and_came_back_stays_removed_here() {
    let log = [
        add(1, 2).about(2),
        add(2, 1).about(1).seen_by(Visibility::Private),
        remove_of(3, 1, 1),
        add(5, 1).about(1).seen_by(Visibility::Private),
        add(6, 3).about(2),
    ];
    same_on_every_path(&log, &expected(&log));
    for checkpoint in 0..=6 {
        let rig = Rig::new(log.to_vec()).limit(1).rule(Rule::At(checkpoint));
        one_call_a_process(&rig, 1, || rig.store());
        assert_end(&rig.store(), &expected(&log), "one call a process");
    }
}

#[test]
fn an_update_in_a_page_with_its_objects_removal_and_return_follows_what_then_stands() {
    let log = vec![
        add(1, 1).about(2),
        remove_of(2, 1, 2),
        add(3, 2).about(2).seen_by(Visibility::AsItsObject),
        add(4, 1).about(2),
        add(5, 3).about(2).seen_by(Visibility::AsItsObject),
    ];
    for limit in [1, 2, 3, 500] {
        let found = Rig::new(log.clone()).log_only().limit(limit).finish();
        assert_same_end(&found.end, &expected(&log), &format!("pages of {limit}"));
    }
}

#[test]
fn what_a_new_history_does_not_show_public_is_not_judged_by_what_stood_before() {
    let second = vec![
        add(1, 3).about(2).seen_by(Visibility::AsItsObject),
        add(2, 4).about(4),
    ];
    for limit in [1, 500] {
        let rig = Rig::new(vec![add(1, 1).about(2)]).log_only().limit(limit);
        rig.finish();
        rig.source.script().renew("second", second.clone());
        let mut run = rig.run();
        run.finish().unwrap();
        assert_end(
            &rig.store(),
            &expected(&second),
            &format!("pages of {limit}"),
        );
        assert_eq!(run.progress().unshown, 1);
    }
}

/// Objects as a source has them: a create first, updates that follow it, all removed together.
/// Creates of odd objects are private.
fn with_private(rng: &mut Rng, rows: usize) -> Vec<Entry> {
    let mut live: Vec<Vec<u16>> = vec![Vec::new(); usize::from(OBJECTS)];
    let mut log = Vec::new();
    let mut next = 0;
    while log.len() < rows {
        let object = rng.u16(0..OBJECTS);
        let history = &mut live[usize::from(object)];
        if history.len() > 1 && rng.u8(0..10) < 2 {
            for id in history.drain(..) {
                next += 1;
                log.push(remove_of(next, id, object));
            }
            continue;
        }
        // Ids of an object count up from its create, so that what was removed comes back.
        let id = object * 100 + u16::try_from(history.len()).unwrap();
        let visibility = match history.len() {
            0 if object % 2 == 1 => Visibility::Private,
            0 => Visibility::Public,
            _ => Visibility::AsItsObject,
        };
        history.push(id);
        next += rng.u64(1..3);
        log.push(add(next, id).about(object).seen_by(visibility));
    }
    log
}
