//! The life of a file: created, refused, opened, closed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pollster::block_on;
use sync_core::{
    Backend, ErrorKind, OpId, Operation, Page, SpaceName, StateKey, SyncState, SyncStore,
    SyncStoreExt, Ts,
};
use sync_sqlite::{SqliteBackend, SqliteConfig};

fn space() -> SpaceName {
    SpaceName::new("s").unwrap()
}

#[test]
fn a_file_is_created_by_migrating_and_keeps_rows_and_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(dir.path().join("a.db"));
    block_on(async {
        let missing = SqliteBackend::connect(config.clone()).await.unwrap_err();
        assert_eq!(missing.kind(), &ErrorKind::NotFound, "{missing:?}");
        let migrated = SqliteBackend::migrate(&config).await.unwrap();
        assert_eq!((migrated.from, migrated.to), (0, 1));
        let key = StateKey::new("cursor").unwrap();
        {
            let backend = SqliteBackend::connect(config.clone()).await.unwrap();
            let store = backend.open(&space()).await.unwrap();
            assert_eq!(store.stats().await.unwrap().epoch, None);
            let operation = Operation::new(OpId::new([1; 32]), Ts::ZERO, "payload");
            let page = Page::new().upsert(operation).set(key.clone(), "1");
            let applied = store.apply(page).await.unwrap();
            assert_eq!(applied.totals().inserted, 1);
        }
        let backend = SqliteBackend::connect(config).await.unwrap();
        let store = backend.open(&space()).await.unwrap();
        assert_eq!(store.load(&key).await.unwrap().unwrap(), "1");
        let row = store.get_one(OpId::new([1; 32])).await.unwrap().unwrap();
        assert_eq!(row.operation.payload, "payload");
        let report = store.verify().await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(backend.spaces(None, 10).await.unwrap(), [space()]);
    });
}
