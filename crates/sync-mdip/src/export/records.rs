use std::borrow::Cow;
use std::time::Instant;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sync_core::{Bytes, Object, Operation, SyncOrder};
use sync_hydrate::{InvalidRecord, Spent};

use super::members::{members, string};
use super::split::REPLACEMENT;
use crate::local::{Scope, scope};
use crate::{JsonError, Record, object};

/// An operation whose hash is verified, and its signature too where it carries the key.
pub(crate) struct Checked {
    pub(crate) operation: Operation,
    /// The scope of its DID, where it is a create.
    pub(crate) scope: Option<Scope>,
}

/// A record, or what is kept of an invalid one.
pub(crate) type Read<T> = Result<T, Box<InvalidRecord>>;

/// What the row around an operation says about it.
pub(crate) struct Around {
    pub(crate) seq: Option<SyncOrder>,
    pub(crate) object: Option<Object>,
    /// Whether bytes near it were replaced.
    pub(crate) replaced: bool,
}

/// Reads one operation and checks it.
pub(crate) fn check(json: &RawValue, around: Around, spent: &mut Spent) -> Read<Checked> {
    let raw = json.get();
    if around.replaced && raw.contains(REPLACEMENT) {
        return Err(Box::new(not_utf8(around.seq, around.object, raw)));
    }
    let record = Record::parse(raw.as_bytes());
    let parsed = Instant::now();
    let verified = record.and_then(|record| record.verify().map(|_| record));
    spent.verify += parsed.elapsed();
    match verified {
        Ok(record) => Ok(Checked {
            scope: scope(&record),
            operation: record.into_operation(around.seq),
        }),
        Err(reason) => {
            let object = around.object.or_else(|| named(raw));
            Err(Box::new(invalid(reason.code(), around.seq, object, raw)))
        }
    }
}

/// The object that an operation names.
fn named(operation: &str) -> Option<Object> {
    let [did] = members(operation, ["did"])?;
    object::of_did(&string(did)?).ok()
}

pub(crate) fn not_utf8(seq: Option<SyncOrder>, object: Option<Object>, raw: &str) -> InvalidRecord {
    invalid(JsonError::NotUtf8 { at: 0 }.code(), seq, object, raw)
}

/// A record that is no operation, as it is counted and kept.
pub(crate) fn invalid(
    reason: &'static str,
    seq: Option<SyncOrder>,
    object: Option<Object>,
    raw: impl AsRef<[u8]>,
) -> InvalidRecord {
    let raw = raw.as_ref();
    let start = raw.get(..InvalidRecord::START_BYTES).unwrap_or(raw);
    InvalidRecord {
        reason: Cow::Borrowed(reason),
        seq,
        object,
        start: Bytes::copy_from_slice(start),
        sha256: Sha256::digest(raw).into(),
    }
}

/// Maps `items` in their order, on as many threads as the machine has and the items are worth.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    each: impl Fn(&T, &mut Spent) -> R + Sync,
) -> (Vec<R>, Spent) {
    /// Below this a thread takes longer to start than it saves.
    const WORTH_A_THREAD: usize = 16;
    let part = |items: &[T]| {
        let started = Instant::now();
        let mut spent = Spent::default();
        let mapped = items
            .iter()
            .map(|item| each(item, &mut spent))
            .collect::<Vec<_>>();
        spent.parse = started.elapsed().saturating_sub(spent.verify);
        (mapped, spent)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(items.len() / WORTH_A_THREAD).max(1);
    if threads == 1 {
        return part(items);
    }
    let mut chunks = items.chunks(items.len().div_ceil(threads));
    let first = chunks.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let part = &part;
        let others = chunks
            .map(|chunk| scope.spawn(move || part(chunk)))
            .collect::<Vec<_>>();
        let (mut mapped, mut spent) = part(first);
        for other in others {
            match other.join() {
                Ok((others, other_spent)) => {
                    mapped.extend(others);
                    spent += other_spent;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        (mapped, spent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order_however_many_threads_map_them() {
        for length in [0, 1, 15, 16, 33, 1000] {
            let items = (0..length).collect::<Vec<usize>>();
            let (mapped, _) = map(&items, |item, _| item * 2);
            assert_eq!(
                mapped,
                items.iter().map(|item| item * 2).collect::<Vec<_>>()
            );
        }
    }
}
