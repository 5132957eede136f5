//! What becomes of a page on its way into the store.

use std::collections::BTreeMap;

use sync_core::{
    Bytes, Error, ErrorKind, Object, OpId, Page, Precondition, Result, StateKey, SyncOrder,
    TooLarge, Ts, limits,
};

use crate::fault::Fault;

/// The most bind parameters of one statement, where nobody splits it.
const BINDS: usize = 32_766;

#[expect(clippy::too_many_lines, reason = "an arm for each fault")]
pub(crate) fn taken(fault: Option<Fault>, mut page: Page) -> Result<Page> {
    let Some(fault) = fault else {
        return Ok(page);
    };
    match fault {
        Fault::PayloadIsJson => {
            for operation in &mut page.upserts {
                operation.payload = normal_json(&operation.payload);
            }
        }
        Fault::PayloadIsText => {
            for operation in &mut page.upserts {
                operation.payload = text(&operation.payload);
            }
        }
        Fault::ObjectIsText => {
            for operation in &mut page.upserts {
                operation.object = operation.object.as_ref().map(folded);
            }
        }
        Fault::ValueIsText => {
            for change in &mut page.state {
                change.value = change.value.as_ref().map(text);
            }
        }
        Fault::KeysIgnoreCase => {
            for change in &mut page.state {
                change.key = lower(&change.key);
            }
            for precondition in &mut page.preconditions {
                precondition.key = lower(&precondition.key);
            }
        }
        Fault::EmptyValueIsAbsent => {
            for precondition in &mut page.preconditions {
                if precondition.expected.as_ref().is_some_and(Bytes::is_empty) {
                    precondition.expected = None;
                }
            }
            for change in &mut page.state {
                if change.value.as_ref().is_some_and(Bytes::is_empty) {
                    change.value = None;
                }
            }
        }
        Fault::PositionsInSinglePrecision => {
            for operation in &mut page.upserts {
                operation.ts = Ts::new(rounded(operation.ts.value())).unwrap_or(Ts::MAX);
                operation.sync_order = operation
                    .sync_order
                    .map(|order| SyncOrder::new(rounded(order.value())).unwrap_or(SyncOrder::MAX));
            }
        }
        Fault::TimesAreSigned32Bit => {
            for operation in &mut page.upserts {
                operation.ts = operation
                    .ts
                    .min(Ts::new(i32::MAX as u64).unwrap_or(Ts::MAX));
            }
        }
        Fault::FutureDatesAreRefused => {
            let now = Ts::new(1_800_000_000).unwrap_or(Ts::MAX);
            if page.upserts.iter().any(|operation| operation.ts > now) {
                return Err(Error::invalid("ts", "in the future".to_owned()));
            }
        }
        Fault::UpsertOverwrites => page.replace = true,
        Fault::PreconditionsOnlyOnChangedKeys => {
            let Page {
                preconditions,
                state,
                ..
            } = &mut page;
            preconditions
                .retain(|precondition| state.iter().any(|change| change.key == precondition.key));
        }
        Fault::PayloadLimitIsOffByOne => {
            let largest = page
                .upserts
                .iter()
                .map(|operation| operation.payload.len())
                .max();
            if largest == Some(limits::PAYLOAD_BYTES) {
                return Err(too_large(
                    sync_core::List::Upserts,
                    0,
                    limits::PAYLOAD_BYTES,
                ));
            }
        }
        Fault::LargePayloadIsCut => {
            for operation in &mut page.upserts {
                operation.payload.truncate(limits::PAYLOAD_BYTES);
            }
        }
        Fault::TooLargeNamesTheFirst => {
            page.validate().map_err(|error| match error.kind() {
                ErrorKind::TooLarge(at) => too_large(at.list, 0, at.limit),
                _ => error,
            })?;
        }
        Fault::LargePageIsRefused if page.operations() > BINDS => {
            return Err(Error::new(ErrorKind::Failed).with_message("too many SQL variables"));
        }
        Fault::SeqsRiseInOrderOfIds => page.upserts.sort_by_key(|operation| operation.id),
        Fault::LastOfDuplicatesWins => {
            let last: BTreeMap<OpId, usize> = page
                .upserts
                .iter()
                .enumerate()
                .map(|(n, operation)| (operation.id, n))
                .collect();
            let mut n = 0;
            page.upserts.retain(|operation| {
                n += 1;
                last.get(&operation.id) == Some(&(n - 1))
            });
        }
        Fault::FirstChangeOfAKeyHolds => {
            let mut changed = Vec::new();
            page.state.retain(|change| {
                let first = !changed.contains(&change.key);
                changed.push(change.key.clone());
                first
            });
        }
        Fault::FirstPreconditionOfAKeyHolds => {
            let mut seen = Vec::new();
            page.preconditions.retain(|precondition| {
                let first = !seen.contains(&precondition.key);
                seen.push(precondition.key.clone());
                first
            });
        }
        Fault::LastPreconditionOfAKeyHolds => {
            let mut left = Vec::new();
            while let Some(precondition) = page.preconditions.pop() {
                let later = |kept: &Precondition| kept.key == precondition.key;
                if !left.iter().any(later) {
                    left.push(precondition);
                }
            }
            page.preconditions = left;
        }
        Fault::RejectIsForgotten => {
            for delete in &mut page.deletes {
                delete.reject = false;
            }
        }
        Fault::SourceSeqIsForgotten => {
            for delete in &mut page.deletes {
                delete.source_seq = None;
            }
        }
        Fault::LiftsDoNothing => page.lifts.clear(),
        _ => {}
    }
    Ok(page)
}

fn too_large(list: sync_core::List, index: usize, limit: usize) -> Error {
    Error::too_large(TooLarge { list, index, limit })
}

/// What a column of characters keeps.
fn text(bytes: &Bytes) -> Bytes {
    String::from_utf8_lossy(bytes).replace('\0', "").into()
}

/// What a JSON column keeps: no space between tokens, numbers as doubles.
fn normal_json(bytes: &Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.clone();
    };
    let mut normal = String::new();
    for token in text.split_inclusive([',', ':', '{', '}', '[', ']', ' ', '\n']) {
        let (token, end) = match token.char_indices().next_back() {
            Some((at, end)) if ",:{}[] \n".contains(end) => (&token[..at], Some(end)),
            _ => (token, None),
        };
        match token.parse::<f64>() {
            Ok(number) => normal.push_str(&number.to_string()),
            Err(_) => normal.push_str(token),
        }
        normal.extend(end.filter(|end| !end.is_whitespace()));
    }
    normal.into()
}

/// Objects that a database with a text column takes for one.
pub(crate) fn folded(object: &Object) -> Object {
    let text = String::from_utf8_lossy(object.as_bytes()).to_lowercase();
    Object::new(text.trim_end().to_owned()).unwrap_or_else(|_| object.clone())
}

pub(crate) fn lower(key: &StateKey) -> StateKey {
    StateKey::new(&key.as_str().to_lowercase()).unwrap_or_else(|_| key.clone())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the loss is the fault"
)]
fn rounded(position: u64) -> u64 {
    f64::from(position as f32) as u64
}
