//! Pages of the export, and answers too long to be one.

use std::io::{self, Read};
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sync_core::SyncOrder;
use sync_hydrate::{
    Change, ChangesPage, InvalidRecord, SnapshotCursor, SnapshotPage, SourceEpoch, SourceError,
    SourceErrorKind, Spent,
};

use super::GatekeeperConfig;
use super::client::{Cancelled, Client};
use crate::Invalid;
use crate::export::{self, Answer, Head, Mode, Stop, invalid};

/// Asks a Gatekeeper for pages.
#[derive(Debug)]
pub(crate) struct Exporter {
    client: Client,
    /// The most DIDs and rows that are requested after an answer was too long.
    snapshot_cap: u32,
    changes_cap: u32,
    /// Epoch and checkpoint of the last answer.
    last: Option<(String, SyncOrder)>,
}

/// A request as the deployed mediator sends it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'r> {
    mode: &'static str,
    cursor: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_cursor: Option<String>,
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_operations: Option<bool>,
}

enum Fetched {
    Answer(Box<Answer>),
    /// One record's answer is too long.
    TooLong(Box<Head>, Seen),
}

/// The start and the hash of the bytes read of an answer.
#[derive(Clone, Default)]
struct Seen {
    start: Vec<u8>,
    hash: Sha256,
}

impl Exporter {
    pub(crate) fn new(config: GatekeeperConfig) -> Self {
        Self {
            client: Client::new(config),
            snapshot_cap: u32::MAX,
            changes_cap: u32::MAX,
            last: None,
        }
    }

    pub(crate) fn snapshot(
        &mut self,
        after: Option<&SnapshotCursor>,
        limit: u32,
        cancelled: Cancelled<'_>,
    ) -> Result<SnapshotPage, SourceError> {
        let started = Instant::now();
        let request = |limit| Request {
            mode: Mode::Snapshot.as_str(),
            cursor: after.map(|after| after.cursor.as_str()),
            checkpoint_cursor: after.map(|after| after.checkpoint.to_string()),
            limit,
            include_operations: None,
        };
        let mut cap = self.snapshot_cap;
        let fetched = self.fetch(Mode::Snapshot, limit, &mut cap, request, cancelled);
        self.snapshot_cap = cap;
        let fetched = fetched?;
        let fetch = started.elapsed();
        let mut page = match fetched {
            Fetched::Answer(answer) => export::snapshot(*answer),
            Fetched::TooLong(head, seen) => self.snapshot_past(&head, seen),
        }
        .map_err(protocol)?;
        page.spent.fetch += fetch;
        self.last = Some((page.epoch.as_str().to_owned(), page.checkpoint));
        Ok(page)
    }

    pub(crate) fn changes(
        &mut self,
        after: SyncOrder,
        limit: u32,
        cancelled: Cancelled<'_>,
    ) -> Result<ChangesPage, SourceError> {
        let started = Instant::now();
        let cursor = (after > SyncOrder::ZERO).then(|| after.to_string());
        let request = |limit| Request {
            mode: Mode::Changes.as_str(),
            cursor: cursor.as_deref(),
            checkpoint_cursor: None,
            limit,
            include_operations: Some(true),
        };
        let mut cap = self.changes_cap;
        let fetched = self.fetch(Mode::Changes, limit, &mut cap, request, cancelled);
        self.changes_cap = cap;
        let fetched = fetched?;
        let fetch = started.elapsed();
        let mut page = match fetched {
            Fetched::Answer(answer) => export::changes(*answer, Some(after)).map(|read| {
                let unplaced = read.unplaced.into_iter().map(Change::Invalid);
                ChangesPage {
                    epoch: SourceEpoch::new(read.header.epoch),
                    next: read.cursor.unwrap_or(after),
                    checkpoint: read.header.checkpoint,
                    more: read.header.more,
                    changes: read.rows.into_iter().chain(unplaced).collect(),
                    spent: read.spent,
                }
            }),
            Fetched::TooLong(head, seen) => self.changes_past(&head, seen, after),
        }
        .map_err(protocol)?;
        page.spent.fetch += fetch;
        self.last = Some((page.epoch.as_str().to_owned(), page.checkpoint));
        Ok(page)
    }

