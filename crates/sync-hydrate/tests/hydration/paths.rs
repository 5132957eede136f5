//! Generated logs: every path ends the same.

use fastrand::Rng;
use sync_hydrate::{Advance, Start};
use sync_memory::MemoryStore;

use crate::kit::{
    Entry, PausingStore, Rig, Rule, Run, assert_same, assert_same_end, expected, poll_times,
    random_log, seeds,
};

const LIMITS: [u32; 6] = [1, 2, 3, 7, 100, 500];

#[test]
fn five_hundred_logs_read_from_zero_end_as_their_actions_say() {
    for seed in seeds("from zero", 500) {
        let mut rng = Rng::with_seed(seed);
        let log = log(&mut rng);
        let mut rig = Rig::new(log.clone()).log_only();
        restarting(&mut rng, &mut rig, |run| run.tip_within(3));
        let context = format!("SEED={seed}");
        assert_same_end(&rig.finish().end, &expected(&log), &context);
    }
}

#[test]
fn five_hundred_logs_end_the_same_over_a_snapshot_changes_and_backfill() {
    for seed in seeds("snapshot, changes, backfill", 500) {
        let mut rng = Rng::with_seed(seed);
        let mut log = log(&mut rng);
        let complete = log.clone();
        let rest = log.split_off(rng.usize(0..=log.len()));
        let rule = [Rule::Frozen, Rule::Live][rng.usize(0..2)].clone();
        let mut rig = Rig::new(log).rule(rule);
        restarting(&mut rng, &mut rig, |run| run.snapshot_within(3));
        rig.source.push(rest);
        restarting(&mut rng, &mut rig, |run| run.tip_within(3));
        restarting(&mut rng, &mut rig, |run| run.walk_within(3));
        let context = format!("SEED={seed}");
        assert_same_end(&rig.finish().end, &expected(&complete), &context);
    }
}

#[test]
fn five_hundred_logs_end_the_same_with_backfill_and_changes_interleaved_at_random() {
    for seed in seeds("interleaved", 500) {
        let mut rng = Rng::with_seed(seed);
        let mut log = log(&mut rng);
        let complete = log.clone();
        let mut rest = log.split_off(rng.usize(0..=log.len()));
        let rule = [Rule::Frozen, Rule::Live][rng.usize(0..2)].clone();
        let mut rig = Rig::new(log).rule(rule);
        rig.config.start = [Start::Snapshot, Start::Log][usize::from(rng.u8(0..10) == 0)];
        let mut run = rig.run_on(PausingStore(rig.store()));
        for _ in 0..rng.usize(0..200) {
            match rng.u8(0..100) {
                0..35 => _ = run.advance().unwrap(),
                35..65 => _ = run.backfill().unwrap(),
                65..75 => rig
                    .source
                    .push(rest.drain(..rng.usize(0..=rest.len().min(6)))),
                75..85 => {
                    cancel(&mut rng, &mut run);
                }
                85..92 => {
                    rig.config.page_limit = limit(&mut rng);
                    run = rig.run_on(PausingStore(rig.store()));
                }
                _ => rig.clock.pass(rng.u64(0..20)),
            }
        }
        rig.source.push(rest);
        assert_eq!(run.progress().resets, 0, "SEED={seed}");
        let context = format!("SEED={seed}");
        assert_same_end(&rig.finish().end, &expected(&complete), &context);
    }
}

#[test]
fn the_size_of_a_page_changes_nothing() {
    for seed in seeds("page sizes", 6) {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 700);
        let expected = expected(&log);
        let from_zero = Rig::new(log.clone()).log_only().limit(1).finish();
        for limit in [1, 7, 100, 500, 5000] {
            let context = format!("SEED={seed}, pages of {limit}");
            let rig = Rig::new(log.clone()).limit(limit);
            let snapshot = rig.fresh().rule(Rule::At(rng.u64(0..800))).finish();
            assert_same_end(&snapshot.end, &expected, &context);
            let found = rig.log_only().finish();
            assert_same_end(&found.end, &expected, &context);
            assert_same(&found, &from_zero, &context);
        }
    }
}

#[test]
fn a_source_that_answers_shorter_pages_than_asked_changes_nothing() {
    let mut rng = Rng::with_seed(1);
    let log = random_log(&mut rng, 200);
    let expected = expected(&log);
    let rig = Rig::new(log).rule(Rule::At(90));
    rig.source.script().max_limit = 3;
    assert_same_end(&rig.finish().end, &expected, "pages of 3, asked for 500");
}

fn log(rng: &mut Rng) -> Vec<Entry> {
    let rows = rng.usize(0..80);
    random_log(rng, rows)
}

fn limit(rng: &mut Rng) -> u32 {
    LIMITS[rng.usize(0..LIMITS.len())]
}

/// Runs `part` with new hydrators, of other page sizes, until it says that it is at its end.
fn restarting(rng: &mut Rng, rig: &mut Rig, part: impl Fn(&mut Run<MemoryStore>) -> bool) {
    for _ in 0..crate::kit::STEPS {
        rig.config.page_limit = limit(rng);
        // A process that begins again within a second, again and again, is in `resume`.
        rig.clock.pass(rng.u64(20..100));
        let mut run = rig.run();
        let ended = part(&mut run);
        assert_eq!(run.progress().resets, 0);
        if ended {
            return;
        }
    }
    panic!("no end");
}

/// Drops a call at a random await.
fn cancel(rng: &mut Rng, run: &mut Run<PausingStore<MemoryStore>>) {
    let polls = rng.usize(1..12);
    let now = run.clock.now();
    if rng.bool() {
        poll_times(run.hydrator.advance(now), polls)
            .transpose()
            .unwrap();
    } else {
        poll_times(run.hydrator.backfill(now), polls)
            .transpose()
            .unwrap();
    }
}

impl Run<MemoryStore> {
    fn tip_within(&mut self, steps: usize) -> bool {
        (0..steps).any(|_| self.advance().unwrap() == Advance::AtTip)
    }

    fn snapshot_within(&mut self, steps: usize) -> bool {
        (0..steps).any(|_| self.advance().unwrap() != Advance::Snapshot)
    }

    fn walk_within(&mut self, steps: usize) -> bool {
        (0..steps).any(|_| self.backfill().unwrap() == sync_hydrate::BackfillStep::Done)
    }
}
