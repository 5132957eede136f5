//! From the old database into a space, page by page.

use sync_core::{
    Bytes, Error, ErrorKind, Operation, Page, Result, Retry, StateKey, SyncStore, UpsertOutcome,
    limits,
};

use crate::cursor::{self, CURSOR_KEY, Position};
use crate::old::{OldDatabase, OldRow, OldState, shortened};
use crate::report::{RefusedReason, RefusedState, TakeoverReport};

/// Rows and state entries of one page, taken or not: what is held in memory. A page has a state
/// change and a precondition for each state entry, one of both for the cursor, and one
/// precondition for the source.
const PAGE_ITEMS: u64 = 500;
const PAGE_BYTES: usize = 8 << 20;

const _: () = assert!(PAGE_ITEMS + 2 <= limits::PAGE_STATE_CHANGES as u64);

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Rows and state entries that were read.
    pub read: u64,
    /// How many there are.
    pub of: u64,
}

/// Brings the operations and state of `old` into the space of `store`.
///
/// - Rows become what hydration would store of the same records, in the order of
///   [`OldDatabase::rows`]; state keeps its keys and values. What is not taken is
///   [reported](TakeoverReport) with the [reason](RefusedReason), and never stops the rest.
/// - Nothing in the space is changed or removed but absent sync orders, which are set. What is
///   there already stays as it is, and differences are reported.
/// - Each page moves the cursor (state [`CURSOR_KEY`]), under the precondition that it is where
///   the page began. A run that failed or was killed is run again and goes on there; two at once
///   share the work.
/// - Where the old database has changed since, the walk begins again. What was brought before is
///   then found to be there.
/// - `progress` is called after each batch of rows that was read and brought.
/// - [`Conflict`](ErrorKind::Conflict), with [`Retry::Later`], where another takeover has begun in
///   the space meanwhile, or the space was reset. Otherwise the errors of the old database and of
///   the store.
pub async fn take_over<O: OldDatabase, S: SyncStore>(
    mut old: O,
    store: &S,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<TakeoverReport> {
    let position = Position::find(store, old.contents()).await?;
    let of = position.cursor.of;
    let mut run = Run {
        store,
        report: TakeoverReport {
            rows: old.contents().rows,
            skipped: position.cursor.done,
            ..TakeoverReport::default()
        },
        position,
        read: 0,
        rows: Vec::new(),
        state: Vec::new(),
        bytes: 0,
    };
    loop {
        let rows = old.rows().await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            run.row(row);
            run.flush_if_full().await?;
        }
        progress(Progress { read: run.read, of });
    }
    for entry in old.contents().state.clone() {
        run.state_entry(entry);
        run.flush_if_full().await?;
    }
    run.flush().await?;
    progress(Progress { read: run.read, of });
    tracing::info!(
        space = store.space().as_str(),
        skipped = run.report.skipped,
        taken = run.report.taken,
        refused = run.report.refused.len(),
        "took an old database over"
    );
    Ok(run.report)
}

struct Run<'s, S> {
    store: &'s S,
    position: Position,
    /// Rows and state entries that were read.
    read: u64,
    /// What the next page brings, each with its place in the walk.
    rows: Vec<(u64, Operation, OldRow)>,
    state: Vec<(u64, StateKey, Bytes)>,
    bytes: usize,
    report: TakeoverReport,
}

/// The state of a page, compared with the space's.
#[derive(Default)]
struct Compared {
    keys: Vec<StateKey>,
    refused: Vec<RefusedState>,
}

