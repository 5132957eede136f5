//! The write-ahead log ends anywhere: after a crash that is what may be left of it.

use std::fs;
use std::path::Path;

use pollster::block_on;
use sync_core::{SyncStore, SyncStoreExt};
use sync_sqlite::{Durability, SqliteConfig};

use crate::{migrated, open, page, position};

/// Bytes of the log's header, and of a frame's.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGES: u64 = 12;
const ROWS: u64 = 40;

/// Opens a copy of the file with this log: the space must be sound, its rows those of the cursor.
fn rows_with(file: &Path, log: &[u8], what: &str) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    fs::copy(file, &copy).unwrap();
    fs::write(dir.path().join("copy.db-wal"), log).unwrap();
    let store = open(&SqliteConfig::new(&copy).durability(Durability::Process));
    let rows = position(&store);
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.findings);
    assert_eq!(report.rows, rows, "{what}: rows, and what the cursor says");
    // And it goes on from there.
    let _ = block_on(store.apply(page(rows, rows + ROWS))).unwrap();
    assert_eq!(position(&store), rows + ROWS, "{what}");
    rows
}

#[test]
fn a_log_that_was_cut_or_damaged_anywhere_keeps_rows_and_cursor_together() {
    let dir = tempfile::tempdir().unwrap();
    let config = migrated(&dir.path().join("a.db"));
    let store = open(&config);
    for n in 0..PAGES {
        let _ = block_on(store.apply(page(n * ROWS, (n + 1) * ROWS))).unwrap();
    }
    // The handle is still open, so that nothing has been moved from the log into the file.
    let log = fs::read(dir.path().join("a.db-wal")).unwrap();
    let frame = FRAME_HEADER + 8_192;
    let frames = (log.len() - LOG_HEADER) / frame;
    assert_eq!(
        LOG_HEADER + frames * frame,
        log.len(),
        "the log has other frames"
    );
    assert!(frames as u64 > 2 * PAGES, "only {frames} frames");

    let file = config.path();
    let mut ends = Vec::new();
    for n in 0..frames {
        let start = LOG_HEADER + n * frame;
        let rows = rows_with(file, &log[..start], &format!("cut before frame {n}"));
        for end in [
            start + FRAME_HEADER / 2,
            start + FRAME_HEADER,
            start + frame / 2,
            start + frame - 1,
        ] {
            let what = format!("cut at byte {end}, in frame {n}");
            assert_eq!(rows_with(file, &log[..end], &what), rows, "{what}");
        }
        let mut damaged = log.clone();
        damaged[start + frame / 2] ^= 1;
        let what = format!("damaged in frame {n}");
        assert_eq!(rows_with(file, &damaged, &what), rows, "{what}");
        ends.push(rows);
    }
    ends.push(rows_with(file, &log, "the whole log"));
    for header in [0, 1, LOG_HEADER - 1] {
        assert_eq!(
            rows_with(file, &log[..header], "cut in the log's header"),
            0
        );
    }
    println!("{frames} frames, rows after a cut before each: {ends:?}");
    assert!(ends.is_sorted());
    ends.dedup();
    let wanted: Vec<u64> = (0..=PAGES).map(|n| n * ROWS).collect();
    assert_eq!(ends, wanted, "every page can be the last one");
}
