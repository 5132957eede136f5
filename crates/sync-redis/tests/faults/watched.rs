//! Pages that are tried without the script: what they leave, and every way in which that fails.

mod expected;
mod interrupted;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, Delete, Error, ErrorKind, Limit, Object, Operation, Page, Payloads, SpaceName,
    SyncOrder, SyncState, SyncStore, TombstoneReason,
};
use sync_redis::fault::{Faults, Work};
use sync_redis::redis::cmd;
use sync_redis::{RedisBackend, RedisConfig, RedisStore};

use crate::gate::{Gate, Rule};
use crate::server::Server;
use crate::{cursor, id, key, messages, migrated, op, open, page};

const KEYS: [&str; 11] = [
    "meta", "rows", "blobs", "time", "seq", "order", "object", "dead", "graves", "state", "names",
];

/// What a hook does once, at the boundary of a name.
type Act = Box<dyn FnOnce() -> sync_core::Result<()> + Send>;

/// How many pages were written in each way since the last call.
fn taken(ways: &Work) -> BTreeMap<String, u64> {
    let ways = ways.take().into_iter();
    ways.map(|(way, pages)| (way, pages.runs)).collect()
}

/// A handle on a space that has its first page, which tries every page without the script.
struct Eager {
    store: RedisStore,
    ways: Work,
    act: Arc<Mutex<Option<(&'static str, Act)>>>,
    met: Arc<Mutex<Vec<&'static str>>>,
}

impl Eager {
    fn open(config: &RedisConfig, name: &str) -> Self {
        let (ways, act, met) = (Work::default(), Arc::default(), Arc::default());
        let hook = {
            let (act, met) = (Arc::clone(&act), Arc::clone(&met));
            move |boundary| {
                let met: &Mutex<Vec<_>> = &met;
                met.lock().unwrap().push(boundary);
                let act: &Mutex<Option<(&str, Act)>> = &act;
                let due = act.lock().unwrap().take_if(|(name, _)| *name == boundary);
                due.map_or(Ok(()), |(_, act)| act())
            }
        };
        let faults = Faults::at_boundaries(Arc::new(hook)).expect_new();
        let config = config.clone().faults(faults.count_ways(ways.clone()));
        let store = open(&config, name);
        let first = block_on(store.apply(page(1_000_000..1_000_001))).unwrap();
        assert_eq!(first.totals().inserted, 1);
        let eager = Self {
            store,
            ways,
            act,
            met,
        };
        eager.ways(&["no space", "script"]);
        eager
    }

    /// Does something at the next boundary of that name.
    fn at(&self, name: &'static str, act: impl FnOnce() + Send + 'static) {
        let act = Box::new(|| {
            act();
            Ok(())
        });
        *self.act.lock().unwrap() = Some((name, act));
    }

    fn apply(&self, page: Page) -> sync_core::Result<sync_core::Applied> {
        block_on(self.store.apply(page))
    }

    /// Checks how the pages since the last call were written.
    #[track_caller]
    fn ways(&self, expected: &[&'static str]) {
        let mut counted = BTreeMap::new();
        for way in expected {
            *counted.entry((*way).to_owned()).or_default() += 1;
        }
        assert_eq!(taken(&self.ways), counted);
    }

    fn total(&self) -> u64 {
        block_on(self.store.stats()).unwrap().total
    }

    fn is_whole(&self) {
        assert_eq!(block_on(self.store.check()).unwrap(), Vec::<String>::new());
    }
}
