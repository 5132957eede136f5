//! What a database must hold before it is used.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "common/server.rs"]
mod server;

use mongodb::bson::{Document, doc};
use pollster::block_on;
use server::TestDatabase;
use sync_core::{
    Backend, ErrorKind, Limit, Object, OpId, Operation, Page, SpaceName, StateKey, SyncState,
    SyncStore, TimeRange, Ts,
};
use sync_mongo::{MongoBackend, mongodb};

fn migrated() -> TestDatabase {
    let database = TestDatabase::new();
    let _ = block_on(MongoBackend::migrate(&database.config())).unwrap();
    database
}

#[test]
fn an_index_that_is_missing_or_another_one_is_named() {
    let database = migrated();
    let refusal = || {
        let error = block_on(MongoBackend::connect(database.config())).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Corrupt);
        error.to_string()
    };
    let drop = doc! { "dropIndexes": "operations", "index": "operation_order" };
    database.run(drop).unwrap();
    let missing = refusal();
    assert!(
        missing.contains("operation_order of operations is missing"),
        "{missing}"
    );

    let other = doc! { "name": "operation_order", "key": { "inc": 1, "order": 1 } };
    let create = doc! { "createIndexes": "operations", "indexes": [other] };
    database.run(create).unwrap();
    let another = refusal();
    assert!(
        another.contains("operation_order of operations is another"),
        "{another}"
    );
}

#[test]
fn collections_of_another_program_are_refused_and_left_alone() {
    let database = TestDatabase::new();
    let theirs = doc! { "_id": 1, "of": "another program" };
    database
        .run(doc! { "insert": "operations", "documents": [theirs.clone()] })
        .unwrap();
    let config = database.config();
    let error = block_on(MongoBackend::migrate(&config)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Foreign);
    let error = block_on(MongoBackend::connect(config.clone())).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Foreign);
    let listed = database.run(doc! { "listCollections": 1 }).unwrap();
    let listed = listed.get_document("cursor").unwrap();
    assert_eq!(listed.get_array("firstBatch").unwrap().len(), 1, "{listed}");

    // A prefix makes room for both.
    let config = config.collection_prefix("ours_");
    let _ = block_on(MongoBackend::migrate(&config)).unwrap();
    let _ = block_on(MongoBackend::connect(config)).unwrap();
    let found = database.run(doc! { "count": "operations" }).unwrap();
    assert_eq!(found.get_i32("n").unwrap(), 1);
}

/// The name of every stage of a query's plan, from the outermost.
fn stages(plan: &Document) -> Vec<&str> {
    let mut stages = vec![plan.get_str("stage").unwrap_or_default()];
    if let Ok(inner) = plan.get_document("inputStage") {
        stages.extend(self::stages(inner));
    }
    stages
}

#[test]
fn keys_are_scanned_from_the_index_alone() {
    let database = migrated();
    let space = SpaceName::new("space").unwrap();
    let store = block_on(async {
        let backend = MongoBackend::connect(database.config()).await.unwrap();
        backend.open(&space).await.unwrap()
    });
    let operation = |n: u8| Operation::new(OpId::new([n; 32]), Ts::new(n.into()).unwrap(), "p");
    let page = Page::new().upserts((0..100).map(operation));
    let _ = block_on(store.apply(page)).unwrap();
    let keys = block_on(store.scan_keys(TimeRange::ALL, None, Limit::rows(1_000))).unwrap();
    assert_eq!(keys.items.len(), 100);
    // The command as the server has seen it last.
    let inc = database.run(doc! { "find": "spaces" }).unwrap();
    let inc = inc
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap();
    let inc = inc[0].as_document().unwrap().get("inc").unwrap().clone();
    let key = |byte: u8| mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: vec![byte; 40],
    };
    let find = doc! {
        "find": "operations",
        "filter": {},
        "projection": { "_id": 1, "ts": 1 },
        "hint": "operation_ts",
        "min": { "inc": inc.clone(), "ts": 0_i64, "_id": key(0) },
        "max": { "inc": inc, "ts": 1_i64 << 53, "_id": key(0) },
    };
    let explained = database
        .run(doc! { "explain": find, "verbosity": "executionStats" })
        .unwrap();
    let plan = explained.get_document("queryPlanner").unwrap();
    let plan = plan.get_document("winningPlan").unwrap();
    let plan = plan.get_document("queryPlan").unwrap_or(plan);
    assert_eq!(
        stages(plan),
        ["PROJECTION_COVERED", "IXSCAN"],
        "{explained}"
    );
    let stats = explained.get_document("executionStats").unwrap();
    assert_eq!(stats.get_i32("totalDocsExamined").unwrap(), 0);
    assert_eq!(stats.get_i32("nReturned").unwrap(), 100);
}

#[test]
fn state_keys_and_objects_are_compared_by_their_bytes() {
    let database = migrated();
    let space = SpaceName::new("space").unwrap();
    let store = block_on(async {
        let backend = MongoBackend::connect(database.config()).await.unwrap();
        backend.open(&space).await.unwrap()
    });
    // Characters of every length, in an order that no language's own collation has.
    let mut keys: Vec<_> = [
        "~", "é", "z", "Z", "a", "\u{ffff}", "😀", "ß", "\u{1}", "a:", ";",
    ]
    .into_iter()
    .map(|key| StateKey::new(key).unwrap())
    .collect();
    keys.push(StateKey::new(&"\u{10ffff}".repeat(64)).unwrap());
    let objects = [vec![0; 1], vec![0; 2], vec![0xff; 256], vec![0xff; 255]];
    let page = keys
        .iter()
        .fold(Page::new(), |page, key| page.set(key.clone(), "v"));
    let page = (0..).zip(&objects).fold(page, |page, (n, object)| {
        let operation = Operation::new(OpId::new([n; 32]), Ts::ZERO, "p");
        page.upsert(operation.about(Object::new(object.clone()).unwrap()))
    });
    let _ = block_on(store.apply(page)).unwrap();
    keys.sort();
    let listed = block_on(store.list("", None, Limit::rows(100))).unwrap();
    let listed: Vec<_> = listed.items.into_iter().map(|entry| entry.key).collect();
    assert_eq!(listed, keys);
    for (n, object) in (0..).zip(objects) {
        let object = Object::new(object).unwrap();
        let found = block_on(store.scan_object(&object, None, Limit::rows(10))).unwrap();
        let ids: Vec<_> = found.items.iter().map(|row| row.operation.id).collect();
        assert_eq!(ids, [OpId::new([n; 32])]);
    }
}
