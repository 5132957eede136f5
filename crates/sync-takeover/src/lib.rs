#![doc = include_str!("../README.md")]

mod claim;
mod report;

use sync_core::{OpId, Operation, SyncOrder, Ts, limits};

use crate::claim::{Claim, claimed_hash};
pub use crate::report::{Found, RefusedReason, RefusedRow, RefusedState, TakeoverReport};

/// How a row becomes an operation.
pub type Reading = dyn Fn(&LegacyRow<'_>) -> Result<Operation, RefusedReason> + Send + Sync;

/// A row of the deployed table whose columns are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyRow<'r> {
    /// The id, which is also the hash that the operation claims.
    pub id: OpId,
    /// The time, as stored.
    pub ts: Ts,
    /// The upstream's position, where the row has one.
    pub sync_order: Option<SyncOrder>,
    /// The operation: the text of one JSON object.
    pub json: &'r str,
}

impl LegacyRow<'_> {
    /// The operation with the text's bytes as payload and no object: the reading that a takeover
    /// uses unless it is given another.
    pub fn as_it_is(&self) -> Operation {
        Operation {
            id: self.id,
            ts: self.ts,
            object: None,
            sync_order: self.sync_order,
            payload: self.json.to_owned().into(),
        }
    }
}

/// The columns of a row of the deployed table, each as far as it has the type it should have.
#[derive(Clone, Debug)]
pub struct Columns<'r> {
    /// The id, where it is text.
    pub id: Option<&'r str>,
    /// The time, where it is an integer.
    pub ts: Option<i64>,
    /// The order, where it is an integer or missing; else the reason to refuse it.
    pub sync_order: Result<Option<i64>, RefusedReason>,
    /// The operation, where it is text.
    pub json: Option<&'r str>,
}

impl Columns<'_> {
    /// The operation that the row holds, or the first reason, in the order of [`RefusedReason`]'s
    /// variants, to leave it out.
    pub fn operation(&self, reading: &Reading) -> Result<Operation, RefusedReason> {
        if self.sync_order == Ok(Some(SyncOrder::MAX.as_i64())) {
            return Err(RefusedReason::RejectedUpstream);
        }
        let id: OpId = self
            .id
            .and_then(|id| id.parse().ok())
            .ok_or(RefusedReason::BadId)?;
        let ts = self
            .ts
            .and_then(|ts| Ts::try_from(ts).ok())
            .ok_or(RefusedReason::BadTs)?;
        let sync_order = match self.sync_order.clone()? {
            None => None,
            Some(order) => Some(SyncOrder::try_from(order).map_err(|_| RefusedReason::BadOrder)?),
        };
        let json = self.json.ok_or(RefusedReason::BadJson)?;
        match claimed_hash(json) {
            Claim::NotAnObject => return Err(RefusedReason::BadJson),
            Claim::Hash(hash) if hash.to_lowercase() == id.to_string() => {}
            Claim::Hash(_) | Claim::Nothing => return Err(RefusedReason::BadHash),
        }
        let operation = reading(&LegacyRow {
            id,
            ts,
            sync_order,
            json,
        })?;
        let bytes = operation.payload.len();
        if bytes > limits::PAYLOAD_BYTES {
            return Err(RefusedReason::TooLarge { bytes });
        }
        Ok(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_reasons_the_first_is_told() {
        let id = "ab".repeat(32);
        let json = format!(r#"{{"signature":{{"hash":"{id}"}}}}"#);
        let sound = Columns {
            id: Some(&id),
            ts: Some(7),
            sync_order: Ok(Some(3)),
            json: Some(&json),
        };
        let read = |columns: &Columns<'_>| columns.operation(&|row| Ok(row.as_it_is()));
        let taken = read(&sound).unwrap();
        assert_eq!(taken.id.to_string(), id);
        assert_eq!(
            (taken.ts, taken.sync_order),
            (Ts::new(7).unwrap(), SyncOrder::new(3))
        );
        assert_eq!(taken.payload, json.as_bytes());

        // Everything wrong, and then one thing after the other in order.
        let mut row = Columns {
            id: Some("no id"),
            ts: None,
            sync_order: Ok(Some(SyncOrder::MAX.as_i64())),
            json: Some("[]"),
        };
        assert_eq!(read(&row), Err(RefusedReason::RejectedUpstream));
        row.sync_order = Err(RefusedReason::BadOrder);
        assert_eq!(read(&row), Err(RefusedReason::BadId));
        row.id = sound.id;
        assert_eq!(read(&row), Err(RefusedReason::BadTs));
        row.ts = sound.ts;
        assert_eq!(read(&row), Err(RefusedReason::BadOrder));
        row.sync_order = Ok(Some(-1));
        assert_eq!(read(&row), Err(RefusedReason::BadOrder));
        row.sync_order = Ok(None);
        assert_eq!(read(&row), Err(RefusedReason::BadJson));
        row.json = Some("{}");
        assert_eq!(read(&row), Err(RefusedReason::BadHash));
        row.json = sound.json;
        assert_eq!(read(&row).map(|taken| taken.sync_order), Ok(None));
        let large = |row: &LegacyRow<'_>| {
            let mut operation = row.as_it_is();
            operation.payload = vec![0; limits::PAYLOAD_BYTES + 1].into();
            Ok(operation)
        };
        let bytes = limits::PAYLOAD_BYTES + 1;
        assert_eq!(
            row.operation(&large),
            Err(RefusedReason::TooLarge { bytes })
        );
    }
}
