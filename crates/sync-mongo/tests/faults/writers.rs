//! Writers of several backends, which the server refuses instead of letting them queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{Backend, Page, SpaceName, SyncStore, SyncStoreExt};
use sync_mongo::MongoBackend;

use crate::kit::{delivered, id, operation};
use crate::server::TestDatabase;

#[test]
fn a_large_page_and_many_small_ones_do_not_starve_each_other() {
    const LARGE: u64 = 10_000;
    let database = TestDatabase::new();
    let config = database.config();
    let _ = block_on(MongoBackend::migrate(&config)).unwrap();
    let open = || {
        let space = SpaceName::new("space").unwrap();
        let backend = block_on(MongoBackend::connect(config.clone())).unwrap();
        block_on(backend.open(&space)).unwrap()
    };
    let done = AtomicBool::new(false);
    let (pages, took) = thread::scope(|scope| {
        let done = &done;
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let store = open();
                scope.spawn(move || {
                    let mut pages = 0;
                    while !done.load(Ordering::SeqCst) || pages < 5 {
                        let n = (writer + 1) * 1_000_000 + pages;
                        let _ = block_on(store.apply(Page::new().upsert(operation(n)))).unwrap();
                        pages += 1;
                    }
                    pages
                })
            })
            .collect();
        // They write already when the large page comes.
        thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        let page = Page::new().upserts((0..LARGE).map(operation));
        let applied = block_on(open().apply(page)).unwrap();
        let took = began.elapsed();
        assert_eq!(applied.totals().inserted, LARGE);
        done.store(true, Ordering::SeqCst);
        let pages: Vec<u64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        (pages, took)
    });
    println!("the large page took {took:?}; pages of the others: {pages:?}");
    let store = open();
    let found = delivered(&store).unwrap();
    assert_eq!(found.len() as u64, LARGE + pages.iter().sum::<u64>());
    // The seqs of one page follow each other, although others wrote at the same time.
    let first = found.iter().position(|found| *found == id(0)).unwrap();
    let run = &found[first..first + usize::try_from(LARGE).unwrap()];
    assert!(run.iter().copied().eq((0..LARGE).map(id)));
    assert!(block_on(store.verify()).unwrap().is_clean());
}
