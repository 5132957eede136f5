//! A source may publish positions late.

use fastrand::Rng;
use sync_hydrate::{Start, Visibility};

use crate::kit::{
    Clock, Entry, Rig, Rule, What, add, assert_end, assert_same_end, expected, nothing, random_log,
    remove, seeds,
};

/// A log whose position 11 appears five seconds after position 12, and what was done to its ids.
fn late_logs() -> [(&'static str, Vec<Entry>); 6] {
    let late = |entry: Entry| entry.published(5);
    [
        (
            "an addition",
            vec![add(10, 1), late(add(11, 2)), add(12, 3)],
        ),
        (
            "a removal",
            vec![add(10, 1), late(remove(11, 1)), add(12, 3)],
        ),
        (
            "a removal before the id's addition again",
            vec![add(10, 1), late(remove(11, 1)), add(12, 1)],
        ),
        (
            "an addition before the id's removal",
            vec![add(10, 3), late(add(11, 1)), remove(12, 1)],
        ),
        (
            "a removal among others of the id",
            vec![
                add(8, 1),
                remove(10, 1),
                late(remove(11, 1)),
                remove(12, 1),
                add(13, 1),
            ],
        ),
        (
            "a removal and an addition",
            vec![
                add(9, 1),
                late(remove(10, 1)),
                late(add(11, 1)),
                add(12, 2),
                nothing(13),
            ],
        ),
    ]
}

#[test]
fn a_position_published_after_a_higher_one_is_found() {
    for (what, log) in late_logs() {
        for limit in [1, 2, 500] {
            let rig = Rig::new(log.clone()).log_only().limit(limit);
            let mut run = rig.run();
            run.finish().unwrap();
            rig.clock.pass(10);
            run.finish().unwrap();
            let context = format!("{what}, pages of {limit}");
            assert_end(&rig.store(), &expected(&log), &context);
            assert_eq!(run.progress().resets, 0, "{context}");
        }
    }
}

#[test]
fn a_position_published_late_is_found_by_a_process_that_has_not_seen_the_higher_one() {
    for (what, log) in late_logs() {
        for limit in [1, 2, 500] {
            let rig = Rig::new(log.clone()).log_only().limit(limit);
            rig.run().finish().unwrap();
            rig.clock.pass(10);
            let context = format!("{what}, pages of {limit}");
            assert_same_end(&rig.finish().end, &expected(&log), &context);
        }
    }
}

#[test]
fn a_position_published_late_is_found_although_the_next_poll_comes_a_day_later() {
    for (what, log) in late_logs() {
        for restart in [false, true] {
            let rig = Rig::new(log.clone()).log_only();
            let mut run = rig.run();
            run.finish().unwrap();
            rig.clock.pass(Clock::DAY);
            if restart {
                run = rig.run();
            }
            run.finish().unwrap();
            assert_end(&rig.store(), &expected(&log), what);
        }
    }
}

#[test]
fn a_position_published_late_is_found_although_pages_above_it_are_still_to_be_read() {
    let mut log: Vec<_> = (1..=40).map(|n| add(u64::from(n), n)).collect();
    log[24] = add(25, 25).published(30);
    log[26] = remove(27, 20).published(30);
    for seconds in [0, 1, 3] {
        let rig = Rig::new(log.clone()).log_only().limit(1);
        let mut run = rig.run();
        for _ in 0..38 {
            run.advance().unwrap();
            rig.clock.pass(seconds);
        }
        rig.clock.pass(30);
        run.finish().unwrap();
        let context = format!("{seconds} s between pages");
        assert_end(&rig.store(), &expected(&log), &context);
    }
}

#[test]
fn a_position_below_the_checkpoint_published_after_the_snapshot_is_found() {
    for (what, log) in late_logs() {
        for limit in [1, 2, 500] {
            for walked in [false, true] {
                let rig = Rig::new(log.clone()).limit(limit);
                let mut run = rig.run();
                run.past_snapshot().unwrap();
                if walked {
                    run.walk().unwrap();
                }
                rig.clock.pass(10);
                run.finish().unwrap();
                let context = format!("{what}, pages of {limit}, walked before: {walked}");
                assert_end(&rig.store(), &expected(&log), &context);
            }
        }
    }
}

#[test]
fn an_operation_whose_object_was_published_later_is_stored_once_that_shows() {
    let log = vec![
        add(10, 1).about(50).published(5),
        add(11, 2).about(50).seen_by(Visibility::AsItsObject),
        add(12, 3),
    ];
    let rig = Rig::new(log.clone()).log_only().limit(1);
    let mut run = rig.run();
    run.finish().unwrap();
    assert_eq!(run.progress().unshown, 1);
    rig.clock.pass(10);
    run.finish().unwrap();
    assert_end(&rig.store(), &expected(&log), "after the late one");
}

#[test]
fn generated_logs_with_late_positions_end_as_their_actions_say() {
    for seed in seeds("late positions", 300) {
        let mut rng = Rng::with_seed(seed);
        let log = published(&mut rng);
        let start = [Start::Log, Start::Snapshot][rng.usize(0..2)];
        let mut rig = Rig::new(log.clone()).start(start);
        if rng.bool() {
            rig = rig.rule(Rule::Live);
        }
        let mut run = rig.run();
        let last = log.iter().map(|entry| entry.published).max().unwrap_or(0);
        while rig.clock.seconds() <= last {
            match rng.u8(0..10) {
                0..5 => _ = run.advance().unwrap(),
                5..6 => run.reach_tip().unwrap(),
                6..8 => _ = run.backfill().unwrap(),
                8..9 => {
                    rig.config.page_limit = [1, 2, 5, 100][rng.usize(0..4)];
                    run = rig.run();
                }
                _ => {
                    let most = if rng.u8(..) < 20 { Clock::DAY } else { 20 };
                    rig.clock.pass(rng.u64(1..=most));
                }
            }
            assert_eq!(run.progress().resets, 0, "SEED={seed}");
        }
        assert_same_end(&rig.finish().end, &expected(&log), &format!("SEED={seed}"));
    }
}

/// A log whose rows get their positions as time passes, and some of which appear later than they
/// got them. Without additions of what is there: seen after a later one, such a row comes too
/// late to be the first.
fn published(rng: &mut Rng) -> Vec<Entry> {
    let rows = rng.usize(1..60);
    let mut live = std::collections::BTreeSet::new();
    let mut now = 0;
    random_log(rng, rows)
        .into_iter()
        .filter(|entry| match entry.what {
            What::Added(record, _) => live.insert(record.id),
            What::Removed { id, .. } => {
                live.remove(&id);
                true
            }
            _ => true,
        })
        .map(|entry| {
            now += rng.u64(0..6);
            let late = if rng.u8(0..10) < 2 { rng.u64(1..55) } else { 0 };
            entry.published(now + late)
        })
        .collect()
}
