//! An old database as its readers hand it out, and what a row of it must be to become an operation.

use std::fmt;

use sync_core::{Bytes, OpId, Operation, Result, SyncOrder, Ts};
use sync_mdip::{Invalid, Record};

use crate::report::{RefusedReason, RefusedRow};

/// The order by which a mediator marks what its Gatekeeper rejected for good.
const REJECTED: i64 = SyncOrder::MAX.as_i64();

/// Characters of a text that a report keeps.
const KEPT: usize = 80;

/// One snapshot of a deployed mediator's database. It is only read.
pub trait OldDatabase: Send {
    /// What the snapshot holds.
    fn contents(&self) -> &Contents;

    /// The next rows of `operations`; none at the end.
    ///
    /// Rows come by their sync order, those without one last, then by time, then by id: equal
    /// snapshots give equal walks.
    fn rows(&mut self) -> impl Future<Output = Result<Vec<OldRow>>> + Send;
}

/// What a snapshot holds beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Differs wherever the rows or the state differ.
    pub mark: String,
    /// How many rows `operations` has.
    pub rows: u64,
    /// All rows of `sync_state`, by key.
    pub state: Vec<OldState>,
}

/// A row of `operations`, every column as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct OldRow {
    /// Where the row is in the old table: SQLite's `rowid`, `PostgreSQL`'s `ctid`.
    pub place: String,
    /// `id`: the hash that the operation claims.
    pub id: OldValue,
    /// `sync_order`: the position in the Gatekeeper's index.
    pub sync_order: OldValue,
    /// `signed_ts`: seconds since 1970.
    pub ts: OldValue,
    /// `operation_json`, where it is text.
    pub json: Option<String>,
}

/// A row of `sync_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldState {
    /// The key, where it is text.
    pub key: Option<String>,
    /// The value, where it is text or bytes.
    pub value: Option<Bytes>,
}

/// A value in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum OldValue {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, or what the database gives as text.
    Text(String),
    /// Bytes, or text that is not UTF-8: how many.
    Blob(usize),
}

/// Which of the mediator's columns its tables have.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) struct Layout {
    /// Tables from before `sync_order` have none.
    pub(crate) has_order: bool,
    /// `signed_ts`, or `ts` in a table from before it was renamed.
    pub(crate) ts: &'static str,
    pub(crate) has_state: bool,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Layout {
    /// The layout of tables with these names and columns; a message that says what is missing where
    /// they are not a mediator's. A table without columns is not there.
    pub(crate) fn of(
        (operations, columns): (&str, &[String]),
        (state, state_columns): (&str, &[String]),
    ) -> Result<Self, String> {
        let has = |columns: &[String], name: &str| columns.iter().any(|column| column == name);
        let lacks = |table: &str, column| format!("the table `{table}` has no column `{column}`");
        for column in ["id", "operation_json"] {
            if !has(columns, column) {
                return Err(lacks(operations, column));
            }
        }
        for column in ["key", "value"] {
            if !state_columns.is_empty() && !has(state_columns, column) {
                return Err(lacks(state, column));
            }
        }
        let renamed = ["signed_ts", "ts"].into_iter().find(|ts| has(columns, ts));
        let neither = || format!("the table `{operations}` has neither `signed_ts` nor `ts`");
        Ok(Self {
            has_order: has(columns, "sync_order"),
            ts: renamed.ok_or_else(neither)?,
            has_state: !state_columns.is_empty(),
        })
    }
}

impl OldRow {
    /// The operation as hydration would store it: object, time and canonical payload are those of
    /// the record, which has to be the one that the row's id names.
    ///
    /// Otherwise the first [reason](RefusedReason), in the order of the variants, to leave it out.
    pub(crate) fn operation(&self) -> Result<Operation, RefusedReason> {
        if self.sync_order == OldValue::Integer(REJECTED) {
            return Err(RefusedReason::RejectedUpstream);
        }
        let id: OpId = match &self.id {
            OldValue::Text(text) => text.parse().map_err(|_| RefusedReason::BadId)?,
            _ => return Err(RefusedReason::BadId),
        };
        match self.ts {
            OldValue::Integer(ts) if Ts::try_from(ts).is_ok() => {}
            _ => return Err(RefusedReason::BadTs),
        }
        let sync_order = match self.sync_order {
            OldValue::Null => None,
            OldValue::Integer(order) => {
                Some(SyncOrder::try_from(order).map_err(|_| RefusedReason::BadOrder)?)
            }
            _ => return Err(RefusedReason::BadOrder),
        };
        let json = self.json.as_deref();
        let json = json.ok_or(RefusedReason::BadRecord(Invalid::NotAnObject))?;
        let record = Record::parse(json.as_bytes()).map_err(RefusedReason::BadRecord)?;
        if record.id() != id {
            return Err(RefusedReason::BadHash);
        }
        record.verify().map_err(RefusedReason::BadRecord)?;
        Ok(record.into_operation(sync_order))
    }

