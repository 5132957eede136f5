//! The conformance suite, on the server or cluster that `SYNC_TEST_REDIS_URL` names.
#![cfg(feature = "fault-injection")]

#[path = "common/admin.rs"]
mod admin;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use admin::Admin;

use sync_conformance::{BoundaryHook, Database, Harness, Power, Work, WorkMeter};
use sync_core::{Backend, Error, ErrorKind, Migrated, Result, Seq, SpaceName};
use sync_redis::fault::{self, Faults};
use sync_redis::redis::cmd;
use sync_redis::{RedisBackend, RedisConfig};

/// Keys under a prefix of their own, removed at the end unless another process owns them.
struct Keys {
    url: String,
    prefix: String,
    owned: bool,
    /// Every other handle tries all pages without the script that may be written so; the ones between
    /// do as the pages before tell them. Cases with one handle have the first, those with several
    /// have both against each other.
    handles: AtomicUsize,
    ways: fault::Work,
}

impl Keys {
    fn new() -> Self {
        Self {
            url: url(),
            prefix: format!("t{:016x}", fastrand::u64(..)),
            owned: true,
            handles: AtomicUsize::new(0),
            ways: fault::Work::default(),
        }
    }

    fn config(&self, faults: Faults) -> Result<RedisConfig> {
        let handles = self.handles.fetch_add(1, Ordering::Relaxed);
        let faults = faults.count_ways(self.ways.clone());
        let faults = if handles.is_multiple_of(2) {
            faults.expect_new()
        } else {
            faults
        };
        // The suite's largest pages take their time on a machine that is busy.
        let config = RedisConfig::from_url(&self.url)?.timeout(Duration::from_mins(2));
        Ok(config.prefix(&self.prefix)?.faults(faults))
    }

    fn admin(&self) -> Result<Admin> {
        Admin::connect(&self.url).map_err(by_test)
    }

    /// What the keys are called whose copy lies aside: the same hash tags, and another prefix.
    fn aside(&self) -> String {
        format!("aside/{}", self.prefix)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let ways = self.ways.take();
        let pages = ways.iter().map(|(way, pages)| (way, pages.runs));
        println!("pages: {:?}", pages.collect::<Vec<_>>());
        if self.owned
            && let Ok(mut admin) = self.admin()
        {
            for prefix in [self.prefix.clone(), self.aside()] {
                let _ = admin.remove(&prefix);
            }
        }
    }
}

fn url() -> String {
    std::env::var("SYNC_TEST_REDIS_URL").unwrap_or_else(|_| {
        panic!(
            "SYNC_TEST_REDIS_URL names no server: run `cargo xtask services up redis`, then \
             `eval \"$(cargo xtask services env)\"`"
        )
    })
}

fn by_test(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed)
        .with_message("in the test's own access to the server")
        .with_source(error)
}

impl Database for Keys {
    type Backend = RedisBackend;

    async fn connect(&self) -> Result<RedisBackend> {
        RedisBackend::connect(self.config(Faults::default())?).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        let config = RedisConfig::from_url(&self.url)?.prefix(&self.prefix)?;
        RedisBackend::migrate(&config).await
    }

    fn locator(&self) -> Option<String> {
        Some(self.prefix.clone())
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        let mut command = cmd("HSET");
        command.arg(format!("{}:{{{space}}}:meta", self.prefix));
        command.arg("head").arg(head.value());
        self.admin()?.anywhere(&command).map_err(by_test)
    }

    fn copy_aside(&self) -> Result<()> {
        let copied = self.admin()?.copy(&self.prefix, &self.aside());
        copied.map_err(by_test)
    }

    fn put_back(&self) -> Result<()> {
        let copied = self.admin()?.copy(&self.aside(), &self.prefix);
        copied.map_err(by_test)
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<RedisBackend> {
        RedisBackend::connect(self.config(Faults::at_boundaries(hook))?).await
    }

    async fn connect_counting(&self) -> Result<(RedisBackend, WorkMeter)> {
        let work = fault::Work::default();
        let faults = Faults::default().count_work(work.clone());
        let backend = RedisBackend::connect(self.config(faults)?).await?;
        let meter: WorkMeter = Arc::new(move || {
            let costs = work.take().into_iter();
            costs
                .map(|(script, cost)| Work {
                    statement: script,
                    rows: cost.units,
                })
                .collect()
        });
        Ok((backend, meter))
    }

    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        let mut admin = self.admin()?;
        for connection in admin.all() {
            // Begun, with a command in it, and never ended.
            cmd("MULTI").exec(connection).map_err(by_test)?;
            let mut command = cmd("INCR");
            command.arg(format!("{}:unrelated", self.prefix));
            let _ = command.exec(connection);
        }
        Ok(Box::new(admin))
    }
}

#[derive(Default)]
struct Redis;

impl Harness for Redis {
    type Backend = RedisBackend;
    type Database = Keys;

    fn powers(&self) -> &[Power] {
        &Power::ALL
    }

    fn fresh(&self) -> Result<Keys> {
        let keys = self.empty()?;
        self.block_on(keys.migrate())?;
        Ok(keys)
    }

    fn attach(&self, locator: &str) -> Result<Keys> {
        Ok(Keys {
            url: url(),
            prefix: locator.to_owned(),
            owned: false,
            handles: AtomicUsize::new(0),
            ways: fault::Work::default(),
        })
    }

    fn empty(&self) -> Result<Keys> {
        Ok(Keys::new())
    }

    /// A version no release has.
    fn newer(&self) -> Result<Keys> {
        let keys = self.fresh()?;
        let mut command = cmd("HINCRBY");
        command.arg(format!("{}:schema", keys.prefix));
        command.arg("version").arg(1);
        keys.admin()?.anywhere(&command).map_err(by_test)?;
        Ok(keys)
    }
}

sync_conformance::suite!(Redis);
