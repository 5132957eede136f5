//! A source over a script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use sync_core::SyncOrder;
use sync_hydrate::{
    Change, ChangesPage, InvalidRecord, SnapshotCursor, SnapshotPage, Source, SourceEpoch,
    SourceError, SourceErrorKind, SourceOperation, Spent, Visibility,
};

use super::clock::Clock;
use super::log::{Entry, Record, What, at, object};
use super::pausing::pause;

/// An upstream index in memory. A clone is another connection to it.
#[derive(Clone)]
pub(crate) struct LogSource {
    name: String,
    clock: Clock,
    script: Arc<Mutex<Script>>,
}

/// What a source holds, and what it does wrong.
pub(crate) struct Script {
    pub(crate) epoch: String,
    pub(crate) log: Vec<Entry>,
    pub(crate) rule: Rule,
    /// The next request fails so.
    pub(crate) fail: Option<SourceErrorKind>,
    /// Pages are no longer than that.
    pub(crate) max_limit: u32,
    /// Snapshots say that there is more and answer the cursor they were asked with.
    pub(crate) stuck_snapshot: bool,
    /// The same of changes.
    pub(crate) stuck_changes: bool,
    /// Every page of a snapshot but the first ever asked for answers a higher checkpoint.
    pub(crate) moving_checkpoint: bool,
    /// The log says that it is of another history than the snapshot.
    pub(crate) log_epoch: Option<String>,
    /// How often it was asked for a page of a snapshot.
    pub(crate) snapshots: u64,
    /// After which position it was asked for changes.
    pub(crate) changes: Vec<u64>,
    scheduled: BTreeMap<u64, Vec<Act>>,
}

type Act = Box<dyn FnOnce(&mut Script) + Send>;

/// What a snapshot shows.
#[derive(Clone)]
pub(crate) enum Rule {
    /// What was there at its checkpoint.
    Frozen,
    /// What is there when each of its pages is read, as deployed sources do.
    Live,
    /// What was there at this position, which is its checkpoint.
    At(u64),
    /// These, whatever the log says; its checkpoint is the log's.
    Given(Vec<Record>),
}

impl LogSource {
    pub(crate) fn new(clock: Clock, log: Vec<Entry>) -> Self {
        let script = Script {
            epoch: "first".to_owned(),
            log,
            rule: Rule::Frozen,
            fail: None,
            max_limit: u32::MAX,
            stuck_snapshot: false,
            stuck_changes: false,
            moving_checkpoint: false,
            log_epoch: None,
            snapshots: 0,
            changes: Vec::new(),
            scheduled: BTreeMap::new(),
        };
        Self {
            name: "scripted".to_owned(),
            clock,
            script: Arc::new(Mutex::new(script)),
        }
    }

    /// The same source by another name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        self.script().log.clone()
    }

    pub(crate) fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        self.script().log.extend(entries);
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> u64 {
        self.script().calls()
    }

    /// Changes the script when the call after the next `calls` ones arrives, before its answer.
    pub(crate) fn after_calls(&self, calls: u64, act: impl FnOnce(&mut Script) + Send + 'static) {
        let mut script = self.script();
        let at = script.calls() + calls + 1;
        script.scheduled.entry(at).or_default().push(Box::new(act));
    }

    fn asked(
        &self,
        count: impl FnOnce(&mut Script),
    ) -> Result<MutexGuard<'_, Script>, SourceError> {
        let mut script = self.script();
        count(&mut script);
        let calls = script.calls();
        for act in script.scheduled.remove(&calls).unwrap_or_default() {
            act(&mut script);
        }
        match script.fail.take() {
            Some(kind) => Err(SourceError::new(kind, "as the script says")),
            None => Ok(script),
        }
    }
}

impl Script {
    fn calls(&self) -> u64 {
        self.snapshots + self.changes.len() as u64
    }

    /// Another history with another log.
    pub(crate) fn renew(&mut self, epoch: &str, log: Vec<Entry>) {
        epoch.clone_into(&mut self.epoch);
        self.log = log;
    }

    /// Forgets every row after `seq`, as a restored backup does.
    pub(crate) fn rewind(&mut self, seq: u64) {
        self.log.retain(|entry| entry.seq <= seq);
    }

    fn newest(&self, now: u64) -> u64 {
        let shown = self.log.iter().filter(|entry| entry.published <= now);
        shown.map(|entry| entry.seq).max().unwrap_or(0)
    }

