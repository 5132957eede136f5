//! Processes that end after any page, and several of them at once.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use fastrand::Rng;
use pollster::block_on;
use sync_core::SyncOrder;
use sync_hydrate::{Advance, BackfillStep, Phase, Status};

use crate::kit::{
    PausingStore, Rig, Rule, STEPS, add, assert_end, assert_same_end, expected, one_call_a_process,
    poll_times, random_log, seeds,
};

#[test]
fn hydration_goes_on_where_a_process_ended_after_every_page() {
    let log = random_log(&mut Rng::with_seed(5), 60);
    for limit in [1, 7, 500] {
        for pause in [0, 1, 30, 100] {
            let rig = Rig::new(log.clone()).limit(limit).rule(Rule::At(25));
            let context = format!("pages of {limit}, {pause} s between");
            let calls = one_call_a_process(&rig, pause, || rig.store());
            let pages = 3 + 60 / limit as usize + 1;
            assert!(calls <= pages, "{context}: {calls} calls");
            assert_end(&rig.store(), &expected(&log), &context);
        }
    }
}

#[test]
fn generated_logs_end_as_their_actions_say_with_one_call_a_process() {
    for seed in seeds("one call a process", 60) {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 40);
        let checkpoint = rng.u64(0..=log.last().unwrap().seq);
        let rig = Rig::new(log.clone())
            .limit(rng.u32(1..6))
            .rule(Rule::At(checkpoint));
        one_call_a_process(&rig, rng.u64(0..100), || rig.store());
        assert_end(&rig.store(), &expected(&log), &format!("SEED={seed}"));
    }
}

#[test]
fn runs_that_never_live_for_long_enough_to_read_again_what_is_open_end_their_walk() {
    let log: Vec<_> = (1..=200).map(|n| add(u64::from(n), n)).collect();
    let rig = Rig::new(log).limit(5).rule(Rule::At(100));
    let clock = rig.clock.clone();
    let walks_on = |_: &u32| {
        let mut run = rig.run_on(PausingStore(rig.store()));
        let run = run.hydrator.run(|| clock.now(), |_| ());
        assert!(poll_times(run, 40).is_none(), "a whole run is that short");
        let status = block_on(Status::load(&rig.store())).unwrap();
        status.is_none_or(|status| status.phase != Phase::Current)
    };
    let runs = (0..500).take_while(walks_on).count();
    assert!(runs < 500, "no end");
}

#[test]
fn a_process_that_begins_again_goes_on_in_the_snapshot_where_the_last_one_ended() {
    let log: Vec<_> = (1..=30).map(|n| add(u64::from(n), n).about(n)).collect();
    let rig = Rig::new(log).limit(3);
    let mut steps = 0;
    while rig.run().advance().unwrap() == Advance::Snapshot {
        steps += 1;
    }
    assert_eq!(steps, 10);
}

#[test]
fn a_space_at_its_end_stays_as_it_is_through_any_number_of_restarts() {
    let rig = Rig::new(random_log(&mut Rng::with_seed(6), 60)).limit(7);
    let mut end = rig.finish();
    for restart in 0..5 {
        rig.clock.pass(1000);
        let found = rig.finish();
        assert_eq!(found.head, end.head);
        // What was published last has settled since: that is written down once.
        if restart > 0 {
            assert_eq!(found, end);
        }
        end = found;
    }
}

#[test]
fn two_hydrators_of_one_space_never_move_its_cursor_back() {
    let mut conflicts = 0;
    for seed in seeds("two hydrators", 60) {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 80);
        let rig = Rig::new(log.clone())
            .limit(rng.u32(1..8))
            .rule(Rule::At(rng.u64(0..60)));
        let mut runs = [0, 1].map(|_| rig.run_on(PausingStore(rig.store())));
        {
            let [first, second] = &mut runs;
            let now = rig.clock.now();
            let end = async |run: &mut crate::kit::Run<_>| {
                for _ in 0..2 {
                    while run.hydrator.advance(now).await.unwrap() != Advance::AtTip {}
                    while run.hydrator.backfill(now).await.unwrap() != BackfillStep::Done {}
                }
            };
            let (mut first, mut second) = (pin!(end(first)), pin!(end(second)));
            let mut running: Vec<Pin<&mut dyn Future<Output = ()>>> =
                vec![first.as_mut(), second.as_mut()];
            let mut context = Context::from_waker(Waker::noop());
            let mut cursor = None;
            for _ in 0..10 * STEPS {
                if running.is_empty() {
                    break;
                }
                let n = rng.usize(0..running.len());
                for _ in 0..rng.usize(1..30) {
                    if running[n].as_mut().poll(&mut context).is_ready() {
                        let _ended = running.remove(n);
                        break;
                    }
                }
                let now: Option<SyncOrder> = block_on(Status::load(&rig.store()))
                    .unwrap()
                    .and_then(|status| status.cursor);
                assert!(now >= cursor, "SEED={seed}: from {cursor:?} to {now:?}");
                cursor = now;
            }
            assert!(running.is_empty(), "SEED={seed}: no end");
        }
        conflicts += runs.iter().map(|run| run.progress().conflicts).sum::<u64>();
        for run in &runs {
            assert_eq!(run.progress().phase, Phase::Current, "SEED={seed}");
            assert_eq!(run.progress().resets, 0, "SEED={seed}");
        }
        let context = format!("SEED={seed}");
        let alone = rig.fresh().finish();
        assert_same_end(&alone.end, &expected(&log), &context);
        assert_same_end(&rig.dump().end, &alone.end, &context);
    }
    assert!(conflicts > 0);
}

#[test]
fn a_hydrator_that_another_was_ahead_of_counts_it_and_goes_on() {
    let log: Vec<_> = (1..=20).map(|n| add(u64::from(n), n)).collect();
    let rig = Rig::new(log.clone()).log_only().limit(5);
    let mut slow = rig.run_on(PausingStore(rig.store()));
    let now = rig.clock.now();
    {
        let mut page = pin!(slow.hydrator.advance(now));
        let mut context = Context::from_waker(Waker::noop());
        // It has the first page of the log in its hands when another stores it.
        while rig.source.calls() == 0 {
            assert!(page.as_mut().poll(&mut context).is_pending());
        }
        rig.run().reach_tip().unwrap();
        block_on(page).unwrap();
    }
    assert_eq!(slow.progress().conflicts, 1);
    slow.finish().unwrap();
    assert_eq!(slow.progress().conflicts, 1);
    assert_end(&rig.store(), &expected(&log), "two hydrators");
}
