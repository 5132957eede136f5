//! Logs as files of export answers, one a line.

use std::io::{self, Write};

use crate::Row;
use crate::log::{Log, write_changes};

/// How a log is written as a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// `indexEpoch` of every page.
    pub epoch: String,
    /// The newest position, which every page names as its checkpoint. `None` where it is not
    /// known: each page then names the position after it, as if the log were growing.
    pub newest: Option<u64>,
    /// The rows of a page. 0 counts as 1.
    pub limit: usize,
}

/// Writes `rows`, which come by rising position, as pages of changes, one a line, and answers how
/// many pages there are: one at least. Memory is one page.
///
/// The pages have `dids: []`, as no reader of operations looks at them; and `blocks: []`.
pub fn write_capture(
    rows: impl IntoIterator<Item = Row>,
    capture: &Capture,
    mut out: impl Write,
) -> io::Result<u64> {
    let limit = capture.limit.max(1);
    let mut rows = rows.into_iter().peekable();
    let mut pages = 0;
    let mut line = String::new();
    while pages == 0 || rows.peek().is_some() {
        let page = rows.by_ref().take(limit).collect::<Vec<_>>();
        let last = page.last().map(|row| row.seq);
        let next = rows.peek().map(|row| row.seq);
        let checkpoint = capture.newest.or(next).or(last).unwrap_or_default();
        line.clear();
        write_changes(&capture.epoch, &page, checkpoint, next.is_some(), &mut line);
        line.push('\n');
        out.write_all(line.as_bytes())?;
        pages += 1;
    }
    out.flush()?;
    Ok(pages)
}

/// Writes a snapshot of `log` as pages of `limit` DIDs, one a line, and answers how many pages there
/// are: one at least. A limit of 0 counts as 1.
pub fn write_snapshot(log: &Log, limit: usize, mut out: impl Write) -> io::Result<u64> {
    let mut pages = 0;
    let mut after = None;
    loop {
        let (page, next) = log.snapshot_page(after.as_ref(), limit.max(1));
        writeln!(out, "{page}")?;
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    out.flush()?;
    Ok(pages)
}