    /// What stands at the end of the rows up to `checkpoint`, by object.
    fn holds(&self, checkpoint: u64, now: u64) -> BTreeMap<u16, Vec<(Record, Visibility)>> {
        let mut standing = BTreeMap::new();
        if let Rule::Given(records) = &self.rule {
            for record in records {
                standing.insert(record.id, (*record, Visibility::Public));
            }
        } else {
            let shown = |entry: &&Entry| entry.seq <= checkpoint && entry.published <= now;
            for entry in self.log.iter().filter(shown) {
                match &entry.what {
                    What::Added(record, visibility) => {
                        standing.insert(record.id, (*record, *visibility));
                    }
                    What::Removed { id, object } => {
                        if standing
                            .get(id)
                            .is_some_and(|(row, _)| row.object == *object)
                        {
                            standing.remove(id);
                        }
                    }
                    What::Invalid(_) | What::Nothing => {}
                }
            }
        }
        let mut objects: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for (record, visibility) in standing.into_values() {
            objects
                .entry(record.object)
                .or_default()
                .push((record, visibility));
        }
        for records in objects.values_mut() {
            // A snapshot shows the whole history of an object, and with it who may have it.
            let shown = [Visibility::Private, Visibility::Public]
                .into_iter()
                .find(|shown| records.iter().any(|(_, visibility)| visibility == shown));
            for (_, visibility) in records {
                if *visibility == Visibility::AsItsObject {
                    *visibility = shown.unwrap_or(Visibility::AsItsObject);
                }
            }
        }
        objects
    }

    fn invalid(&self, checkpoint: u64) -> Vec<InvalidRecord> {
        let rows = self.log.iter().filter(|entry| entry.seq <= checkpoint);
        rows.filter_map(|entry| match &entry.what {
            // A snapshot has no positions.
            What::Invalid(record) => Some(InvalidRecord {
                seq: None,
                ..record.clone()
            }),
            _ => None,
        })
        .collect()
    }

    fn snapshot_page(&self, after: Option<&SnapshotCursor>, limit: u32, now: u64) -> SnapshotPage {
        let begun = after.map(|after| after.checkpoint.value());
        let checkpoint = begun.unwrap_or(match self.rule {
            Rule::At(checkpoint) => checkpoint,
            _ => self.newest(now),
        });
        let upto = match self.rule {
            Rule::Live => u64::MAX,
            _ => checkpoint,
        };
        let from = after.map_or(0, |after| after.cursor.parse::<u16>().unwrap() + 1);
        let limit = limit.min(self.max_limit) as usize;
        let mut objects = self.holds(upto, now).split_off(&from);
        let rest = objects.keys().nth(limit).copied();
        let rest = rest.map(|rest| objects.split_off(&rest));
        let last = objects.keys().next_back();
        let next = rest.and(last).map(ToString::to_string);
        let operations = objects
            .values()
            .flatten()
            .map(|(record, visibility)| SourceOperation {
                operation: record.operation(),
                visibility: *visibility,
            });
        let shown = |record: &InvalidRecord| {
            let of = record.object.as_ref();
            let first = after.is_none() && from == 0;
            let here = |n| of == Some(&object(n));
            let known = self.holds(upto, now).into_keys().any(here);
            objects.keys().copied().any(here) || (first && !known)
        };
        SnapshotPage {
            epoch: SourceEpoch::new(&self.epoch),
            checkpoint: at(if self.moving_checkpoint {
                checkpoint + self.snapshots - 1
            } else {
                checkpoint
            }),
            next: match after {
                Some(after) if self.stuck_snapshot => Some(after.cursor.clone()),
                _ => next,
            },
            operations: operations.collect(),
            invalid: self.invalid(upto).into_iter().filter(shown).collect(),
            spent: Spent::default(),
        }
    }

    fn changes_page(&self, after: SyncOrder, limit: u32, now: u64) -> ChangesPage {
        let limit = limit.min(self.max_limit) as usize;
        let mut shown: Vec<_> = self
            .log
            .iter()
            .filter(|entry| entry.seq > after.value() && entry.published <= now)
            .collect();
        let more = shown.len() > limit;
        shown.truncate(limit);
        let changes = shown.iter().filter_map(|entry| match &entry.what {
            What::Added(record, visibility) => Some(Change::Added(SourceOperation {
                operation: record.operation().at(at(entry.seq)),
                visibility: *visibility,
            })),
            What::Removed { id, object: of } => Some(Change::Removed {
                seq: at(entry.seq),
                id: super::log::id(*id),
                object: object(*of),
            }),
            What::Invalid(record) => Some(Change::Invalid(record.clone())),
            What::Nothing => None,
        });
        let next = shown.last().map_or(after, |entry| at(entry.seq));
        ChangesPage {
            epoch: SourceEpoch::new(self.log_epoch.as_ref().unwrap_or(&self.epoch)),
            next: if self.stuck_changes { after } else { next },
            checkpoint: at(self.newest(now)),
            more: more || self.stuck_changes,
            changes: changes.collect(),
            spent: Spent::default(),
        }
    }
}

impl Source for LogSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn snapshot(
        &self,
        after: Option<&SnapshotCursor>,
        limit: u32,
    ) -> Result<SnapshotPage, SourceError> {
        pause().await;
        let page = self
            .asked(|script| script.snapshots += 1)
            .map(|script| script.snapshot_page(after, limit, self.clock.seconds()));
        pause().await;
        page
    }

    async fn changes(&self, after: SyncOrder, limit: u32) -> Result<ChangesPage, SourceError> {
        pause().await;
        let page = self
            .asked(|script| script.changes.push(after.value()))
            .map(|script| script.changes_page(after, limit, self.clock.seconds()));
        pause().await;
        page
    }
}
