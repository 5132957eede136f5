//! Restoring a complete dump: the same entries in the same order, under new seqs.
//!
//! A page's lifts act before its deletes, and these before its upserts. So a page ends before a
//! tombstone that follows a row, and before an id that comes a second time. A lifted tombstone is
//! lifted by the page after its own. A second tombstone of an id, where the first was superseded by a
//! row and not lifted, needs a row to delete: an empty row is inserted first.

use std::collections::{HashMap, HashSet, VecDeque};

use sync_store::{
    Delete, DeleteOutcome, Known, OpId, Operation, Page, StateEntry, SyncOrder, SyncStore,
    TombstoneReason, UpsertOutcome, limits,
};

use super::{LOCAL_STATE, Load, Loaded, PAGE_BYTES, after};
use crate::count::Count;
use crate::dump::{Counts, Line, Record, Tombstone, parse};
use crate::failure::{Failure, Result};

/// The most entries of one page: each may take a lift and two deletes of the 100,000 operations.
const ENTRIES: usize = limits::PAGE_OPERATIONS / 4;
/// State changes of one page, with the cursor's.
const STATE: usize = limits::PAGE_STATE_CHANGES - 1;

/// The contents of the next page.
#[derive(Default)]
struct Pending {
    /// Tombstones of the page before, which it could not lift itself.
    lifts: Vec<OpId>,
    tombstones: Vec<(u64, Tombstone)>,
    rows: Vec<(u64, Operation)>,
    /// The ids of both.
    ids: HashSet<OpId>,
    state: Vec<StateEntry>,
    bytes: usize,
}

/// The records that were read.
#[derive(Default)]
struct Read {
    counts: Counts,
    floor: bool,
    /// A tombstone was read that a prune would drop.
    prunable: bool,
    end: Option<Counts>,
}

