//! What the suite would say of a backend that numbers its rows with a plain sequence.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{Direct, unique};

const WRITERS: u64 = 8;
const ROWS: u64 = 300;

/// A number that is taken before the commit becomes visible after a higher one, and a reader that
/// has passed it never sees its row. This is why pages lock their space.
#[test]
fn a_plain_sequence_skips_rows_under_eight_writers() {
    let table = unique();
    let direct = Direct::open().unwrap();
    let create = format!("CREATE TABLE {table} (seq bigserial PRIMARY KEY, writer int8, n int8)");
    direct.run(&create).unwrap();
    let done = AtomicBool::new(false);
    let delivered = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let table = &table;
                scope.spawn(move || {
                    let direct = Direct::open().unwrap();
                    for n in 0..ROWS {
                        let insert =
                            format!("INSERT INTO {table} (writer, n) VALUES ({writer}, {n})");
                        direct.run(&format!("BEGIN; {insert}")).unwrap();
                        thread::sleep(Duration::from_micros(fastrand::u64(0..500)));
                        direct.run("COMMIT").unwrap();
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| follow(&table, &done));
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    let committed = WRITERS * ROWS;
    let skipped = committed - delivered.len() as u64;
    println!(
        "a plain sequence: {committed} rows committed, {} delivered, {skipped} skipped",
        delivered.len()
    );
    direct.run(&format!("DROP TABLE {table}")).unwrap();
    assert!(
        skipped > 0,
        "the control did not skip, so it proves nothing"
    );
}

fn follow(table: &str, done: &AtomicBool) -> BTreeSet<i64> {
    let direct = Direct::open().unwrap();
    let (mut seen, mut after) = (BTreeSet::new(), 0);
    loop {
        let last = done.load(Ordering::SeqCst);
        let select = format!("SELECT seq FROM {table} WHERE seq > {after} ORDER BY seq LIMIT 100");
        let rows = direct.rows(&select).unwrap();
        for row in &rows {
            after = row.get(0);
            seen.insert(after);
        }
        if last && rows.is_empty() {
            return seen;
        }
    }
}
