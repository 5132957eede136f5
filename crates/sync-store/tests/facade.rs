//! What a program sees of the facade: every backend of this build, through a URL alone.
#![cfg(any(feature = "memory", feature = "sqlite"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends in a panic"
)]

use pollster::block_on;
use sync_store::{
    AnyBackend, OpId, Operation, Page, SpaceName, SyncState, SyncStore, SyncStoreExt, Ts, connect,
    migrate,
};

/// The URLs of the backends of this build, each of an empty database, and what keeps them alive.
fn urls() -> (Vec<(&'static str, String)>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut urls = Vec::new();
    if cfg!(feature = "memory") {
        urls.push(("memory", "memory:".to_owned()));
    }
    if cfg!(feature = "sqlite") {
        let path = directory.path().join("sync.db");
        urls.push(("sqlite", format!("sqlite:{}", path.display())));
    }
    (urls, directory)
}

async fn migrated(url: &str) -> AnyBackend {
    migrate(url).await.unwrap();
    connect(url).await.unwrap()
}

#[test]
fn every_backend_stores_and_lists_through_its_url() {
    let (urls, _directory) = urls();
    for (name, url) in urls {
        block_on(async {
            let backend = migrated(&url).await;
            assert_eq!(backend.name(), name);
            let [a, b] = ["a", "b"].map(|space| SpaceName::new(space).unwrap());
            let operation = Operation::new(OpId::new([7; 32]), Ts::ZERO, "payload");
            for space in [&a, &b] {
                let store = backend.open(space).await.unwrap();
                assert_eq!(store.space(), space);
                let _ = store.put(operation.clone()).await.unwrap();
                let row = store.get_one(operation.id).await.unwrap().unwrap();
                assert_eq!(row.operation, operation);
                assert_eq!(store.load(&"k".parse().unwrap()).await.unwrap(), None);
            }
            assert_eq!(
                backend.spaces(None, 9).await.unwrap(),
                [a.clone(), b.clone()]
            );
            assert_eq!(
                backend.spaces(Some(&a), 9).await.unwrap(),
                std::slice::from_ref(&b)
            );
            assert_eq!(
                backend.spaces(None, 1).await.unwrap(),
                std::slice::from_ref(&a)
            );
            assert!(backend.drop_space(&a).await.unwrap());
            assert!(!backend.drop_space(&a).await.unwrap());
            assert_eq!(backend.spaces(None, 9).await.unwrap(), [b]);
            while backend.sweep(100).await.unwrap().more {}
            let store = backend.clone().open(&a).await.unwrap();
            assert_eq!(store.stats().await.unwrap().epoch, None);
        });
    }
}

#[test]
fn erasure_changes_neither_capabilities_nor_migrations() {
    let (urls, _directory) = urls();
    for (name, url) in urls {
        block_on(async {
            let first = migrate(&url).await.unwrap();
            let again = migrate(&url).await.unwrap();
            assert_eq!(again.from, first.to, "{name}");
            let backend = connect(&url).await.unwrap();
            let expected = match name {
                "memory" => sync_store::Durability::Memory,
                _ => sync_store::Durability::Machine,
            };
            assert_eq!(backend.capabilities().durability, expected);
            assert_eq!(format!("{backend:?}"), format!("AnyBackend({name:?})"));
        });
    }
}

#[test]
fn futures_of_the_facade_can_cross_threads() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&connect("memory:"));
    sendable(&migrate("memory:"));
    let (urls, _directory) = urls();
    for (_, url) in urls {
        let backend = block_on(migrated(&url));
        let space = SpaceName::new("default").unwrap();
        sendable(&backend.open(&space));
        let store = block_on(backend.open(&space)).unwrap();
        sendable(&store.apply(Page::new()));
    }
}
