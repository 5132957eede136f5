//! Records that are no operations: counted by reason, and the newest kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sync_core::{Bytes, Limit, Object, Page, StateKey, SyncOrder, SyncState};

use crate::state::{self, Entry, INVALID};
use crate::{Error, InvalidRecord, Result};

/// How many records a space keeps.
pub const INVALID_RECORDS_KEPT: u64 = 256;

/// Where the kept records begin; a number of three digits follows.
const RECORD: &str = "source.invalid.";

/// A record that was refused, as the space keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInvalid {
    /// The record.
    pub record: InvalidRecord,
    /// When it was met, in seconds since 1970.
    pub at: u64,
}

/// How many there were, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvalidCounts {
    /// How many there were in all; the next one is kept under this number, modulo the number kept.
    pub(crate) total: u64,
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// A record as JSON.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    n: u64,
    at: u64,
    reason: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    sha256: String,
    start: String,
}

/// Adds `records` to what the space keeps, as part of `page`.
pub(crate) async fn keep(
    store: &impl SyncState,
    mut page: Page,
    records: &[InvalidRecord],
    at: u64,
) -> Result<Page> {
    if records.is_empty() {
        return Ok(page);
    }
    let stored = counts(store).await?;
    // A reset takes what was kept before with it.
    let before = stored.value.filter(|_| !page.reset);
    let mut counts = before.unwrap_or_default();
    let lost = (records.len() as u64).saturating_sub(INVALID_RECORDS_KEPT);
    for (record, index) in records.iter().zip(0..) {
        if index >= lost {
            let kept = Kept::of(counts.total, at, record);
            let key = record_key(counts.total % INVALID_RECORDS_KEPT)?;
            let json = serde_json::to_vec(&kept).map_err(|e| Error::state(key.as_str(), e))?;
            page = page.set(key, json);
        }
        counts.total += 1;
        *counts.reasons.entry(record.reason.to_string()).or_default() += 1;
    }
    let counts = Entry::of(INVALID, counts)?;
    page = page.expect(state::key(INVALID)?, stored.raw);
    Ok(match counts.raw {
        Some(raw) => page.set(state::key(INVALID)?, raw),
        None => page,
    })
}

/// How many invalid records the space has met, by reason.
pub(crate) async fn counts(store: &impl SyncState) -> Result<Entry<InvalidCounts>> {
    Entry::decode(INVALID, store.load(&state::key(INVALID)?).await?)
}

/// The invalid records a space keeps: the newest 256, oldest first.
pub async fn invalid_records(store: &impl SyncState) -> Result<Vec<StoredInvalid>> {
    let mut kept = Vec::new();
    let mut after = None;
    loop {
        let batch = store.list(RECORD, after.as_ref(), Limit::rows(256)).await?;
        for entry in &batch.items {
            let key = entry.key.as_str();
            let record: Kept<'_> =
                serde_json::from_slice(&entry.value).map_err(|error| Error::state(key, error))?;
            kept.push((record.n, record.read(key)?));
        }
        after = batch.next;
        if after.is_none() {
            break;
        }
    }
    kept.sort_by_key(|(n, _)| *n);
    Ok(kept.into_iter().map(|(_, record)| record).collect())
}

fn record_key(slot: u64) -> Result<StateKey> {
    state::key(&format!("{RECORD}{slot:03}"))
}

impl<'a> Kept<'a> {
    fn of(n: u64, at: u64, record: &'a InvalidRecord) -> Self {
        let start = record
            .start
            .get(..InvalidRecord::START_BYTES)
            .unwrap_or(&record.start);
        Self {
            n,
            at,
            reason: Cow::Borrowed(&record.reason),
            seq: record.seq.map(SyncOrder::value),
            object: record.object.as_ref().map(|o| hex::encode(o.as_bytes())),
            sha256: hex::encode(record.sha256),
            start: hex::encode(start),
        }
    }

    fn read(self, key: &str) -> Result<StoredInvalid> {
        let bytes = |text: &str| hex::decode(text).map_err(|error| Error::state(key, error));
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut sha256)
            .map_err(|error| Error::state(key, error))?;
        let object = match self.object {
            Some(object) => Some(Object::new(bytes(&object)?)?),
            None => None,
        };
        let seq = self.seq.map(state::order).transpose()?;
        Ok(StoredInvalid {
            record: InvalidRecord {
                reason: Cow::Owned(self.reason.into_owned()),
                seq,
                object,
                start: Bytes::from(bytes(&self.start)?),
                sha256,
            },
            at: self.at,
        })
    }
}
