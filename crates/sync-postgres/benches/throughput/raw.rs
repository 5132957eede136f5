//! The bare driver.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use pollster::block_on;
use sync_core::{Digest, Limit, Operation, SyncOrder, SyncStoreExt, TimeRange};
use sync_postgres::tokio_postgres::{Client, Config, NoTls, Statement};
use sync_postgres::{Pooler, PostgresConfig, Tls};
use tokio::runtime::{Builder, Runtime};

use crate::ours::{Ours, millis};

pub(crate) const COPY: &str =
    "COPY operation (incarnation, id, ts, sync_order, seq, digest, object, payload)
 FROM STDIN (FORMAT binary)";

const SCHEMA: &str = include_str!("../../migrations/V1__init.sql");
const URL: &str = "SYNC_TEST_POSTGRES_URL";

pub(crate) struct Admin {
    runtime: Runtime,
    client: Client,
}

/// One connection, driven on the thread that uses it, as in a program that does nothing else.
pub(crate) struct Loop {
    runtime: Runtime,
    client: Client,
    copy: Statement,
    seq: i64,
}

fn server() -> (Config, Pooler) {
    let url = std::env::var(URL).unwrap_or_else(|_| panic!("{URL} is not set"));
    match url.strip_suffix("?pooler=transaction") {
        Some(address) => (address.parse().unwrap(), Pooler::Transaction),
        None => (url.parse().unwrap(), Pooler::Session),
    }
}

pub(crate) fn config(schema: &str) -> PostgresConfig {
    let (server, pooler) = server();
    PostgresConfig::new(server)
        .pooler(pooler)
        .tls(Tls::Disable)
        .schema(schema)
}

fn connect() -> (Runtime, Client) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (client, connection) = runtime.block_on(server().0.connect(NoTls)).unwrap();
    runtime.spawn(connection);
    (runtime, client)
}

impl Admin {
    pub(crate) fn connect() -> Self {
        let (runtime, client) = connect();
        Self { runtime, client }
    }

    fn run(&self, text: &str) {
        self.runtime
            .block_on(self.client.batch_execute(text))
            .unwrap();
    }

    fn number(&self, text: &str) -> i64 {
        let rows = self.runtime.block_on(self.client.query_typed(text, &[]));
        rows.unwrap()[0].get(0)
    }

    /// The server and the settings that matter here.
    pub(crate) fn describe(&self) -> String {
        let ask = "SELECT version() || E'\\n' || string_agg(name || '=' || setting, '; ')
                   FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'max_wal_size',
                     'shared_buffers', 'synchronous_commit')";
        let rows = self.runtime.block_on(self.client.query_typed(ask, &[]));
        rows.unwrap()[0].get(0)
    }

    pub(crate) fn drop_schema(&self, schema: &str) {
        self.run(&format!(
            "SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE"
        ));
    }

    /// Bytes of table, indexes and all, for each operation.
    pub(crate) fn bytes_per_operation(&self, schema: &str, operations: usize) -> i64 {
        let size = format!("SELECT pg_total_relation_size('{schema}.operation')");
        self.number(&size) / i64::try_from(operations).unwrap()
    }

    /// Walks over so many keys, with the visibility map set.
    pub(crate) fn keys(&self, keys: usize) {
        let ours = Ours::create(self, "bench_keys");
        let _ = sync_bench::apply(
            &ours.store,
            sync_core::Page::new().upsert(Operation::new(
                sync_core::OpId::new([0; 32]),
                sync_core::Ts::ZERO,
                "first",
            )),
        );
        self.run(&format!(
            "INSERT INTO bench_keys.operation (incarnation, id, ts, seq, digest, payload)
               SELECT incarnation, sha256(n::text::bytea), n, n + 1, '\\x00'::bytea, '\\x00'::bytea
               FROM bench_keys.space, generate_series(1, {}) n",
            keys - 1
        ));
        self.run("VACUUM ANALYZE bench_keys.operation");
        for page in [10_000, 100_000, 1_000_000] {
            let mut times: Vec<_> = (0..5)
                .map(|_| {
                    millis(|| {
                        let limit = Limit::rows(page);
                        let walk = pin!(ours.store.stream_keys(TimeRange::ALL, None, limit));
                        let found = block_on(
                            walk.fold(0, async |found, batch| found + batch.unwrap().len()),
                        );
                        assert_eq!(found, keys);
                    })
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{keys} keys in pages of {page}: {:.0} ms (target: 300)",
                times[2]
            );
        }
        self.drop_schema("bench_keys");
    }
}

impl Loop {
    pub(crate) fn create(admin: &Admin, schema: &str) -> Self {
        admin.drop_schema(schema);
        let (runtime, client) = connect();
        let copy = runtime.block_on(async {
            let create = format!("CREATE SCHEMA {schema}; SET search_path TO {schema}");
            client.batch_execute(&create).await.unwrap();
            client.batch_execute(SCHEMA).await.unwrap();
            client.prepare(COPY).await.unwrap()
        });
        Self {
            runtime,
            client,
            copy,
            seq: 0,
        }
    }

    /// Copies one page and says how long it took.
    pub(crate) fn write(&mut self, operations: &[Operation], digests: &[Digest]) -> Duration {
        let began = Instant::now();
        let mut data = BytesMut::with_capacity(operations.len() * 1_000);
        data.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        for (operation, digest) in operations.iter().zip(digests) {
            self.seq += 1;
            data.put_i16(8);
            data.put_i32(4);
            data.put_i32(1);
            put(&mut data, operation.id.as_bytes());
            put(&mut data, &operation.ts.as_i64().to_be_bytes());
            let order = operation.sync_order.map(SyncOrder::as_i64).unwrap();
            put(&mut data, &order.to_be_bytes());
            put(&mut data, &self.seq.to_be_bytes());
            put(&mut data, digest.as_bytes());
            data.put_i32(-1);
            put(&mut data, &operation.payload);
        }
        data.put_i16(-1);
        self.runtime.block_on(async {
            let sink = self.client.copy_in::<_, Bytes>(&self.copy).await.unwrap();
            let mut sink = pin!(sink);
            sink.send(data.freeze()).await.unwrap();
            sink.finish().await.unwrap();
        });
        began.elapsed()
    }
}

fn put(data: &mut BytesMut, bytes: &[u8]) {
    data.put_i32(i32::try_from(bytes.len()).unwrap());
    data.put_slice(bytes);
}
