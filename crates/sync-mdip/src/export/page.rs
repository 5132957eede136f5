use std::collections::HashMap;

use sync_core::{Object, SyncOrder};
use sync_hydrate::{
    Change, InvalidRecord, SnapshotPage, SourceEpoch, SourceOperation, Spent, Visibility,
};

use super::Mode;
use super::records::{Checked, map};
use super::rows::{self, Removed};
use super::split::{Answer, Header, scope};
use crate::local::Scope;

pub(crate) use super::rows::Window;

/// A page of changes, as it was answered or recorded.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(crate) header: Header,
    /// The position of the last row, where the answer has a cursor.
    pub(crate) cursor: Option<SyncOrder>,
    /// The rows whose position can be read, by position; of equal ones additions first.
    pub(crate) rows: Vec<Change>,
    /// The other rows.
    pub(crate) unplaced: Vec<InvalidRecord>,
    pub(crate) spent: Spent,
}

/// Reads the records of an answer to a request for changes after `after`; the error says what the
/// whole answer lacks.
///
/// A row that is not above `after`, or is above the answer's cursor, is an invalid record, because its
/// position is outside this page.
pub(crate) fn changes(answer: Answer, after: Option<SyncOrder>) -> Result<Changes, String> {
    let header = answer.head.read(Mode::Changes)?;
    let cursor = header.position()?;
    let operations = answer.operations.ok_or("operations is not an array")?;
    if answer.removed_is_no_array {
        return Err("removedOperations is not an array".to_owned());
    }
    let window = Window {
        after,
        end: cursor.or(after),
    };
    let (added, spent) = map(&operations, |row, spent| {
        rows::operation(row, window, spent)
    });
    let scopes = with_creates(answer.scopes, added.iter().flatten());
    let added = added.into_iter().map(|row| match row {
        Ok(checked) => Change::Added(visible(checked, &scopes)),
        Err(record) => Change::Invalid(*record),
    });
    let removed = answer.removed.unwrap_or_default();
    let removed = removed.iter().map(|row| match rows::removed(row, window) {
        Ok(Removed { seq, id, object }) => Change::Removed { seq, id, object },
        Err(record) => Change::Invalid(*record),
    });
    let mut placed = Vec::new();
    let mut unplaced = Vec::new();
    for change in added.chain(removed) {
        match change {
            Change::Invalid(record) if record.seq.is_none() => unplaced.push(record),
            change => placed.push(change),
        }
    }
    placed.sort_by_key(Change::seq);
    Ok(Changes {
        header,
        cursor,
        rows: placed,
        unplaced,
        spent,
    })
}

/// Reads the records of a page of a snapshot; the error says what the answer as a whole lacks.
pub(crate) fn snapshot(answer: Answer) -> Result<SnapshotPage, String> {
    let header = answer.head.read(Mode::Snapshot)?;
    let next = next(&header)?;
    let histories = answer.histories.ok_or("dids is not an array")?;
    let (read, spent) = map(&histories, |history, spent| {
        (scope(&history.json), rows::history(history, spent))
    });
    let mut scopes = HashMap::new();
    let mut checked = Vec::new();
    let mut invalid = Vec::new();
    for (shown, operations) in read {
        scopes.extend(shown);
        for operation in operations {
            match operation {
                Ok(operation) => checked.push(operation),
                Err(record) => invalid.push(*record),
            }
        }
    }
    let scopes = with_creates(scopes, checked.iter());
    Ok(SnapshotPage {
        epoch: SourceEpoch::new(header.epoch),
        checkpoint: header.checkpoint,
        next,
        operations: checked
            .into_iter()
            .map(|checked| visible(checked, &scopes))
            .collect(),
        invalid,
        spent,
    })
}

/// The lowest position among the rows of an answer.
pub(crate) fn first_seq(answer: &Answer) -> Option<SyncOrder> {
    let rows = [&answer.operations, &answer.removed];
    rows.into_iter()
        .flatten()
        .flatten()
        .filter_map(rows::seq)
        .min()
}

/// Where the page after one of a snapshot begins.
pub(crate) fn next(header: &Header) -> Result<Option<String>, String> {
    if !header.more {
        return Ok(None);
    }
    match &header.cursor {
        Some(cursor) => Ok(Some(cursor.clone())),
        None => Err("hasMore is true and there is no cursor".to_owned()),
    }
}

/// Creates among the page's own operations override histories, because they are verified.
fn with_creates<'c>(
    mut scopes: HashMap<Object, Scope>,
    checked: impl Iterator<Item = &'c Checked>,
) -> HashMap<Object, Scope> {
    let creates = checked.filter_map(|checked| {
        let object = checked.operation.object.clone()?;
        Some((object, checked.scope?))
    });
    scopes.extend(creates);
    scopes
}

fn visible(checked: Checked, scopes: &HashMap<Object, Scope>) -> SourceOperation {
    let scope = checked.scope.or_else(|| {
        let object = checked.operation.object.as_ref()?;
        scopes.get(object).copied()
    });
    SourceOperation {
        operation: checked.operation,
        visibility: match scope {
            Some(Scope::Local) => Visibility::Private,
            Some(Scope::Public) => Visibility::Public,
            None => Visibility::AsItsObject,
        },
    }
}
