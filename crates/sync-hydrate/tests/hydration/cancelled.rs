//! Futures that are dropped.

use fastrand::Rng;
use sync_hydrate::{Advance, BackfillStep, Start};

use crate::kit::{
    Entry, PausingStore, Rig, Rule, STEPS, add, assert_end, expected, invalid, poll_times,
    random_log, remove, seeds,
};

#[test]
fn a_call_dropped_at_any_await_leaves_hydration_in_order() {
    let mut dropped = 0;
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 4] {
            let rig = || Rig::new(log()).start(start).limit(limit).rule(Rule::At(8));
            let calls = {
                let rig = rig();
                let mut run = rig.run();
                let mut calls = 0;
                while run.advance().unwrap() != Advance::AtTip {
                    calls += 1;
                }
                while run.backfill().unwrap() != BackfillStep::Done {
                    calls += 1;
                }
                calls + 2
            };
            for nth in 0..calls {
                for polls in 1..STEPS {
                    let rig = rig();
                    let mut run = rig.run_on(PausingStore(rig.store()));
                    for _ in 0..nth {
                        if run.advance().unwrap() == Advance::AtTip {
                            run.backfill().unwrap();
                        }
                    }
                    let now = rig.clock.now();
                    let advanced = poll_times(run.hydrator.advance(now), polls);
                    let walked = poll_times(run.hydrator.backfill(now), polls);
                    run.finish().unwrap();
                    let context = format!("{start:?}, call {nth}, {polls} polls, pages of {limit}");
                    assert_end(&rig.store(), &expected(&log()), &context);
                    assert_eq!(run.progress().resets, 0, "{context}");
                    assert_eq!(invalid_count(&rig), 2, "{context}");
                    if let (Some(advanced), Some(walked)) = (advanced, walked) {
                        advanced.unwrap();
                        walked.unwrap();
                        break;
                    }
                    dropped += 1;
                }
            }
        }
    }
    assert!(dropped > 300, "{dropped} calls were dropped");
}

#[test]
fn a_run_dropped_at_any_await_is_taken_up_by_the_next() {
    for start in [Start::Snapshot, Start::Log] {
        for polls in 1..STEPS {
            let rig = Rig::new(log()).start(start).limit(5).rule(Rule::At(8));
            let mut run = rig.run_on(PausingStore(rig.store()));
            let clock = rig.clock.clone();
            let ended = poll_times(run.hydrator.run(|| clock.now(), |_| ()), polls);
            let mut next = rig.run();
            next.finish().unwrap();
            let context = format!("{start:?}, {polls} polls");
            assert_end(&rig.store(), &expected(&log()), &context);
            assert_eq!(invalid_count(&rig), 2, "{context}");
            if let Some(ended) = ended {
                ended.unwrap();
                assert!(polls > 15, "{polls}");
                break;
            }
        }
    }
}

#[test]
fn generated_logs_end_as_their_actions_say_although_most_calls_are_dropped() {
    for seed in seeds("dropped calls", 100) {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 40);
        let start = [Start::Log, Start::Snapshot][rng.usize(0..2)];
        let rig = Rig::new(log.clone()).start(start).limit(rng.u32(1..8));
        let rig = rig.rule(Rule::At(rng.u64(0..40)));
        let mut run = rig.run_on(PausingStore(rig.store()));
        for _ in 0..200 {
            let now = rig.clock.now();
            let polls = rng.usize(1..25);
            let failed = if rng.bool() {
                poll_times(run.hydrator.advance(now), polls).is_some_and(|it| it.is_err())
            } else {
                poll_times(run.hydrator.backfill(now), polls).is_some_and(|it| it.is_err())
            };
            assert!(!failed, "SEED={seed}");
            rig.clock.pass(rng.u64(0..3));
        }
        run.finish().unwrap();
        assert_end(&rig.store(), &expected(&log), &format!("SEED={seed}"));
    }
}

fn invalid_count(rig: &Rig) -> u64 {
    let status = pollster::block_on(sync_hydrate::Status::load(&rig.store()));
    status.unwrap().unwrap().invalid.values().sum()
}

fn log() -> Vec<Entry> {
    vec![
        add(1, 1),
        add(2, 2),
        remove(3, 1),
        invalid(4, "bad", 1),
        add(5, 1),
        remove(6, 2),
        add(8, 3),
        remove(9, 3),
        add(10, 2),
        invalid(11, "bad", 2),
        add(12, 4),
    ]
}
