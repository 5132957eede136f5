use pollster::block_on;
use sync_core::{
    ErrorKind, OpId, Operation, Page, Seq, SeqRange, StateKey, SyncStore, SyncStoreExt, Ts,
};

use super::*;

fn name(name: &str) -> SpaceName {
    SpaceName::new(name).unwrap()
}

fn operation(n: u32) -> Operation {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Operation::new(OpId::new(id), Ts::ZERO, "payload")
}

fn filled(rows: u32) -> Page {
    let key = StateKey::new("key").unwrap();
    Page::new().upserts((0..rows).map(operation)).set(key, "")
}

#[test]
fn a_clone_is_a_second_handle_and_another_connect_is_another_database() {
    block_on(async {
        let backend = MemoryBackend::connect(MemoryConfig::new()).await.unwrap();
        let other = MemoryBackend::connect(MemoryConfig::new()).await.unwrap();
        let store = backend.open(&name("a")).await.unwrap();
        let _ = store.put(operation(1)).await.unwrap();
        let clone = backend.clone().open(&name("a")).await.unwrap();
        assert_eq!(clone.stats().await.unwrap().total, 1);
        assert_eq!(other.spaces(None, 10).await.unwrap(), []);
    });
}

#[test]
fn the_data_outlives_the_backend_as_long_as_a_store_is_held() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        let store = backend.open(&name("a")).await.unwrap();
        drop(backend);
        let _ = store.put(operation(1)).await.unwrap();
        assert_eq!(store.stats().await.unwrap().total, 1);
    });
}

#[test]
fn only_spaces_that_were_written_to_and_not_dropped_are_listed() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        for space in ["b", "a", "opened", "c"] {
            let store = backend.open(&name(space)).await.unwrap();
            if space != "opened" {
                let _ = store.put(operation(1)).await.unwrap();
            }
        }
        assert!(backend.drop_space(&name("b")).await.unwrap());
        assert!(!backend.drop_space(&name("b")).await.unwrap());
        assert!(!backend.drop_space(&name("never")).await.unwrap());
        let all = backend.spaces(None, 10).await.unwrap();
        assert_eq!(all, [name("a"), name("c")]);
        assert_eq!(backend.spaces(None, 1).await.unwrap(), [name("a")]);
        let after = backend.spaces(Some(&name("a")), 10).await.unwrap();
        assert_eq!(after, [name("c")]);
    });
}

#[test]
fn a_reset_leaves_the_old_rows_to_the_sweep_which_takes_no_more_than_asked() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        let store = backend.open(&name("a")).await.unwrap();
        let _ = store.apply(filled(9)).await.unwrap();
        let _ = store.apply(Page::new().reset()).await.unwrap();
        let _ = store.apply(filled(3).reset()).await.unwrap();
        let swept = |removed, more| Swept { removed, more };
        assert_eq!(backend.sweep(0).await.unwrap(), swept(0, true));
        // Nine rows and a value are left of the first incarnation, nothing of the second.
        assert_eq!(backend.sweep(4).await.unwrap(), swept(4, true));
        assert_eq!(backend.sweep(5).await.unwrap(), swept(5, true));
        assert_eq!(backend.sweep(5).await.unwrap(), swept(1, false));
        assert_eq!(backend.sweep(5).await.unwrap(), swept(0, false));
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.total, stats.head), (3, Seq::new(12).unwrap()));
        assert!(store.verify().await.unwrap().is_clean());

        assert!(backend.drop_space(&name("a")).await.unwrap());
        assert_eq!(backend.sweep(100).await.unwrap(), swept(4, false));
    });
}

#[test]
fn pages_sweep_what_resets_leave_behind_without_being_asked() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        let store = backend.open(&name("a")).await.unwrap();
        for _ in 0..3 {
            let _ = store.apply(filled(500).reset()).await.unwrap();
        }
        let _ = store.put(operation(1_000)).await.unwrap();
        let swept = backend.sweep(usize::MAX).await.unwrap();
        assert_eq!(swept.removed, 2 * 501 - 1_001);
        assert!(!swept.more);
    });
}

#[test]
fn a_sweep_takes_nothing_from_a_reader_that_still_holds_the_old_snapshot() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        let store = backend.open(&name("a")).await.unwrap();
        let _ = store.apply(filled(9)).await.unwrap();
        let snapshot = store.read().unwrap();
        let _ = store.apply(Page::new().reset()).await.unwrap();
        assert_eq!(backend.sweep(100).await.unwrap().removed, 10);
        assert_eq!(snapshot.rows.len(), 9);
        assert_eq!(crate::check::check(&snapshot), Vec::<String>::new());
    });
}

#[test]
fn the_last_seq_is_minted_and_one_more_is_refused_with_nothing_written() {
    block_on(async {
        let backend = MemoryBackend::new(MemoryConfig::new());
        let store = backend.open(&name("a")).await.unwrap();
        let error = backend.set_head(&name("a"), Seq::MAX).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NotFound);
        let _ = store.put(operation(1)).await.unwrap();
        let error = backend.set_head(&name("a"), Seq::ZERO).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::InvalidInput { what: "head" }
        ));

        let last_but_one = Seq::new(Seq::MAX.value() - 1).unwrap();
        backend.set_head(&name("a"), last_but_one).unwrap();
        let two = Page::new().upserts([operation(2), operation(3)]);
        let error = store.apply(two).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Exhausted);
        assert_eq!(
            error.to_string(),
            "memory apply: positions are exhausted at 2^53 - 1"
        );
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.total, stats.head), (1, last_but_one));

        let applied = store.put(operation(2)).await.unwrap();
        let (first, last) = (Seq::MAX, Seq::MAX);
        assert_eq!(applied.seqs, Some(SeqRange { first, last }));
        let error = store.put(operation(3)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Exhausted);
        assert!(store.verify().await.unwrap().is_clean());
    });
}
