//! A file of every released schema, with rows, comes up to date and keeps what it holds.
//!
//! A fixture is what `sqlite3 FILE .dump` printed for a file that the release wrote, with its page
//! size, `application_id` and `user_version`. It is added with the release and never changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pollster::block_on;
use sync_core::{
    Backend, Epoch, Known, OpId, Seq, SpaceName, StateKey, SyncOrder, SyncState, SyncStore,
    SyncStoreExt, TombstoneReason, Ts,
};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{SqliteBackend, SqliteConfig};

const RELEASED: [(u32, &str); 1] = [(1, include_str!("fixtures/v1.sql"))];

fn id(byte: u8) -> OpId {
    OpId::new([byte; 32])
}

#[test]
fn every_released_schema_is_migrated_with_its_rows() {
    for (version, fixture) in RELEASED {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path().join("a.db"));
        Connection::open(config.path())
            .unwrap()
            .execute_batch(fixture)
            .unwrap();
        block_on(holds_what_the_release_wrote(version, config));
    }
}

async fn holds_what_the_release_wrote(version: u32, config: SqliteConfig) {
    let migrated = SqliteBackend::migrate(&config).await.unwrap();
    assert_eq!(migrated.from, version);
    let backend = SqliteBackend::connect(config).await.unwrap();
    let store = backend
        .open(&SpaceName::new("default").unwrap())
        .await
        .unwrap();

    let stats = store.stats().await.unwrap();
    let epoch: Epoch = "4c2bb69e16e7b2ff9b9e0cb4d1e9b80f".parse().unwrap();
    assert_eq!(stats.epoch, Some(epoch));
    assert_eq!((stats.total, stats.ordered, stats.tombstones), (2, 2, 2));
    assert_eq!((stats.head.value(), stats.floor.value()), (5, 0));

    let first = store.get_one(id(1)).await.unwrap().unwrap();
    assert_eq!(first.operation.payload, "one");
    assert_eq!(first.operation.object.unwrap().as_bytes(), b"did:a");
    let known = store.known(&[id(2), id(3), id(4)]).await.unwrap();
    let removed = Known::Tombstoned {
        reason: TombstoneReason::Operator,
        seq: Seq::new(5).unwrap(),
        source_seq: None,
    };
    let highest = Known::Live {
        ts: Ts::MAX,
        seq: Seq::new(3).unwrap(),
        sync_order: Some(SyncOrder::MAX),
    };
    assert_eq!(known, [removed, highest, Known::Unknown]);
    let cursor = store.load(&StateKey::new("cursor").unwrap()).await.unwrap();
    assert_eq!(cursor.unwrap(), "3");
    let report = store.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
