//! Full pools, timeouts, locks and conflicts on a healthy server.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{Backend, ErrorKind, FeedCursor, Limit, Page, Payloads, Retry, SyncStore};
use sync_postgres::deadpool_postgres::{Manager, Pool, Runtime};
use sync_postgres::fault::{Faults, Work};
use sync_postgres::tokio_postgres::NoTls;
use sync_postgres::{PostgresBackend, PostgresConfig};
use tokio::runtime::Builder;

use crate::{Schema, connect, name, operation, read, step};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_pool_that_others_have_emptied_is_a_timeout_and_serves_again() {
    let schema = Schema::new();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = Manager::new(crate::server::server().0, NoTls);
    let pool = Pool::builder(manager)
        .max_size(2)
        .runtime(Runtime::Tokio1)
        .build()
        .unwrap();
    let config = PostgresConfig::from_pool(pool.clone())
        .schema(&schema.name)
        .pool_timeout(SHORT);
    let store = connect(config);
    let _ = block_on(store.apply(step(0))).unwrap();
    let held = runtime.block_on(async { (pool.get().await.unwrap(), pool.get().await.unwrap()) });
    for error in [
        block_on(store.stats()).unwrap_err(),
        block_on(store.apply(step(1))).unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Timeout, Retry::Later),
            "{error}"
        );
        assert!(error.to_string().contains("in use"), "{error}");
    }
    drop(held);
    let _ = block_on(store.apply(step(1))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 2);
}

/// Pages that wait leave the other half of the pool to readers.
#[test]
fn writers_that_wait_leave_connections_to_readers() {
    let schema = Schema::new();
    let backend = block_on(PostgresBackend::connect(
        schema.config().pool_size(2).pool_timeout(SHORT),
    ))
    .unwrap();
    let store = block_on(backend.open(&name())).unwrap();
    let _ = block_on(store.apply(step(0))).unwrap();
    let lock = crate::direct();
    let select = format!("SELECT 1 FROM {}.space FOR UPDATE", schema.name);
    lock.run(&format!("BEGIN; {select}")).unwrap();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let store = store.clone();
                scope.spawn(move || block_on(store.apply(Page::new().upsert(operation(7)))))
            })
            .collect();
        std::thread::sleep(SHORT);
        assert_eq!(block_on(store.stats()).unwrap().total, 1);
        assert_eq!(
            read(&store, FeedCursor::Beginning).unwrap().entries.len(),
            1
        );
        lock.run("COMMIT").unwrap();
        for waiting in waiting {
            let _ = waiting.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_space_that_another_program_keeps_locked_is_busy_and_nothing_is_written() {
    let schema = Schema::new();
    let config = schema
        .config()
        .lock_timeout(SHORT)
        .retry_timeout(Duration::ZERO);
    let store = connect(config);
    let _ = block_on(store.apply(step(0))).unwrap();
    let lock = crate::direct();
    let select = format!("SELECT 1 FROM {}.space FOR UPDATE", schema.name);
    lock.run(&format!("BEGIN; {select}")).unwrap();
    let begun = Instant::now();
    let error = block_on(store.apply(step(1))).unwrap_err();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < Duration::from_secs(10));
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Busy, Retry::Later),
        "{error}"
    );
    assert_eq!(block_on(store.stats()).unwrap().total, 1);
    lock.run("COMMIT").unwrap();
    let _ = block_on(store.apply(step(1))).unwrap();
}

/// Makes every page of the schema run `body` when it moves its counters.
fn on_every_page(schema: &Schema, body: &str) {
    let name = &schema.name;
    crate::direct()
        .run(&format!(
            "CREATE SEQUENCE {name}.attempts;
             CREATE OR REPLACE FUNCTION {name}.trouble() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN {body}; RETURN NEW; END $$;
             CREATE OR REPLACE TRIGGER trouble BEFORE UPDATE ON {name}.counter
               FOR EACH ROW EXECUTE FUNCTION {name}.trouble()"
        ))
        .unwrap();
}