    /// The row in a report.
    pub(crate) fn refused(&self, reason: RefusedReason) -> RefusedRow {
        RefusedRow {
            place: self.place.clone(),
            id: self.id.shortened(),
            sync_order: self.sync_order.shortened(),
            ts: self.ts.shortened(),
            reason,
        }
    }
}

impl OldValue {
    /// The same value, of whose text a report keeps the head.
    fn shortened(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(shortened(text)),
            other => other.clone(),
        }
    }
}

/// The head of a text that a report keeps.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(KEPT).collect()
}

impl fmt::Display for OldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Blob(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sync_mdip_simulator::Log;

    use super::*;

    #[test]
    fn of_several_reasons_the_first_is_told() {
        let mut log = Log::new();
        let did = log.create("hyperswarm");
        let event = log.history(&did).first().unwrap();
        let (json, id) = (event.operation(), event.hash().unwrap());
        let text = |text: &str| OldValue::Text(text.to_owned());
        // Everything wrong, and then one column after the other put right.
        let mut row = OldRow {
            place: "1".to_owned(),
            id: OldValue::Integer(1),
            sync_order: OldValue::Integer(REJECTED),
            ts: OldValue::Null,
            json: None,
        };
        assert_eq!(row.operation(), Err(RefusedReason::RejectedUpstream));
        row.sync_order = text("5");
        for id in [
            OldValue::Null,
            OldValue::Blob(64),
            text("ab"),
            text(&id[1..]),
        ] {
            row.id = id;
            assert_eq!(row.operation(), Err(RefusedReason::BadId));
        }
        row.id = text(&"0".repeat(64));
        for ts in [text("5"), OldValue::Real(5.0), OldValue::Integer(-1)] {
            row.ts = ts;
            assert_eq!(row.operation(), Err(RefusedReason::BadTs));
        }
        row.ts = OldValue::Integer(REJECTED);
        for order in [text("5"), OldValue::Real(5.0), OldValue::Integer(-1)] {
            row.sync_order = order;
            assert_eq!(row.operation(), Err(RefusedReason::BadOrder));
        }
        row.sync_order = OldValue::Integer(REJECTED - 1);
        let is_bad = |row: &OldRow, why: Invalid| {
            assert_eq!(row.operation(), Err(RefusedReason::BadRecord(why)));
        };
        is_bad(&row, Invalid::NotAnObject);
        row.json = Some("[]".to_owned());
        is_bad(&row, Invalid::NotAnObject);
        row.json = Some("{}".to_owned());
        is_bad(&row, Invalid::MissingSignature);
        row.json = Some(json.to_owned());
        assert_eq!(row.operation(), Err(RefusedReason::BadHash));
        row.json = Some(json.replace(id, &"0".repeat(64)));
        is_bad(&row, Invalid::HashMismatch);

        // Hexadecimal digits of either case name the same operation.
        row.id = OldValue::Text(id.to_uppercase());
        row.json = Some(json.to_owned());
        let taken = row.operation().unwrap();
        let expected = sync_mdip::to_operation(json.as_bytes(), SyncOrder::new(1)).unwrap();
        assert_eq!(taken.sync_order.map(SyncOrder::as_i64), Some(REJECTED - 1));
        assert_eq!(
            taken,
            Operation {
                sync_order: taken.sync_order,
                ..expected
            }
        );
        row.sync_order = OldValue::Null;
        assert_eq!(row.operation().map(|taken| taken.sync_order), Ok(None));
    }
}
