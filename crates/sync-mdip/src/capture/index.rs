//! Where the lines of a capture are, and what they answer.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use sync_core::SyncOrder;
use sync_hydrate::{SnapshotCursor, SourceError, SourceErrorKind};

use super::line::Line;
use super::unreadable;
use crate::export::{self, Answer, Header, Mode, Stop, shown};

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineLocation {
    pub(crate) file: usize,
    /// Counted from 1.
    number: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    paths: Vec<PathBuf>,
    epoch: String,
    checkpoint: SyncOrder,
    snapshot: Snapshot,
    runs: Vec<Run>,
}

/// The first snapshot.
#[derive(Debug, Default)]
struct Snapshot {
    pages: Vec<Page>,
    /// Which page comes after a cursor.
    after: HashMap<String, usize>,
    /// Whether its last page was found, or one that cannot be read.
    ended: bool,
}

/// Lines of changes, each of which continues the one before.
#[derive(Debug)]
struct Run {
    /// The position after which the first line begins.
    start: SyncOrder,
    /// Each with its cursor, which is the highest position for a page that cannot be read.
    pages: Vec<(SyncOrder, Page)>,
}

#[derive(Debug)]
struct Page {
    at: LineLocation,
    /// Why it cannot be read, where its beginning shows that.
    fault: Option<String>,
}

/// The line before.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Snapshot,
    Changes,
    Fault,
}

impl Index {
    pub(crate) fn of(paths: Vec<PathBuf>, files: &mut [File]) -> Result<Self, SourceError> {
        let mut index = Self {
            paths,
            epoch: String::new(),
            checkpoint: SyncOrder::ZERO,
            snapshot: Snapshot::default(),
            runs: Vec::new(),
        };
        for (number, file) in files.iter_mut().enumerate() {
            let known = index.runs.len();
            index.read(number, file)?;
            for run in index.runs.iter_mut().skip(known) {
                run.find_start(file);
            }
        }
        if index.epoch.is_empty() {
            return Err(index.nothing());
        }
        Ok(index)
    }

    /// Notes the lines of one file.
    fn read(&mut self, number: usize, file: &File) -> Result<(), SourceError> {
        let mut reader = BufReader::new(file);
        let mut at = LineLocation {
            file: number,
            number: 0,
            offset: 0,
            length: 0,
        };
        let mut before = Before::Nothing;
        loop {
            at.number += 1;
            at.offset += at.length;
            let mut line = Line::new(&mut reader);
            let head = export::head(&mut line);
            let is_blank = line.is_blank();
            at.length = line.finish().map_err(|error| self.io(number, error))?;
            if at.length == 0 {
                return Ok(());
            }
            if !is_blank {
                let header = match head {
                    Ok(head) => match head.mode() {
                        Some(mode) => head.read(mode).map(|header| (mode, header)),
                        None => Err("it is neither a snapshot nor changes".to_owned()),
                    },
                    Err(Stop::Read(error)) => return Err(self.io(number, error)),
                    Err(stop) => Err(fault(&stop)),
                };
                before = self.note(at.clone(), header, before)?;
            }
        }
    }

    fn note(
        &mut self,
        at: LineLocation,
        header: Result<(Mode, Header), String>,
        before: Before,
    ) -> Result<Before, SourceError> {
        let header = header.and_then(|(mode, header)| match mode {
            Mode::Snapshot => Ok((None, header)),
            Mode::Changes => Ok((Some(header.position()?.unwrap_or_default()), header)),
        });
        let (end, header) = match header {
            Ok(header) => header,
            Err(fault) => {
                self.note_fault(at, fault, before);
                return Ok(Before::Fault);
            }
        };
        if self.epoch.is_empty() {
            self.epoch.clone_from(&header.epoch);
        }
        if self.epoch != header.epoch {
            let fault = format!(
                "its epoch is {:?}, and before it was {:?}",
                shown(&header.epoch),
                shown(&self.epoch)
            );
            return Err(self.wrong(&at, &fault));
        }
        self.checkpoint = self.checkpoint.max(header.checkpoint);
        let page = Page { at, fault: None };
        let Some(end) = end else {
            self.snapshot.note(page, &header);
            return Ok(Before::Snapshot);
        };
        match (before, self.runs.last_mut()) {
            (Before::Changes, Some(run)) if run.end() <= end => {
                if run.end() < end {
                    run.pages.push((end, page));
                }
            }
            _ => self.runs.push(Run {
                start: SyncOrder::ZERO,
                pages: vec![(end, page)],
            }),
        }
        Ok(Before::Changes)
    }

