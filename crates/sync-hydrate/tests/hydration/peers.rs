//! Peers that bring rows while a space is filled from its source.

use fastrand::Rng;
use pollster::block_on;
use sync_core::{Page, SyncStore};
use sync_hydrate::Start;

use crate::kit::{
    Clock, Record, Rig, RowDump, Rule, assert_same_end, expected, id, object_of, random_log, seeds,
};

/// Logs have ids up to 10: the rest is only peers'.
const IDS: u16 = 13;

#[test]
fn what_peers_bring_changes_nothing_of_what_the_source_says() {
    for seed in seeds("peers", 300) {
        let mut rng = Rng::with_seed(seed);
        let rows = rng.usize(0..60);
        let mut log = random_log(&mut rng, rows);
        let complete = log.clone();
        let mut rest = log.split_off(rng.usize(0..=log.len()));
        let mut rig = Rig::new(log);
        rig.source.script().rule = [Rule::Frozen, Rule::Live][rng.usize(0..2)].clone();
        rig.config.start = [Start::Snapshot, Start::Log][rng.usize(0..2)];
        rig.config.page_limit = [1, 3, 100][rng.usize(0..3)];
        let mut run = rig.run();
        for _ in 0..rng.usize(0..100) {
            match rng.u8(0..10) {
                0..4 => _ = run.advance().unwrap(),
                4..6 => _ = run.backfill().unwrap(),
                6..7 => rig
                    .source
                    .push(rest.drain(..rng.usize(0..=rest.len().min(6)))),
                7..8 => run = rig.run(),
                8..9 => rig.clock.pass(rng.u64(0..100)),
                _ => bring(&rig, rng.u16(1..=IDS), rng.u8(0..2)),
            }
        }
        rig.source.push(rest);
        rig.finish();
        // What came in after the last walk waits a day for the next one.
        rig.clock.pass(Clock::DAY + 1);
        let mut found = rig.finish().end;
        let expected = expected(&complete);
        let strangers = (1..=IDS)
            .map(id)
            .filter(|id| !expected.rows.contains_key(id) && !expected.tombstones.contains_key(id));
        for id in strangers {
            if let Some(RowDump { order, .. }) = found.rows.remove(&id) {
                assert_eq!(order, None, "SEED={seed}: the log says nothing of {id}");
            }
        }
        assert_same_end(&found, &expected, &format!("SEED={seed}"));
    }
}

/// What a peer brings carries no order, and moves no row.
fn bring(rig: &Rig, id: u16, variant: u8) {
    let record = Record {
        id,
        object: object_of(id),
        variant,
    };
    let page = Page::new().upsert(record.operation());
    let _ = block_on(rig.store().apply(page)).unwrap();
}
