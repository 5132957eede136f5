//! The bare loop.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use sync_core::{Digest, Durability, Operation, SyncOrder};
use sync_sqlite::rusqlite;

use sync_bench::{Input, Read};

pub(crate) const INSERT: &str =
    "INSERT INTO operation (incarnation, id, ts, sync_order, seq, digest, object, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const SCHEMA: &str = include_str!("../../migrations/V1__init.sql");

/// The loop on a thread of its own, because the store's writer has one: a new thread begins with
/// memory that nobody has touched, and both are to begin alike. The way there and back is not
/// counted.
pub(crate) struct LoopThread<'scope, 'input> {
    pages: Sender<(&'input [Operation], &'input [Digest])>,
    times: Receiver<Duration>,
    _thread: ScopedJoinHandle<'scope, ()>,
}

struct Loop {
    connection: Connection,
    seq: i64,
}

pub(crate) fn pragmas(durability: Durability) -> String {
    let synchronous = if durability == Durability::Machine {
        "FULL"
    } else {
        "NORMAL"
    };
    format!(
        "page_size=8192; journal_mode=WAL; synchronous={synchronous}; wal_autocheckpoint=10000; \
         temp_store=MEMORY; cache_size=-64000"
    )
}

impl<'scope, 'input> LoopThread<'scope, 'input> {
    pub(crate) fn create(
        scope: &'scope Scope<'scope, '_>,
        path: &'scope Path,
        durability: Durability,
    ) -> Self
    where
        'input: 'scope,
    {
        let (pages, coming) = channel();
        let (took, times) = channel();
        let thread = scope.spawn(move || {
            let mut writer = Loop::create(path, durability);
            for (operations, digests) in coming {
                took.send(writer.write(operations, digests)).unwrap();
            }
        });
        Self {
            pages,
            times,
            _thread: thread,
        }
    }

    /// Writes one page and says how long it took.
    pub(crate) fn write(
        &self,
        operations: &'input [Operation],
        digests: &'input [Digest],
    ) -> Duration {
        self.pages.send((operations, digests)).unwrap();
        self.times.recv().unwrap()
    }
}

impl Loop {
    fn create(path: &Path, durability: Durability) -> Self {
        let connection = open(path, durability);
        connection.execute_batch(SCHEMA).unwrap();
        Self { connection, seq: 0 }
    }

    fn write(&mut self, operations: &[Operation], digests: &[Digest]) -> Duration {
        let began = Instant::now();
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insert = self.connection.prepare_cached(INSERT).unwrap();
        for (operation, digest) in operations.iter().zip(digests) {
            self.seq += 1;
            insert
                .execute(params![
                    1_i64,
                    operation.id.as_bytes(),
                    operation.ts.as_i64(),
                    operation.sync_order.map(SyncOrder::as_i64),
                    self.seq,
                    digest.as_bytes(),
                    None::<&[u8]>,
                    &operation.payload[..],
                ])
                .unwrap();
        }
        drop(insert);
        self.connection.execute_batch("COMMIT").unwrap();
        began.elapsed()
    }
}

fn open(path: &Path, durability: Durability) -> Connection {
    let connection = Connection::open(path).unwrap();
    for pragma in pragmas(durability).split("; ") {
        let _ = connection
            .prepare(&format!("PRAGMA {pragma}"))
            .unwrap()
            .raw_query()
            .next();
    }
    connection
}

/// The reads of [`crate::ours`], each through a connection that has read nothing before.
pub(crate) fn cold_reads(path: &Path, durability: Durability, input: &Input) -> Vec<Read> {
    let read = |name, sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
        let began = Instant::now();
        let connection = open(path, durability);
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query(parameters).unwrap();
        let mut payloads = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            payloads.push(row.get::<_, Vec<u8>>(0).unwrap());
        }
        assert_eq!(payloads.len(), 500);
        Read {
            name,
            millis: began.elapsed().as_secs_f64() * 1e3,
        }
    };
    let get = {
        let began = Instant::now();
        let connection = open(path, durability);
        let mut find = connection
            .prepare("SELECT payload FROM operation WHERE incarnation = 1 AND id = ?1")
            .unwrap();
        for operation in input
            .operations
            .iter()
            .step_by(input.operations.len() / 500)
            .take(500)
        {
            let _: Vec<u8> = find
                .query_row([operation.id.as_bytes()], |row| row.get(0))
                .unwrap();
        }
        Read {
            name: "get 500",
            millis: began.elapsed().as_secs_f64() * 1e3,
        }
    };
    let time = "SELECT payload FROM operation WHERE incarnation = 1 AND (ts, id) > (?1, x'')
                ORDER BY ts, id LIMIT 500";
    let feed = "SELECT payload FROM operation WHERE incarnation = 1 AND seq > ?1
                ORDER BY seq LIMIT 500";
    let middle = input.middle();
    vec![
        get,
        read("scan_time 500", time, params![input.middle_ts().as_i64()]),
        read("feed 500", feed, params![i64::try_from(middle).unwrap()]),
    ]
}