    /// Requests a page, with a lower limit as long as the answer is too long.
    fn fetch<'r>(
        &self,
        mode: Mode,
        limit: u32,
        cap: &mut u32,
        request: impl Fn(u32) -> Request<'r>,
        cancelled: Cancelled<'_>,
    ) -> Result<Fetched, SourceError> {
        let limit = limit.max(1);
        loop {
            let asked = limit.min(*cap);
            let request = serde_json::to_string(&request(asked)).map_err(|error| {
                let message = "the request cannot be written";
                SourceError::new(SourceErrorKind::Protocol, message).with_source(error)
            })?;
            let fetched = self.client.ask(&request, cancelled, |body| {
                self.read(body, mode, asked == 1)
            })?;
            match fetched {
                Fetched::TooLong(..) if asked > 1 => *cap = asked / 2,
                Fetched::TooLong(..) => return Ok(fetched),
                Fetched::Answer(_) => {
                    if asked < limit {
                        *cap = asked.saturating_mul(2);
                    }
                    return Ok(fetched);
                }
            }
        }
    }

    /// Reads an answer. If it may become an invalid record (`kept`), its start and hash are noted.
    fn read(&self, body: &mut dyn Read, mode: Mode, kept: bool) -> Result<Fetched, Stop> {
        let mut seen = Seen::default();
        let bound = self.client.config().body_bytes;
        let mut answer = Answer::default();
        let split = if kept {
            let noting = Noting {
                inner: body,
                seen: &mut seen,
            };
            export::split(noting, mode, bound, &mut answer)
        } else {
            export::split(body, mode, bound, &mut answer)
        };
        match split {
            Ok(()) => Ok(Fetched::Answer(Box::new(answer))),
            Err(Stop::TooLong) => Ok(Fetched::TooLong(Box::new(answer.head), seen)),
            Err(stop) => Err(stop),
        }
    }

    /// A page of changes without its one record.
    fn changes_past(
        &self,
        head: &Head,
        seen: Seen,
        after: SyncOrder,
    ) -> Result<ChangesPage, String> {
        let epoch = self.epoch_past(head, Mode::Changes)?;
        let cursor = head.cursor().and_then(|cursor| cursor.parse().ok());
        let next = cursor.or(after.next()).unwrap_or(after);
        let last = self.last.as_ref().map(|(_, checkpoint)| *checkpoint);
        Ok(ChangesPage {
            epoch: SourceEpoch::new(epoch),
            next,
            checkpoint: head.checkpoint().or(last).unwrap_or(next),
            more: head.more().unwrap_or(true),
            // Of a page of one row the cursor is that row's position.
            changes: vec![Change::Invalid(seen.record(cursor))],
            spent: Spent::default(),
        })
    }

    /// A page of a snapshot without its one DID.
    fn snapshot_past(&self, head: &Head, seen: Seen) -> Result<SnapshotPage, String> {
        let header = head.read(Mode::Snapshot).map_err(|fault| {
            let bound = self.client.config().body_bytes;
            format!("the answer for one DID is longer than {bound} bytes, and in these {fault}")
        })?;
        Ok(SnapshotPage {
            next: export::next(&header)?,
            epoch: SourceEpoch::new(header.epoch),
            checkpoint: header.checkpoint,
            operations: Vec::new(),
            invalid: vec![seen.record(None)],
            spent: Spent::default(),
        })
    }

    fn epoch_past(&self, head: &Head, mode: Mode) -> Result<String, String> {
        if head.mode().is_some_and(|found| found != mode) {
            return Err("the answer is of another mode, and too long".to_owned());
        }
        let last = self.last.as_ref().map(|(epoch, _)| epoch.clone());
        head.epoch().or(last).ok_or_else(|| {
            let bound = self.client.config().body_bytes;
            format!("the answer for one row is longer than {bound} bytes, without an indexEpoch")
        })
    }
}

impl Seen {
    fn record(self, seq: Option<SyncOrder>) -> InvalidRecord {
        InvalidRecord {
            sha256: self.hash.finalize().into(),
            ..invalid(Invalid::TooLarge.code(), seq, None, self.start)
        }
    }
}

/// Notes the start and the hash of what is read through it.
struct Noting<'s, R> {
    inner: R,
    seen: &'s mut Seen,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        self.seen.hash.update(read);
        let room = InvalidRecord::START_BYTES.saturating_sub(self.seen.start.len());
        let start = read.get(..room).unwrap_or(read);
        self.seen.start.extend_from_slice(start);
        Ok(length)
    }
}

fn protocol(fault: String) -> SourceError {
    SourceError::new(SourceErrorKind::Protocol, fault)
}