impl Load<'_> {
    /// Restores a complete dump whose header was read.
    pub(super) async fn restore(mut self) -> Result<Loaded> {
        let mut read = Read::default();
        let mut pending = Pending::default();
        self.catch_up(&mut read, &mut pending)?;
        let mut loaded = Loaded::default();
        let before = read.counts;
        loop {
            let position = self.lines.count();
            let line = self.lines.next().map_err(|failure| self.so_far(failure))?;
            let Some(line) = line else { break };
            let record = self.check(&mut read, &line);
            match record.map_err(|failure| self.so_far(failure))? {
                Record::Row(row) => {
                    if pending.is_full(self.page_size) || pending.ids.contains(&row.id) {
                        self.flush(&mut pending, &mut loaded, position).await?;
                    }
                    pending.row(line.number, row);
                }
                Record::Tombstone(tombstone) => {
                    let follows = !pending.rows.is_empty() || pending.ids.contains(&tombstone.id);
                    if follows || pending.is_full(self.page_size) {
                        self.flush(&mut pending, &mut loaded, position).await?;
                    }
                    pending.tombstone(line.number, tombstone);
                }
                Record::Floor => {
                    self.flush(&mut pending, &mut loaded, position).await?;
                    let head = self.store.stats().await?.head;
                    self.store.prune(head).await?;
                }
                Record::State(entry) => {
                    if pending.state.len() >= STATE || pending.bytes >= PAGE_BYTES {
                        self.flush(&mut pending, &mut loaded, position).await?;
                    }
                    pending.bytes += entry.value.len();
                    pending.state.push(entry);
                }
                Record::Header | Record::End(_) => {}
            }
        }
        if read.end.is_none() {
            let cut = Failure::input("the dump has no end record: it was cut");
            return Err(self.so_far(cut));
        }
        self.finish(pending, &mut loaded).await?;
        loaded.counts = Counts {
            rows: read.counts.rows - before.rows,
            tombstones: read.counts.tombstones - before.tombstones,
            state: read.counts.state - before.state,
        };
        Ok(loaded)
    }

    /// Skips the lines that are loaded. Finds the lifts that the last page left to the next one: no
    /// page is longer than the lines that are remembered.
    fn catch_up(&mut self, read: &mut Read, pending: &mut Pending) -> Result<()> {
        let mut last = VecDeque::with_capacity(ENTRIES);
        self.skip(|line| {
            let record = read.check(line)?;
            if last.len() == ENTRIES {
                last.pop_front();
            }
            last.push_back(match record {
                Record::Row(row) => Some((row.id, false)),
                Record::Tombstone(tombstone) => Some((tombstone.id, tombstone.lifted)),
                _ => None,
            });
            Ok(())
        })?;
        let newest: HashMap<OpId, bool> = last.into_iter().flatten().collect();
        let lifted = newest.into_iter().filter(|(_, lifted)| *lifted);
        pending.lifts.extend(lifted.map(|(id, _)| id));
        Ok(())
    }

    fn check(&self, read: &mut Read, line: &Line) -> Result<Record> {
        let record = read.check(line)?;
        match &record {
            Record::State(entry) if self.cursor.is_under(&entry.key) => {
                let key = entry.key.as_str();
                let what =
                    format!("the dump itself has state {key:?}; choose another --cursor-key");
                Err(at(line.number, &what))
            }
            _ => Ok(record),
        }
    }

    /// Writes the pending page, so that the lines up to `position` are loaded.
    async fn flush(
        &mut self,
        pending: &mut Pending,
        loaded: &mut Loaded,
        position: u64,
    ) -> Result<()> {
        let page = self
            .page(pending)
            .await
            .map_err(|failure| self.so_far(failure))?;
        if page == Page::new() {
            return Ok(());
        }
        let page = self.cursor.advance(page, position);
        self.write(page, loaded).await?;
        self.cursor.is_at(position);
        self.progress.at(position);
        Ok(())
    }

    /// Writes the last pages, and with the very last takes the cursor away.
    async fn finish(&mut self, mut pending: Pending, loaded: &mut Loaded) -> Result<()> {
        let end = self.lines.count();
        // The lifts that the last tombstones leave are a page of their own, or that of the state.
        let state = std::mem::take(&mut pending.state);
        if !pending.ids.is_empty() {
            self.flush(&mut pending, loaded, end - 1 - state.len() as u64)
                .await?;
        }
        pending.state = state;
        let page = self.page(&mut pending).await?;
        let page = self.cursor.remove(page);
        self.write(page, loaded).await
    }

    async fn write(&mut self, mut page: Page, loaded: &mut Loaded) -> Result<()> {
        page.reset = std::mem::take(&mut self.reset);
        let applied = self.store.apply(page).await?;
        let as_planned = applied
            .upserts
            .iter()
            .all(|o| *o == UpsertOutcome::Inserted)
            && applied.deletes.iter().all(|outcome| {
                matches!(
                    outcome,
                    DeleteOutcome::Deleted
                        | DeleteOutcome::Rejected
                        | DeleteOutcome::AlreadyDeleted
                )
            });
        loaded.totals += applied.totals();
        if as_planned {
            Ok(())
        } else {
            Err(Failure::refused(
                "another process wrote to the space while it was restored",
            ))
        }
    }

    /// The pending entries as a page, after the rows that they need were written. Leaves in `pending`
    /// the tombstones that the page after it has to lift.
    async fn page(&mut self, pending: &mut Pending) -> Result<Page> {
        let Pending {
            lifts,
            tombstones,
            rows,
            state,
            ..
        } = std::mem::take(pending);
        let lifted = tombstones.iter().filter(|(_, tombstone)| tombstone.lifted);
        pending.lifts = lifted.map(|(_, tombstone)| tombstone.id).collect();
        let mut page = Page::new().reviving();
        let mut passed = Page::new().reviving();
        let known = self.known(&lifts, &tombstones, &rows).await?;
        let (of_tombstones, of_rows) = known.split_at(tombstones.len());
        for ((line, tombstone), known) in tombstones.into_iter().zip(of_tombstones) {
            if let Known::Tombstoned { .. } = known {
                passed.upserts.push(row_to_delete(line, &tombstone, known)?);
            }
            page.deletes.extend(deletes(tombstone, known));
        }
        for ((line, row), known) in rows.into_iter().zip(of_rows) {
            if !may_be_inserted(known, row.sync_order) {
                return Err(at(
                    line,
                    &format!("{} has a row or tombstone before that refuses it", row.id),
                ));
            }
            page.upserts.push(row);
        }
        page.lifts = lifts;
        for StateEntry { key, value } in state {
            page = page.set(key, value);
        }
        if !passed.upserts.is_empty() {
            let passed = self.cursor.guard(passed);
            self.write(passed, &mut Loaded::default()).await?;
        }
        page.revive = !page.upserts.is_empty();
        Ok(page)
    }

    /// What the space knows of the ids of the tombstones and rows, after the lifts.
    async fn known(
        &self,
        lifts: &[OpId],
        tombstones: &[(u64, Tombstone)],
        rows: &[(u64, Operation)],
    ) -> Result<Vec<Known>> {
        // A page that resets finds nothing.
        if self.reset {
            return Ok(vec![Known::Unknown; tombstones.len() + rows.len()]);
        }
        let lifts: HashSet<_> = lifts.iter().collect();
        let of_tombstones = tombstones.iter().map(|(_, tombstone)| tombstone.id);
        let ids: Vec<_> = of_tombstones
            .chain(rows.iter().map(|(_, row)| row.id))
            .collect();
        let mut known = self.store.known(&ids).await?;
        for (id, known) in ids.iter().zip(&mut known) {
            if matches!(known, Known::Tombstoned { .. }) && lifts.contains(id) {
                *known = Known::Unknown;
            }
        }
        Ok(known)
    }

    fn so_far(&self, failure: Failure) -> Failure {
        after(self.cursor.position(), failure)
    }
}