impl<S: SyncStore> Run<'_, S> {
    fn row(&mut self, mut row: OldRow) {
        self.read += 1;
        match row.operation() {
            Ok(operation) if self.is_ahead(self.read) => {
                self.bytes += operation.payload.len();
                row.json = None;
                self.rows.push((self.read, operation, row));
            }
            Ok(_) => {}
            Err(reason) => self.report.refused.push(row.refused(reason)),
        }
    }

    fn state_entry(&mut self, entry: OldState) {
        self.read += 1;
        let key = entry.key.as_deref().and_then(|key| StateKey::new(key).ok());
        let fits = |value: &Bytes| value.len() <= limits::STATE_VALUE_BYTES;
        let reason = match (key, entry.value.clone().filter(fits)) {
            (None, _) => RefusedReason::BadKey,
            (Some(_), None) => RefusedReason::BadValue,
            (Some(key), Some(_)) if key.as_str() == CURSOR_KEY => RefusedReason::OtherValue,
            (Some(key), Some(value)) => {
                if self.is_ahead(self.read) {
                    self.bytes += value.len();
                    self.state.push((self.read, key, value));
                }
                return;
            }
        };
        let bytes = entry.value.map_or(0, |value| value.len());
        self.report.refused_state.push(RefusedState {
            key: entry.key.as_deref().map(shortened),
            bytes,
            reason,
        });
    }

    /// Whether no page has brought what is at `place` of the walk.
    fn is_ahead(&self, place: u64) -> bool {
        place > self.position.cursor.done
    }

    async fn flush_if_full(&mut self) -> Result<()> {
        let items = self.read.saturating_sub(self.position.cursor.done);
        if items >= PAGE_ITEMS || self.bytes >= PAGE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what was read since the last page, together with the cursor behind it.
    async fn flush(&mut self) -> Result<()> {
        while self.is_ahead(self.read) {
            let mut next = self.position.cursor.clone();
            next.done = self.read;
            let next = next.encode()?;
            let (page, compared) = self.page(&next).await?;
            match self.store.apply(page).await {
                Ok(applied) => {
                    self.count(&applied.upserts, compared);
                    self.position.cursor.done = self.read;
                    self.position.stored = Some(next);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => {
                    let followed = self.position.follow(self.store).await?;
                    self.position = followed.ok_or_else(|| overtaken(error))?;
                    let done = self.position.cursor.done;
                    self.rows.retain(|(place, ..)| *place > done);
                    self.state.retain(|(place, ..)| *place > done);
                }
                Err(error) => return Err(error),
            }
        }
        self.rows.clear();
        self.state.clear();
        self.bytes = 0;
        Ok(())
    }

    async fn page(&self, next: &Bytes) -> Result<(Page, Compared)> {
        let orders = self.position.cursor.orders;
        let operations = self.rows.iter().map(|(_, operation, _)| Operation {
            sync_order: operation.sync_order.filter(|_| orders),
            ..operation.clone()
        });
        let key = cursor::key()?;
        let mut page = Page::new()
            .expect(key.clone(), self.position.stored.clone())
            .set(key, next.clone())
            .upserts(operations);
        if orders {
            page = page.expect(cursor::source_key()?, None::<Bytes>);
        }
        let keys: Vec<_> = self.state.iter().map(|(_, key, _)| key.clone()).collect();
        let found = self.store.load_many(&keys).await?;
        let mut compared = Compared::default();
        for ((_, key, value), found) in self.state.iter().zip(found) {
            match found {
                Some(found) if found != *value => compared.refused.push(RefusedState {
                    key: Some(shortened(key.as_str())),
                    bytes: value.len(),
                    reason: RefusedReason::OtherValue,
                }),
                found => {
                    compared.keys.push(key.clone());
                    if found.is_none() {
                        page = page
                            .expect(key.clone(), None::<Bytes>)
                            .set(key.clone(), value.clone());
                    }
                }
            }
        }
        Ok((page, compared))
    }

    fn count(&mut self, outcomes: &[UpsertOutcome], compared: Compared) {
        let orders = self.position.cursor.orders;
        let report = &mut self.report;
        for (outcome, (_, operation, row)) in outcomes.iter().zip(&self.rows) {
            let has_order = operation.sync_order.is_some();
            report.orders_left += u64::from(has_order && !orders);
            let reason = match outcome {
                UpsertOutcome::Inserted => {
                    report.taken += 1;
                    report.ordered += u64::from(has_order && orders);
                    continue;
                }
                UpsertOutcome::Ordered => {
                    report.present += 1;
                    report.ordered += 1;
                    continue;
                }
                UpsertOutcome::Unchanged => {
                    report.present += 1;
                    continue;
                }
                UpsertOutcome::OrderConflict { stored } => {
                    RefusedReason::OtherOrder { stored: *stored }
                }
                UpsertOutcome::Tombstoned => RefusedReason::Tombstoned,
                // A page that does not say so replaces nothing.
                UpsertOutcome::Divergent | UpsertOutcome::Replaced => RefusedReason::OtherRecord,
            };
            report.refused.push(row.refused(reason));
        }
        report.state_keys.extend(compared.keys);
        report.refused_state.extend(compared.refused);
    }
}

/// The end of a run whose cursor is gone.
fn overtaken(error: Error) -> Error {
    error
        .with_message("another takeover has begun in this space, or the space was reset")
        .with_retry(Retry::Later)
        .during("takeover")
}
