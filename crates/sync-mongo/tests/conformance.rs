//! The conformance suite.
#![cfg(feature = "fault-injection")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;
use server::{Server, TestDatabase, by_test};
use sync_conformance::{BoundaryHook, Database, Harness, Power, Work, WorkMeter};
use sync_core::{Backend, Migrated, Result, Seq, SpaceName};
use sync_mongo::{MongoBackend, MongoConfig, mongodb};
use tokio::sync::oneshot;

/// Everything a space has.
const COLLECTIONS: [&str; 6] = [
    "spaces",
    "operations",
    "tombstones",
    "state",
    "garbage",
    "schema",
];

/// The server gives a transaction up after a minute.
const RENEWED: Duration = Duration::from_secs(30);

impl Database for TestDatabase {
    type Backend = MongoBackend;

    async fn connect(&self) -> Result<MongoBackend> {
        MongoBackend::connect(self.config()).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        MongoBackend::migrate(&self.config()).await
    }

    fn locator(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        let answer = self.run(doc! {
            "update": "spaces",
            "updates": [{
                "q": { "_id": space.as_str() },
                "u": { "$set": { "head": head.as_i64() } },
            }],
            "writeConcern": { "w": "majority" },
        })?;
        assert_eq!(number(answer.get("n")), 1, "the space exists");
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        COLLECTIONS
            .iter()
            .try_for_each(|name| self.copy(name, &format!("{name}_aside")))
    }

    /// A copy over a collection keeps the collection's indexes.
    fn put_back(&self) -> Result<()> {
        COLLECTIONS
            .iter()
            .try_for_each(|name| self.copy(&format!("{name}_aside"), name))
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<MongoBackend> {
        MongoBackend::connect(self.config().on_boundary(hook)).await
    }

    async fn connect_counting(&self) -> Result<(MongoBackend, WorkMeter)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // By its name the handle's commands are told from those of others.
        let name = format!("counted-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let url = self.server.url(&self.name, &format!("&appName={name}"));
        let backend = MongoBackend::connect(MongoConfig::new(url)).await?;
        // The profile is a capped collection, and that of the server's own choice is a small one.
        self.run(doc! { "create": "system.profile", "capped": true, "size": 256 << 20 })?;
        self.run(doc! { "profile": 2 })?;
        Ok((backend, self.meter(name)))
    }

    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        self.run(doc! { "insert": "unrelated", "documents": [{ "_id": 1 }] })?;
        let (held, mut release) = oneshot::channel::<()>();
        let (begin, first) = std::sync::mpsc::channel();
        let database = self.driver();
        self.server.spawn(async move {
            let mut last = None;
            loop {
                // Before the last one ends, so that there is always one.
                let mut session = database.client().start_session().await.expect("a session");
                session
                    .start_transaction()
                    .read_concern(ReadConcern::snapshot())
                    .await
                    .expect("a transaction");
                let unrelated = database.collection::<Document>("unrelated");
                let found = unrelated.find_one(doc! {}).session(&mut session).await;
                found.expect("a read").expect("a document");
                drop(last.replace(session));
                // Only the first is waited for.
                let _ = begin.send(());
                tokio::select! {
                    () = tokio::time::sleep(RENEWED) => {}
                    _ = &mut release => return,
                }
            }
        });
        first.recv().map_err(by_test)?;
        Ok(Box::new(held))
    }
}

impl TestDatabase {
    fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.run(doc! {
            "aggregate": from,
            "pipeline": [{ "$match": {} }, { "$out": to }],
            "cursor": {},
            "writeConcern": { "w": "majority" },
        })
        .map(drop)
    }

    /// Says what the commands of the handle called `name` have examined and written, from the
    /// server's own profile.
    fn meter(&self, name: String) -> WorkMeter {
        let (server, database) = (self.server, self.driver());
        let last = AtomicI64::new(0);
        let turn = Mutex::new(());
        Arc::new(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let since = mongodb::bson::DateTime::from_millis(last.load(Ordering::SeqCst));
            let profile = database.collection::<Document>("system.profile");
            let filter = doc! { "appName": &name, "ts": { "$gt": since } };
            let found: Vec<Document> = server.wait(async {
                let mut found = profile.find(filter).await.expect("the profile");
                let mut all = Vec::new();
                while found.advance().await.expect("the profile") {
                    all.push(found.deserialize_current().expect("an entry"));
                }
                all
            });
            let mut costs: BTreeMap<String, u64> = BTreeMap::new();
            for entry in found {
                let ts = entry.get_datetime("ts").expect("when it ended");
                last.fetch_max(ts.timestamp_millis(), Ordering::SeqCst);
                let rows = [
                    "docsExamined",
                    "keysExamined",
                    "ninserted",
                    "ndeleted",
                    "nModified",
                ];
                let rows = rows.iter().map(|name| number(entry.get(name))).sum::<u64>();
                *costs.entry(statement(&entry)).or_default() += rows;
            }
            // The clock of the profile has milliseconds: what ends in the same one as the last
            // entry would be missed.
            std::thread::sleep(Duration::from_millis(2));
            let works = costs.into_iter();
            works
                .map(|(statement, rows)| Work { statement, rows })
                .collect()
        })
    }
}

/// A command by its kind, its collection and how it finds what it wants.
fn statement(entry: &Document) -> String {
    let text = |name| entry.get_str(name).unwrap_or_default();
    format!("{} {} {}", text("op"), text("ns"), text("planSummary"))
}

fn number(value: Option<&Bson>) -> u64 {
    match value {
        Some(Bson::Int32(number)) => u64::try_from(*number).unwrap_or_default(),
        Some(Bson::Int64(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

#[derive(Default)]
struct Mongo;

impl Harness for Mongo {
    type Backend = MongoBackend;
    type Database = TestDatabase;

    fn powers(&self) -> &[Power] {
        &Power::ALL
    }

    fn fresh(&self) -> Result<TestDatabase> {
        let database = self.empty()?;
        self.block_on(database.migrate())?;
        Ok(database)
    }

    fn attach(&self, locator: &str) -> Result<TestDatabase> {
        Ok(TestDatabase::attach(locator))
    }

    /// The server creates a database with its first collection.
    fn empty(&self) -> Result<TestDatabase> {
        Server::shared().admin(doc! { "ping": 1 })?;
        Ok(TestDatabase::new())
    }

    fn newer(&self) -> Result<TestDatabase> {
        let database = self.fresh()?;
        database.run(doc! {
            "insert": "schema",
            "documents": [{ "_id": 2_i64, "application": "sync-store", "name": "of the future" }],
            "writeConcern": { "w": "majority" },
        })?;
        Ok(database)
    }
}

sync_conformance::suite!(Mongo);
