use sync_store::{Operation, Page, SyncStore};

use super::{Load, Loaded, PAGE_BYTES, after};
use crate::dump::{Line, Record, parse};
use crate::failure::{Failure, Result};

impl Load<'_> {
    /// Loads rows as a peer's page would: the rows and tombstones of the space stay.
    pub(super) async fn rows(mut self, first: Option<Line>) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut next = first;
        if self.cursor.position() > 0 {
            self.skip(|_| Ok(()))?;
            next = self.lines.next()?;
        }
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(line) = next {
            let row = row(&line).map_err(|failure| after(self.cursor.position(), failure))?;
            bytes += row.payload.len();
            page.push(row);
            if page.len() >= self.page_size || bytes >= PAGE_BYTES {
                self.apply(&mut loaded, std::mem::take(&mut page)).await?;
                bytes = 0;
            }
            let position = self.cursor.position();
            next = self
                .lines
                .next()
                .map_err(|failure| after(position, failure))?;
        }
        if !page.is_empty() || self.reset {
            self.apply(&mut loaded, page).await?;
        }
        Ok(loaded)
    }

    async fn apply(&mut self, loaded: &mut Loaded, rows: Vec<Operation>) -> Result<()> {
        let position = self.lines.count();
        let count = rows.len() as u64;
        let mut page = self.cursor.advance(Page::new().upserts(rows), position);
        page.reset = std::mem::take(&mut self.reset);
        let applied = self.store.apply(page).await?;
        self.cursor.is_at(position);
        loaded.counts.rows += count;
        loaded.totals += applied.totals();
        self.progress.at(position);
        Ok(())
    }
}

fn row(line: &Line) -> Result<Operation> {
    match parse(line)? {
        Record::Row(operation) => Ok(operation),
        Record::Header => Err(out_of_place(line, "a header that is not in the first line")),
        _ => Err(out_of_place(
            line,
            "a record of a complete dump, which begins with a header",
        )),
    }
}

fn out_of_place(line: &Line, what: &str) -> Failure {
    Failure::input(format!("line {}: {what}", line.number))
}
