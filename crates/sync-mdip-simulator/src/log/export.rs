//! The answers of the index export.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Bound;

use super::history::History;
use super::request::{Refusal, Request, position};
use super::{Log, suffix};
use crate::{Change, Row};

impl Log {
    /// Answers a request of the index export: the response body, or why the request is refused.
    ///
    /// Field by field in the order and spelling of the deployed Gatekeeper.
    pub fn export(&self, request: &[u8]) -> Result<String, Refusal> {
        Ok(self.answer(&Request::parse(request)?))
    }

    /// Answers a request that was read.
    pub fn answer(&self, request: &Request) -> String {
        match request {
            Request::Snapshot { after, limit } => self.snapshot(after.as_ref(), *limit),
            Request::Changes {
                cursor,
                limit,
                include_operations,
            } => self.changes(cursor.as_deref(), *limit, *include_operations),
        }
    }

    fn snapshot(&self, after: Option<&(String, String)>, limit: usize) -> String {
        self.snapshot_page(after, limit).0
    }

    /// A page of the snapshot, and where the next one begins if there is one.
    pub(crate) fn snapshot_page(
        &self,
        after: Option<&(String, String)>,
        limit: usize,
    ) -> (String, Option<(String, String)>) {
        let cursor = after.map(|(cursor, _)| cursor.as_str());
        let checkpoint = match (after, &self.frozen) {
            (Some((_, checkpoint)), _) => checkpoint.clone(),
            (None, Some(frozen)) => frozen.checkpoint.to_string(),
            (None, None) => self.newest().to_string(),
        };
        let page = match &self.frozen {
            Some(frozen) => page(&frozen.histories, |history| history, cursor, limit),
            None => page(&self.subjects, |subject| &subject.history, cursor, limit),
        };
        let cursor = page.last.or(cursor);
        let mut out = head("snapshot", &self.epoch, cursor, &checkpoint, page.more);
        list(&mut out, "dids", page.histories, did_record);
        out.push_str(r#","blocks":[]}"#);
        let next = cursor.filter(|_| page.more);
        (out, next.map(|cursor| (cursor.to_owned(), checkpoint)))
    }

    fn changes(&self, cursor: Option<&str>, limit: usize, operations: bool) -> String {
        let after = position(cursor);
        let start = self.rows.partition_point(|row| row.seq <= after);
        let mut rows = self
            .rows
            .iter()
            .skip(start)
            .filter(|row| !self.hidden.contains(&row.seq));
        let page = rows.by_ref().take(limit).collect::<Vec<_>>();
        let more = rows.next().is_some();
        let last = page.last().map(|row| row.seq.to_string());
        let checkpoint = self.newest().to_string();
        let mut out = head(
            "changes",
            &self.epoch,
            last.as_deref().or(cursor),
            &checkpoint,
            more,
        );
        list(
            &mut out,
            "dids",
            self.changed(&page),
            |out, changed| match changed {
                (did, None) => {
                    let did = quoted(did);
                    let _ = write!(out, r#"{{"did":{did},"events":[],"removed":true}}"#);
                }
                (_, Some(history)) => did_record(out, history),
            },
        );
        out.push(',');
        let blocks = page.iter().filter_map(|row| match &row.change {
            Change::Block { json } => Some(json.as_str()),
            _ => None,
        });
        list(&mut out, "blocks", blocks, String::push_str);
        if operations {
            write_operations(&page, &mut out);
        }
        out.push('}');
        out
    }

    /// The DIDs that the page changed, in the order of each one's last row, with their histories;
    /// without, where that row removed the DID.
    fn changed<'a>(&'a self, page: &[&'a Row]) -> Vec<(&'a str, Option<&'a History>)> {
        let mut last: HashMap<String, &Row> = HashMap::new();
        for row in page {
            if let Some(did) = row.change.did() {
                last.insert(suffix(did), row);
            }
        }
        let mut last = last.into_iter().collect::<Vec<_>>();
        last.sort_unstable_by_key(|(_, row)| row.seq);
        let record = |(suffix, row): (String, &'a Row)| {
            let history = match row.change {
                Change::Removed { .. } => None,
                _ => Some(&self.subjects.get(&suffix)?.history),
            };
            Some((row.change.did()?, history))
        };
        last.into_iter().filter_map(record).collect()
    }
}

/// A page of changes without histories and blocks. `newest` is the checkpoint.
pub(crate) fn write_changes(epoch: &str, page: &[Row], newest: u64, more: bool, out: &mut String) {
    let cursor = page.last().map(|row| row.seq.to_string());
    let newest = newest.to_string();
    out.push_str(&head("changes", epoch, cursor.as_deref(), &newest, more));
    out.push_str(r#""dids":[],"blocks":[]"#);
    write_operations(&page.iter().collect::<Vec<_>>(), out);
    out.push('}');
}

fn head(mode: &str, epoch: &str, cursor: Option<&str>, checkpoint: &str, has_more: bool) -> String {
    let epoch = quoted(epoch);
    let cursor = cursor.map_or_else(|| "null".to_owned(), quoted);
    let checkpoint = quoted(checkpoint);
    format!(
        r#"{{"mode":"{mode}","indexEpoch":{epoch},"cursor":{cursor},"checkpointCursor":{checkpoint},"hasMore":{has_more},"#
    )
}

/// A page of a snapshot.
struct Page<'a> {
    histories: Vec<&'a History>,
    /// The suffix of the last DID.
    last: Option<&'a str>,
    more: bool,
}

fn page<'a, T>(
    subjects: &'a BTreeMap<String, T>,
    history: impl Fn(&'a T) -> &'a History,
    after: Option<&str>,
    limit: usize,
) -> Page<'a> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut subjects = subjects
        .range::<str, _>((start, Bound::Unbounded))
        .map(|(suffix, subject)| (suffix.as_str(), history(subject)))
        .filter(|(_, history)| !history.is_removed());
    let (suffixes, histories): (Vec<_>, Vec<_>) = subjects.by_ref().take(limit).unzip();
    Page {
        last: suffixes.last().copied(),
        histories,
        more: subjects.next().is_some(),
    }
}

/// The rows of the page that concern operations, the two kinds apart.
fn write_operations(page: &[&Row], out: &mut String) {
    let added = page
        .iter()
        .filter(|row| matches!(row.change, Change::Accepted { .. } | Change::Raw { .. }));
    out.push(',');
    list(out, "operations", added, |out, row| {
        write_operation(row, out);
    });
    let mut removed = page
        .iter()
        .filter_map(|row| match &row.change {
            Change::Removed { did, hash } => Some((row.seq, did, hash)),
            _ => None,
        })
        .peekable();
    if removed.peek().is_some() {
        out.push(',');
        list(
            out,
            "removedOperations",
            removed,
            |out, (seq, did, hash)| {
                let (did, hash) = (quoted(did), quoted(&hash.to_ascii_lowercase()));
                let _ = write!(out, r#"{{"seq":{seq},"did":{did},"operationHash":{hash}}}"#);
            },
        );
    }
}

fn write_operation(row: &Row, out: &mut String) {
    match &row.change {
        Change::Accepted { did, event } => {
            let (seq, did, event_json) = (row.seq, quoted(did), event.json());
            // Writing to a string cannot fail.
            let _ = write!(out, r#"{{"seq":{seq},"did":{did},"event":{event_json}"#);
            if let Some(hash) = event.hash() {
                let _ = write!(out, r#","operationHash":{}"#, quoted(hash));
            }
            out.push('}');
        }
        Change::Raw { json } => out.push_str(json),
        Change::Removed { .. }
        | Change::Confirmed { .. }
        | Change::Block { .. }
        | Change::Unseen => {}
    }
}

fn did_record(out: &mut String, history: &History) {
    let _ = write!(out, r#"{{"did":{},"#, quoted(history.did()));
    list(out, "events", history.events(), |out, event| {
        out.push_str(event.json());
    });
    out.push('}');
}

fn list<T>(
    out: &mut String,
    name: &str,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    let _ = write!(out, r#""{name}":["#);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