#[test]
fn a_statement_that_takes_too_long_is_a_timeout_and_nothing_is_written() {
    let schema = Schema::new();
    let store = connect(schema.config().statement_timeout(SHORT));
    let _ = block_on(store.apply(step(0))).unwrap();
    on_every_page(&schema, "PERFORM pg_sleep(5)");
    let error = block_on(store.apply(step(1))).unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Timeout, Retry::Later),
        "{error}"
    );
    assert_eq!(block_on(store.stats()).unwrap().total, 1);
    let drop = format!("DROP TRIGGER trouble ON {}.counter", schema.name);
    crate::direct().run(&drop).unwrap();
    let _ = block_on(store.apply(step(1))).unwrap();
}

#[test]
fn conflicts_that_pass_are_tried_again_and_others_surface_as_retryable() {
    let schema = Schema::new();
    let store = connect(schema.config().retry_timeout(Duration::from_secs(2)));
    let _ = block_on(store.apply(step(0))).unwrap();
    let name = &schema.name;
    let conflict = "RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'";
    // A sequence does not roll back, so it counts the attempts.
    on_every_page(
        &schema,
        &format!("IF nextval('{name}.attempts') <= 3 THEN {conflict}; END IF"),
    );
    let _ = block_on(store.apply(step(1))).unwrap();
    let attempts = format!("SELECT last_value FROM {name}.attempts");
    let attempts: i64 = crate::direct().rows(&attempts).unwrap()[0].get(0);
    assert_eq!(attempts, 4);

    let forever = format!(
        "CREATE OR REPLACE FUNCTION {name}.trouble() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN {conflict}; END $$"
    );
    crate::direct().run(&forever).unwrap();
    let begun = Instant::now();
    let error = block_on(store.apply(step(2))).unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a bound for that"
    );
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Busy, Retry::Later),
        "{error}"
    );
    assert_eq!(block_on(store.stats()).unwrap().total, 2);
}

/// A page of new operations alone, after others of that kind, is written without a look-up; where one
/// of them is known, the page is tried again with a look-up.
#[test]
fn a_page_that_was_taken_for_new_and_is_not_ends_as_any_other() {
    let schema = Schema::new();
    let ways = Work::default();
    let counting = Faults::default().count_ways(ways.clone());
    let store = connect(schema.config().faults(counting));
    let pages: Vec<Page> = (0..6)
        .map(|n| Page::new().upserts((10 * n..10 * n + 10).map(operation)))
        .collect();
    for page in &pages {
        let applied = block_on(store.apply(page.clone())).unwrap();
        assert_eq!(applied.totals().inserted, 10);
    }
    let runs = |way: &str| ways.take().remove(way).map(|cost| cost.runs);
    assert_eq!(runs("blind"), Some(4), "after two planned pages");
    let mixed = Page::new().upserts((55..65).map(operation));
    let totals = block_on(store.apply(mixed)).unwrap().totals();
    assert_eq!((totals.inserted, totals.unchanged), (5, 5));
    assert_eq!(runs("planned"), Some(1));
    let page = block_on(store.feed(FeedCursor::Beginning, Limit::rows(100), Payloads::Skip));
    let seqs: Vec<u64> = page
        .unwrap()
        .entries
        .iter()
        .map(|e| e.seq.value())
        .collect();
    assert_eq!(seqs, (1..=65).collect::<Vec<_>>());
}

#[test]
fn another_programs_tables_are_foreign_and_left_alone() {
    let schema = Schema {
        name: crate::unique(),
    };
    let name = &schema.name;
    let direct = crate::direct();
    direct
        .run(&format!(
            "CREATE SCHEMA {name}; CREATE TABLE {name}.space (theirs int)"
        ))
        .unwrap();
    let connected = block_on(PostgresBackend::connect(schema.config())).unwrap_err();
    let migrated = block_on(PostgresBackend::migrate(&schema.config())).unwrap_err();
    for error in [connected, migrated] {
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
    }
    let tables = format!("SELECT 1 FROM pg_tables WHERE schemaname = '{name}'");
    assert_eq!(direct.rows(&tables).unwrap().len(), 1);
}
