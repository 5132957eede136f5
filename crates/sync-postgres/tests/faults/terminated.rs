//! Connections that the server ends, at every boundary of a page.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use pollster::block_on;
use sync_core::{ErrorKind, FeedCursor, Retry, SyncStore, SyncStoreExt};
use sync_postgres::fault::Faults;

use crate::{Schema, connect, operation, read, step};

/// A page is tried again as long as its commit was not sent. After that its outcome is unknown.
#[test]
fn a_page_survives_the_end_of_its_connection_at_every_boundary() {
    let schema = Schema::new();
    let marked = format!("terminate {}", schema.name);
    let countdown = Arc::new(AtomicUsize::new(0));
    let met = Arc::new(Mutex::new(None));
    let hook = {
        let (countdown, met, marked) = (countdown.clone(), met.clone(), marked.clone());
        let direct = crate::direct();
        move |boundary: &'static str| {
            let left = countdown.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
            if left == Ok(1) {
                *met.lock().unwrap() = Some(boundary);
                // The hook is called where the driver runs, which must not wait for itself.
                thread::scope(|scope| scope.spawn(|| terminate(&direct, &marked)).join()).unwrap();
            }
            Ok(())
        }
    };
    let (mut server, _) = crate::server::server();
    server.application_name(&marked);
    let config = sync_postgres::PostgresConfig::new(server)
        .tls(sync_postgres::Tls::Disable)
        .schema(&schema.name)
        .faults(Faults::at_boundaries(Arc::new(hook)));
    let store = connect(config);
    let (mut applied, mut unknown) = (0, Vec::new());
    let _ = block_on(store.apply(step(0))).unwrap();
    for k in 1..200_u64 {
        countdown.store(usize::try_from(k).unwrap(), Ordering::SeqCst);
        *met.lock().unwrap() = None;
        let answer = block_on(store.apply(step(k)));
        let boundary = *met.lock().unwrap();
        match answer {
            Ok(_) => applied += 1,
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::UnknownOutcome, "{error:?}");
                assert_eq!(error.retry(), Retry::IfSafe);
                unknown.push(boundary.unwrap());
                // A page with a precondition may be sent again.
                let again = block_on(store.apply(step(k)));
                let again = again.map(drop).map_err(|error| error.kind().clone());
                assert!(
                    matches!(again, Ok(()) | Err(ErrorKind::Conflict(_))),
                    "{again:?}"
                );
            }
        }
        let rows = read(&store, FeedCursor::Beginning).unwrap().entries;
        let expected: Vec<_> = (0..=k).map(|n| operation(n).id).collect();
        let found: Vec<_> = rows.iter().map(|entry| entry.id).collect();
        assert_eq!(found, expected, "after the end at {boundary:?}");
        if boundary.is_none() {
            println!("{applied} pages answered; unknown when ended at {unknown:?}");
            assert!(k > 6, "a page with {k} boundaries");
            // Rows and commit of a page of new operations are sent together; where the server ends
            // the connection before it has come to the commit, it says so, and the page is tried
            // again.
            let together = ["unset", "set", "save_counter", "commit"];
            assert!(
                unknown.iter().all(|at| together.contains(at)),
                "{unknown:?}"
            );
            assert!(block_on(store.verify()).unwrap().is_clean());
            return;
        }
    }
    panic!("a page with 200 boundaries");
}

fn terminate(direct: &crate::Direct, application: &str) {
    direct
        .run(&format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE application_name = '{application}'"
        ))
        .unwrap();
}
