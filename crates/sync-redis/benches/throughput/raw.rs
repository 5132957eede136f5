//! The bare driver.

use std::time::{Duration, Instant};

use sync_bench::{Input, Read};
use sync_core::{Digest, Operation};
use sync_redis::redis::{Client, Connection, Pipeline, cmd};

pub(crate) const COMMANDS: &str = "HSET rows id row …, ZADD time 0 ts+id …, ZADD seq 0 seq+id …, \
                                   ZADD order 0 order+id …";

/// The position that an index sorts an operation by, of which only the seq is not its own.
type Position = fn(&Operation, u64) -> u64;

const KEYS: [&str; 4] = ["rows", "time", "seq", "order"];

/// A blocking connection, which is the driver's fastest.
pub(crate) struct Pipe {
    connection: Connection,
    prefix: String,
    seq: u64,
}

impl Pipe {
    pub(crate) fn create(url: &str) -> Self {
        Self {
            connection: Client::open(url).unwrap().get_connection().unwrap(),
            prefix: format!("raw{:016x}", fastrand::u64(..)),
            seq: 0,
        }
    }

    /// Writes one page and says how long it took.
    pub(crate) fn write(&mut self, operations: &[Operation], digests: &[Digest]) -> Duration {
        let began = Instant::now();
        let mut pipeline = Pipeline::with_capacity(KEYS.len());
        let [rows, time, seq, order] = KEYS.map(|key| format!("{}:{key}", self.prefix));
        pipeline.cmd("HSET").arg(rows);
        let mut row = Vec::new();
        for ((operation, digest), n) in operations.iter().zip(digests).zip(self.seq + 1..) {
            row.clear();
            row.extend_from_slice(&n.to_be_bytes());
            row.extend_from_slice(&operation.ts.value().to_be_bytes());
            row.extend_from_slice(&operation.sync_order.unwrap().value().to_be_bytes());
            row.extend_from_slice(digest.as_bytes());
            row.extend_from_slice(&[0; 6]);
            row.extend_from_slice(&operation.payload);
            pipeline.arg(operation.id.as_bytes()).arg(&row);
        }
        pipeline.ignore();
        let positions: [(String, Position); 3] = [
            (time, |operation, _| operation.ts.value()),
            (seq, |_, n| n),
            (order, |operation, _| operation.sync_order.unwrap().value()),
        ];
        for (key, position) in positions {
            pipeline.cmd("ZADD").arg(key);
            for (operation, n) in operations.iter().zip(self.seq + 1..) {
                let mut member = [0; 40];
                let (head, id) = member.split_at_mut(8);
                head.copy_from_slice(&position(operation, n).to_be_bytes());
                id.copy_from_slice(operation.id.as_bytes());
                pipeline.arg(b"0").arg(&member);
            }
            pipeline.ignore();
        }
        pipeline.exec(&mut self.connection).unwrap();
        self.seq += operations.len() as u64;
        began.elapsed()
    }

    /// What the keys take in memory.
    pub(crate) fn bytes(&mut self) -> u64 {
        let usage = |key| memory(&mut self.connection, &format!("{}:{key}", self.prefix));
        KEYS.map(usage).iter().sum()
    }

    /// The same reads as ours, without decoding what comes.
    pub(crate) fn reads(&mut self, input: &Input) -> Vec<Read> {
        let ids = input.some_ids();
        let rows = format!("{}:rows", self.prefix);
        let connection = &mut self.connection;
        let mut get = |ids: &mut dyn Iterator<Item = Vec<u8>>| {
            let mut command = cmd("HMGET");
            command.arg(&rows);
            ids.for_each(|id| {
                command.arg(id);
            });
            let found: Vec<Vec<u8>> = command.query(connection).unwrap();
            assert_eq!(found.len(), 500);
        };
        let began = Instant::now();
        get(&mut ids.iter().map(|id| id.as_bytes().to_vec()));
        let by_id = began.elapsed();
        let middle = input.middle() as u64;
        let mut walk = |key: &str, from: u64| {
            let began = Instant::now();
            let from = [&b"["[..], &from.to_be_bytes()].concat();
            let mut command = cmd("ZRANGEBYLEX");
            command.arg(format!("{}:{key}", self.prefix)).arg(from);
            command.arg("+").arg("LIMIT").arg(0).arg(500);
            let members: Vec<Vec<u8>> = command.query(connection).unwrap();
            let mut command = cmd("HMGET");
            command.arg(&rows);
            for member in &members {
                command.arg(member.split_at(8).1);
            }
            let found: Vec<Vec<u8>> = command.query(connection).unwrap();
            assert_eq!(found.len(), 500);
            began.elapsed()
        };
        let ts = input.operations.first().unwrap().ts.value() + middle;
        let by_time = walk("time", ts);
        let by_seq = walk("seq", middle + 1);
        [
            ("get 500", by_id),
            ("scan_time 500", by_time),
            ("feed 500", by_seq),
        ]
        .map(|(name, time)| Read {
            name,
            millis: time.as_secs_f64() * 1e3,
        })
        .into()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        for key in KEYS {
            let mut unlink = cmd("UNLINK");
            unlink.arg(format!("{}:{key}", self.prefix));
            unlink.exec(&mut self.connection).unwrap();
        }
    }
}

/// What a key takes in memory, of which all entries are looked at.
pub(crate) fn memory(connection: &mut Connection, key: &str) -> u64 {
    let mut usage = cmd("MEMORY");
    usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    usage.query::<Option<u64>>(connection).unwrap().unwrap_or(0)
}