    /// Notes a line whose beginning is no answer in the place where the answer would be.
    fn note_fault(&mut self, at: LineLocation, fault: String, before: Before) {
        let page = Page {
            at,
            fault: Some(fault),
        };
        match (before, self.runs.last_mut()) {
            // Reading ends at the first fault, so further ones are never reached.
            (Before::Fault, _) => {}
            (Before::Snapshot, _) if !self.snapshot.ended => {
                self.snapshot.pages.push(page);
                self.snapshot.ended = true;
            }
            (Before::Changes, Some(run)) => run.pages.push((SyncOrder::MAX, page)),
            _ => self.runs.push(Run {
                start: SyncOrder::ZERO,
                pages: vec![(SyncOrder::MAX, page)],
            }),
        }
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn checkpoint(&self) -> SyncOrder {
        self.checkpoint
    }

    pub(crate) fn has_snapshot(&self) -> bool {
        !self.snapshot.pages.is_empty()
    }

    /// The line with the page of the snapshot after `after`.
    pub(crate) fn snapshot(
        &self,
        after: Option<&SnapshotCursor>,
    ) -> Result<&LineLocation, SourceError> {
        let missing = |message: &str| SourceError::new(SourceErrorKind::Missing, message);
        let Some(last) = self.snapshot.pages.last() else {
            return Err(missing("the capture has no snapshot"));
        };
        let number = match after {
            None => Some(0),
            Some(after) => self.snapshot.after.get(&after.cursor).copied(),
        };
        let number = number.ok_or_else(|| missing("the capture's snapshot has no such cursor"))?;
        match self.snapshot.pages.get(number) {
            Some(page) => self.sound(page),
            None => Err(self.wrong(&last.at, "the capture ends inside its snapshot")),
        }
    }

    /// The line that shows what comes after position `after`, with its cursor; `None` where no
    /// line does.
    pub(crate) fn changes(
        &self,
        after: SyncOrder,
    ) -> Result<Option<(&LineLocation, SyncOrder)>, SourceError> {
        let candidates = self.runs.iter().filter_map(|run| run.after(after));
        // A line that begins at `after` or below leaves nothing out. If there is none, the line that
        // begins first leaves out only rows that no line has.
        let best = candidates.min_by_key(|(start, (end, _))| ((*start).max(after), *end));
        best.map(|(_, (end, page))| Ok((self.sound(page)?, *end)))
            .transpose()
    }

    /// Whether any line shows what comes after `after`.
    pub(crate) fn has_more(&self, after: SyncOrder) -> bool {
        self.runs.iter().any(|run| run.after(after).is_some())
    }

    fn sound<'p>(&self, page: &'p Page) -> Result<&'p LineLocation, SourceError> {
        match &page.fault {
            None => Ok(&page.at),
            Some(fault) => Err(self.wrong(&page.at, fault)),
        }
    }

    /// The error of a line that is no answer.
    pub(crate) fn wrong(&self, at: &LineLocation, fault: &str) -> SourceError {
        let message = format!("{}, line {}: {fault}", self.path(at.file), at.number);
        SourceError::new(SourceErrorKind::Protocol, message)
    }

    /// The error of a line that was not read to its end.
    pub(crate) fn stopped(&self, at: &LineLocation, stop: Stop) -> SourceError {
        match stop {
            Stop::Read(source) => self.io(at.file, source),
            stop => self.wrong(at, &fault(&stop)),
        }
    }

    fn io(&self, file: usize, error: std::io::Error) -> SourceError {
        unreadable(&self.paths.get(file).cloned().unwrap_or_default(), error)
    }

    fn path(&self, file: usize) -> String {
        self.paths
            .get(file)
            .map_or_else(String::new, |path| path.display().to_string())
    }

    /// The error where no line is an answer.
    fn nothing(&self) -> SourceError {
        let mut pages = self.runs.iter().flat_map(|run| &run.pages);
        match pages.next() {
            Some((_, Page { at, fault })) => self.wrong(at, fault.as_deref().unwrap_or_default()),
            None => SourceError::new(SourceErrorKind::Missing, "the capture has no lines"),
        }
    }
}

impl Snapshot {
    fn note(&mut self, page: Page, header: &Header) {
        if self.ended {
            return;
        }
        self.pages.push(page);
        self.ended = !header.more;
        if let Some(cursor) = &header.cursor {
            let next = self.pages.len();
            self.after.entry(cursor.clone()).or_insert(next);
        }
    }
}

impl Run {
    fn end(&self) -> SyncOrder {
        self.pages.last().map_or(self.start, |(end, _)| *end)
    }

    /// The page that shows what comes after `after`, with the position after which it begins.
    fn after(&self, after: SyncOrder) -> Option<(SyncOrder, &(SyncOrder, Page))> {
        let number = self.pages.partition_point(|(end, _)| *end <= after);
        let page = self.pages.get(number)?;
        let before = number.checked_sub(1).and_then(|last| self.pages.get(last));
        Some((before.map_or(self.start, |(end, _)| *end), page))
    }

    /// Reads the first line for where it begins, which only its rows show.
    fn find_start(&mut self, file: &mut File) {
        let Some((end, Page { at, fault: None })) = self.pages.first() else {
            return;
        };
        // A fault is reported when the line is served.
        let mut answer = Answer::default();
        let split = file
            .seek(SeekFrom::Start(at.offset))
            .map_err(Stop::Read)
            .and_then(|_| {
                let line = file.take(at.length);
                export::split(line, Mode::Changes, u64::MAX, &mut answer)
            });
        if split.is_ok() {
            let first = export::first_seq(&answer).unwrap_or(*end).value();
            self.start = SyncOrder::new(first.saturating_sub(1)).unwrap_or_default();
        }
    }
}

fn fault(stop: &Stop) -> String {
    match stop {
        Stop::Truncated => "the line is cut off".to_owned(),
        Stop::Malformed { at } => format!("no answer of the export from byte {at} of the line on"),
        Stop::TooLong | Stop::Read(_) => "the line cannot be read".to_owned(),
    }
}
