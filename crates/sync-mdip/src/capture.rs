//! A source over recorded answers.

mod index;
mod line;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sync_core::SyncOrder;
use sync_hydrate::{
    Change, ChangesPage, SnapshotCursor, SnapshotPage, Source, SourceEpoch, SourceError,
    SourceErrorKind, Spent,
};

use self::index::{Index, LineLocation};
use crate::export::{self, Changes, Mode, Stop};

/// A [`Source`] over files of recorded answers of a Gatekeeper's index export, one answer a line.
///
/// - Pages of changes are cut to the limit that is asked for, which may differ from the recorded one. A
///   page ends at the latest where the recorded one ended.
/// - Pages of a snapshot are served as they were recorded, in their order; of several snapshots the
///   first one.
/// - The lines of one file are the answers to one reader: a line whose cursor is above that of the line
///   before continues it. Several files, or several runs in one file, may overlap.
/// - If the files do not cover a position, the page begins with their first row after it.
/// - The checkpoint of a page of changes is the highest that any line says.
/// - A line that is cut off or no answer is an error that names it, once it is reached; everything
///   before it is served.
///
/// Memory holds a few words for every line, and the last line that was read. Files are read in the poll
/// of a future, which blocks meanwhile.
#[derive(Debug)]
pub struct CaptureSource {
    name: String,
    index: Index,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    files: Vec<File>,
    /// The last page of changes that was read, and where it is.
    last: Option<(LineLocation, Arc<Changes>)>,
}

impl CaptureSource {
    /// The name of a capture that was not [given another](Self::named).
    pub const NAME: &str = "capture";

    /// Opens `files` and notes where their lines are. Every line is passed over once.
    ///
    /// - [`Io`](SourceErrorKind::Io) where a file cannot be read.
    /// - [`Protocol`](SourceErrorKind::Protocol) where lines are of different epochs, or none is an
    ///   answer of the index export.
    /// - [`Missing`](SourceErrorKind::Missing) where there are no lines.
    pub fn open(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, SourceError> {
        let paths = files.into_iter().map(Into::into).collect::<Vec<PathBuf>>();
        let mut files = Vec::new();
        for path in &paths {
            files.push(File::open(path).map_err(|error| unreadable(path, error))?);
        }
        Ok(Self {
            name: Self::NAME.to_owned(),
            index: Index::of(paths, &mut files)?,
            state: Mutex::new(State { files, last: None }),
        })
    }

    /// The same source under another name, such as that of the Gatekeeper it was recorded from.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether the files have a snapshot, or the beginning of one.
    pub fn has_snapshot(&self) -> bool {
        self.index.has_snapshot()
    }

    /// Splits the line at `at`; `page` makes a page of it.
    fn read<T>(
        &self,
        files: &mut [File],
        at: &LineLocation,
        mode: Mode,
        page: impl FnOnce(export::Answer) -> Result<T, String>,
    ) -> Result<(T, Spent), SourceError> {
        let started = Instant::now();
        let mut answer = export::Answer::default();
        let split = files.get_mut(at.file).map_or_else(
            || Err(Stop::Read(io::ErrorKind::NotFound.into())),
            |file| {
                file.seek(SeekFrom::Start(at.offset)).map_err(Stop::Read)?;
                export::split(file.take(at.length), mode, u64::MAX, &mut answer)
            },
        );
        split.map_err(|stop| self.index.stopped(at, stop))?;
        let fetch = started.elapsed();
        let page = page(answer).map_err(|fault| self.index.wrong(at, &fault))?;
        let spent = Spent {
            fetch,
            ..Spent::default()
        };
        Ok((page, spent))
    }

    fn snapshot_page(&self, after: Option<&SnapshotCursor>) -> Result<SnapshotPage, SourceError> {
        let at = self.index.snapshot(after)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut page, spent) = self.read(&mut state.files, at, Mode::Snapshot, |answer| {
            export::snapshot(answer)
        })?;
        page.spent += spent;
        self.require_epoch(at, page.epoch.as_str())?;
        Ok(page)
    }

    fn changes_page(&self, after: SyncOrder, limit: u32) -> Result<ChangesPage, SourceError> {
        let Some((at, end)) = self.index.changes(after)? else {
            return Ok(self.page(after, Vec::new(), Spent::default()));
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut spent = Spent::default();
        let recorded = match &state.last {
            Some((last, page)) if last == at => Arc::clone(page),
            _ => {
                state.last = None;
                let (page, fetched) = self.read(&mut state.files, at, Mode::Changes, |answer| {
                    export::changes(answer, None)
                })?;
                self.require_epoch(at, &page.header.epoch)?;
                if page.cursor != Some(end) {
                    let fault = "it has two cursors that differ";
                    return Err(self.index.wrong(at, fault));
                }
                spent = fetched;
                spent += page.spent;
                let page = Arc::new(page);
                state.last = Some((at.clone(), Arc::clone(&page)));
                page
            }
        };
        let rows = &recorded.rows;
        let from = rows.partition_point(|row| row.seq() <= Some(after));
        let rows = rows.get(from..).unwrap_or_default();
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        // Rows of one position are not parted: the next page would begin after all of them.
        let last = rows.get(limit - 1).and_then(Change::seq);
        let taken = last.map_or(rows.len(), |last| {
            rows.partition_point(|row| row.seq() <= Some(last))
        });
        let mut changes = rows.get(..taken).unwrap_or_default().to_vec();
        let next = match last {
            Some(last) if taken < rows.len() => last,
            _ => {
                let unplaced = recorded.unplaced.iter().cloned();
                changes.extend(unplaced.map(Change::Invalid));
                end
            }
        };
        Ok(self.page(next, changes, spent))
    }

    fn page(&self, next: SyncOrder, changes: Vec<Change>, spent: Spent) -> ChangesPage {
        ChangesPage {
            epoch: SourceEpoch::new(self.index.epoch()),
            next,
            checkpoint: self.index.checkpoint(),
            more: self.index.has_more(next),
            changes,
            spent,
        }
    }

    fn require_epoch(&self, at: &LineLocation, epoch: &str) -> Result<(), SourceError> {
        if epoch == self.index.epoch() {
            Ok(())
        } else {
            Err(self.index.wrong(at, "its epoch is not that of the others"))
        }
    }
}

impl Source for CaptureSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn snapshot(
        &self,
        after: Option<&SnapshotCursor>,
        _limit: u32,
    ) -> Result<SnapshotPage, SourceError> {
        self.snapshot_page(after)
    }

    async fn changes(&self, after: SyncOrder, limit: u32) -> Result<ChangesPage, SourceError> {
        self.changes_page(after, limit)
    }
}

fn unreadable(path: &Path, error: io::Error) -> SourceError {
    let message = format!("{} cannot be read", path.display());
    SourceError::new(SourceErrorKind::Io, message).with_source(error)
}
