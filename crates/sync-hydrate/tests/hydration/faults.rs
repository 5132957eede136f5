//! Stores that fail in the middle of a page, or after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_core::{Error as StoreError, ErrorKind as StoreErrorKind};
use sync_hydrate::{ErrorKind, Start};
use sync_memory::MemoryConfig;

use crate::kit::{Entry, Rig, Rule, add, assert_end, expected, invalid, nothing, remove};

#[test]
fn a_store_that_fails_at_any_step_of_any_page_leaves_hydration_in_order() {
    let mut failed = 0;
    for start in [Start::Snapshot, Start::Log] {
        for restart in [false, true] {
            for limit in [2, 500] {
                for step in 0.. {
                    let context = format!("{start:?}, pages of {limit}, step {step}");
                    let (rig, steps) = rig(start, limit, step);
                    let mut run = rig.run();
                    let ended = run.finish();
                    if steps.load(Ordering::SeqCst) <= step {
                        break;
                    }
                    if let Err(error) = ended {
                        failed += 1;
                        assert_eq!(*error.kind(), ErrorKind::Store, "{context}: {error:?}");
                        assert!(error.is_retryable(), "{context}: {error:?}");
                        assert!(error.store_error().is_some(), "{context}");
                        if restart {
                            run = rig.run();
                        }
                        run.finish().unwrap();
                    }
                    assert_end(&rig.store(), &expected(&log()), &context);
                    let counted = status(&rig).invalid.values().sum::<u64>();
                    assert_eq!(counted, 2, "{context}");
                }
            }
        }
    }
    assert!(failed > 200, "{failed} steps failed");
}

#[test]
fn an_error_of_the_store_that_no_retry_helps_is_not_retryable() {
    let config = MemoryConfig::new().on_boundary(Arc::new(|step| match step {
        "commit" => Err(StoreError::new(StoreErrorKind::ReadOnly)),
        _ => Ok(()),
    }));
    let rig = Rig::new(log()).on(config);
    let error = rig.run().advance().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Store);
    assert!(!error.is_retryable());
}

/// A rig whose store fails once, at the given step of all steps of its pages, and the number of
/// steps so far.
fn rig(start: Start, limit: u32, failing: usize) -> (Rig, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&steps);
    let config = MemoryConfig::new().on_boundary(Arc::new(move |_| {
        if counter.fetch_add(1, Ordering::SeqCst) == failing {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        }
        Ok(())
    }));
    let rig = Rig::new(log()).start(start).limit(limit).rule(Rule::At(7));
    (rig.on(config), steps)
}

fn status(rig: &Rig) -> sync_hydrate::Status {
    let store = rig.store();
    pollster::block_on(sync_hydrate::Status::load(&store))
        .unwrap()
        .unwrap()
}

fn log() -> Vec<Entry> {
    vec![
        add(1, 1),
        add(2, 2),
        remove(3, 1),
        invalid(4, "bad", 1),
        add(5, 1),
        remove(6, 3),
        add(7, 4),
        nothing(8),
        remove(9, 2),
        add(10, 5),
        invalid(11, "bad", 2),
        add(12, 2),
        remove(13, 4),
    ]
}