impl Pending {
    fn is_full(&self, page_size: usize) -> bool {
        self.ids.len() >= page_size.min(ENTRIES) || self.bytes >= PAGE_BYTES
    }

    fn row(&mut self, line: u64, row: Operation) {
        self.bytes += row.payload.len();
        self.ids.insert(row.id);
        self.rows.push((line, row));
    }

    fn tombstone(&mut self, line: u64, tombstone: Tombstone) {
        self.ids.insert(tombstone.id);
        self.tombstones.push((line, tombstone));
    }
}

impl Read {
    /// Reads a line and checks that its record is in place.
    fn check(&mut self, line: &Line) -> Result<Record> {
        let record = parse(line)?;
        let wrong = |what: &str| Err(at(line.number, what));
        if self.end.is_some() {
            return wrong("follows the end record");
        }
        match &record {
            Record::Header if line.number > 1 => return wrong("a second header"),
            Record::Row(_) | Record::Tombstone(_) | Record::Floor if self.counts.state > 0 => {
                return wrong("follows state, which comes after all rows and tombstones");
            }
            Record::Floor if self.floor => return wrong("a second floor"),
            // It would prune what a load with --reset has not replaced yet.
            Record::Floor if self.counts.rows == 0 && self.counts.tombstones == 0 => {
                return wrong("a floor without an entry before it");
            }
            Record::Floor if self.prunable => {
                return wrong("a floor behind a tombstone, which it would prune");
            }
            Record::State(entry) if entry.key.as_str().starts_with(LOCAL_STATE) => {
                return wrong("state that speaks of one store alone is in no dump");
            }
            Record::End(counts) if *counts != self.counts => {
                let Counts {
                    rows,
                    tombstones,
                    state,
                } = self.counts;
                return wrong(&format!(
                    "the end record says {}, {} and {}; before it are {rows}, {tombstones} and \
                     {state}",
                    Count(counts.rows, "row"),
                    Count(counts.tombstones, "tombstone"),
                    Count(counts.state, "state entry")
                ));
            }
            Record::Header => {}
            Record::Row(_) => self.counts.rows += 1,
            Record::Tombstone(tombstone) => {
                self.counts.tombstones += 1;
                self.prunable |= !tombstone.outlives_prune();
            }
            Record::State(_) => self.counts.state += 1,
            Record::Floor => self.floor = true,
            Record::End(counts) => self.end = Some(*counts),
        }
        Ok(record)
    }
}

fn at(line: u64, what: &str) -> Failure {
    Failure::input(format!("line {line}: {what}"))
}

/// The deletes that leave this tombstone; `known` is what the space has of its id.
fn deletes(tombstone: Tombstone, known: &Known) -> Vec<Delete> {
    let Tombstone {
        id,
        ts,
        object,
        reason,
        source_seq,
        ..
    } = tombstone;
    let delete = Delete {
        ts,
        ..Delete::new(id, reason)
    };
    if *known == Known::Unknown {
        return vec![Delete {
            object,
            source_seq,
            reject: true,
            ..delete
        }];
    }
    // A row goes whatever its order is; the source seq is raised afterwards, without an entry.
    let raise = source_seq.map(|source_seq| delete.clone().at(source_seq));
    std::iter::once(delete).chain(raise).collect()
}

/// An empty row that gets past the tombstone in effect, with the ts and object of the next tombstone.
fn row_to_delete(line: u64, tombstone: &Tombstone, known: &Known) -> Result<Operation> {
    let above = match known {
        Known::Tombstoned {
            reason: TombstoneReason::Operator,
            ..
        } => None,
        Known::Tombstoned {
            source_seq: Some(source_seq),
            ..
        } => source_seq.next().map(Some),
        _ => Some(None),
    };
    let (Some(sync_order), Some(ts)) = (above, tombstone.ts) else {
        let what = format!("{} has a tombstone before that refuses it", tombstone.id);
        return Err(at(line, &what));
    };
    Ok(Operation {
        id: tombstone.id,
        ts,
        object: tombstone.object.clone(),
        sync_order,
        payload: sync_store::Bytes::new(),
    })
}

/// Whether a page that revives may insert a row with this order; `known` is what the space has of its
/// id.
fn may_be_inserted(known: &Known, order: Option<SyncOrder>) -> bool {
    match known {
        Known::Live { .. } => false,
        Known::Tombstoned {
            reason, source_seq, ..
        } => *reason != TombstoneReason::Operator && (source_seq.is_none() || order > *source_seq),
        Known::Unknown => true,
    }
}
