//! The bare driver.

use std::time::{Duration, Instant};

use mongodb::Collection;
use mongodb::bson::raw::{RawBsonRef, RawDocumentBuf};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, RawBinaryRef, rawdoc};
use mongodb::options::WriteConcern;
use sync_core::{Digest, Operation, SyncOrder};
use sync_mongo::mongodb;

use crate::server::{Server, TestDatabase};

const SCHEMA: &str = include_str!("../../migrations/V1__init.json");

pub(crate) struct Raw {
    server: &'static Server,
    collection: Collection<RawDocumentBuf>,
    seq: i64,
    _database: TestDatabase,
}

impl Raw {
    pub(crate) fn create(server: &'static Server, database: TestDatabase) -> Self {
        let commands: Vec<Document> = serde_json::from_str(SCHEMA).unwrap();
        for command in commands {
            // The same collection, and the same indexes.
            let operations = Bson::String("operations".to_owned());
            if command
                .iter()
                .next()
                .is_some_and(|(_, name)| *name == operations)
            {
                database.run(command).unwrap();
            }
        }
        Self {
            server,
            collection: database.driver().collection("operations"),
            seq: 0,
            _database: database,
        }
    }

    /// Writes one page and says how long it took, from the operations to the answer.
    pub(crate) fn write(&mut self, operations: &[Operation], digests: &[Digest]) -> Duration {
        let began = Instant::now();
        let mut seq = self.seq;
        let documents: Vec<_> = operations
            .iter()
            .zip(digests)
            .map(|(operation, digest)| {
                seq += 1;
                document(operation, digest, seq)
            })
            .collect();
        self.seq = seq;
        let insert = async {
            self.collection
                .insert_many(&documents)
                .ordered(false)
                .write_concern(WriteConcern::majority())
                .await
        };
        let inserted = self.server.wait(insert).unwrap();
        assert_eq!(inserted.inserted_ids.len(), operations.len());
        began.elapsed()
    }
}

fn document(operation: &Operation, digest: &Digest, seq: i64) -> RawDocumentBuf {
    let mut key = 1_i64.to_be_bytes().to_vec();
    key.extend_from_slice(operation.id.as_bytes());
    let mut document = rawdoc! {
        "_id": binary(&key),
        "inc": 1_i64,
        "ts": operation.ts.as_i64(),
        "seq": seq,
        "digest": binary(digest.as_bytes()),
    };
    if let Some(order) = operation.sync_order.map(SyncOrder::as_i64) {
        document.append(mongodb::bson::raw::cstr!("order"), order);
    }
    document.append(
        mongodb::bson::raw::cstr!("payload"),
        binary(&operation.payload),
    );
    document
}

fn binary(bytes: &[u8]) -> RawBsonRef<'_> {
    RawBsonRef::Binary(RawBinaryRef {
        subtype: BinarySubtype::Generic,
        bytes,
    })
}
