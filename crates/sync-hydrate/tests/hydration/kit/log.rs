//! The log of a source, and what must come of it.

use std::collections::BTreeMap;

use fastrand::Rng;
use sync_core::{Bytes, Object, OpId, Operation, SyncOrder, TombstoneReason, Ts};
use sync_hydrate::{InvalidRecord, Visibility};

use super::dump::{End, RowDump, TombstoneDump};

/// A row of a log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// When the source begins to show the row, in seconds of the [clock](super::Clock).
    pub(crate) published: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Added(Record, Visibility),
    Removed { id: u16, object: u16 },
    Invalid(InvalidRecord),
    Nothing,
}

/// What a source holds under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: u16,
    pub(crate) object: u16,
    /// Two records of one id with different variants differ.
    pub(crate) variant: u8,
}

pub(crate) fn at(seq: u64) -> SyncOrder {
    SyncOrder::new(seq).unwrap()
}

pub(crate) fn id(n: u16) -> OpId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    // Without the rest, ids would sort as they were made.
    bytes[2..4].copy_from_slice(&n.wrapping_mul(40_503).to_be_bytes());
    bytes.rotate_left(2);
    OpId::new(bytes)
}

pub(crate) fn object(n: u16) -> Object {
    Object::new(format!("object-{n:05}")).unwrap()
}

/// What operation `id` is about unless a test says otherwise: every third shares its object.
pub(crate) fn object_of(id: u16) -> u16 {
    id % 3
}

pub(crate) fn add(seq: u64, id: u16) -> Entry {
    let record = Record {
        id,
        object: object_of(id),
        variant: 0,
    };
    Entry::new(seq, What::Added(record, Visibility::Public))
}

pub(crate) fn remove(seq: u64, id: u16) -> Entry {
    remove_of(seq, id, object_of(id))
}

pub(crate) fn remove_of(seq: u64, id: u16, object: u16) -> Entry {
    Entry::new(seq, What::Removed { id, object })
}

pub(crate) fn nothing(seq: u64) -> Entry {
    Entry::new(seq, What::Nothing)
}

/// A record that is no operation; `n` tells it from others of the same reason.
pub(crate) fn invalid(seq: u64, reason: &'static str, n: u16) -> Entry {
    let start = format!("no operation, {n}");
    let mut sha256 = [0; 32];
    sha256[..2].copy_from_slice(&n.to_be_bytes());
    Entry::new(
        seq,
        What::Invalid(InvalidRecord {
            reason: reason.into(),
            seq: Some(at(seq)),
            object: Some(object(n % 3)),
            start: Bytes::from(start),
            sha256,
        }),
    )
}

impl Entry {
    fn new(seq: u64, what: What) -> Self {
        Self {
            seq,
            published: 0,
            what,
        }
    }

    /// The same row, shown from `seconds` on.
    pub(crate) fn published(mut self, seconds: u64) -> Self {
        self.published = seconds;
        self
    }

    /// The same addition of another record.
    pub(crate) fn variant(mut self, variant: u8) -> Self {
        if let What::Added(record, _) = &mut self.what {
            record.variant = variant;
        }
        self
    }

    /// The same addition, about `object`.
    pub(crate) fn about(mut self, object: u16) -> Self {
        if let What::Added(record, _) = &mut self.what {
            record.object = object;
        }
        self
    }

    pub(crate) fn seen_by(mut self, visibility: Visibility) -> Self {
        if let What::Added(_, stored) = &mut self.what {
            *stored = visibility;
        }
        self
    }
}

impl Record {
    pub(crate) fn operation(self) -> Operation {
        let payload = format!("{{\"id\":{},\"variant\":{}}}", self.id, self.variant);
        let ts = Ts::new(1_700_000_000 + u64::from(self.id) * 7).unwrap();
        Operation::new(id(self.id), ts, payload).about(object(self.object))
    }
}

/// What a space must hold that was filled from `log` with everything public in it.
pub(crate) fn expected(log: &[Entry]) -> End {
    expected_of(log, false)
}

/// What a space must hold that was filled from `log`: the log, one action after another.
pub(crate) fn expected_of(log: &[Entry], include_private: bool) -> End {
    let mut rows: BTreeMap<u16, (u64, Record)> = BTreeMap::new();
    let mut removed: BTreeMap<u16, (u64, u16)> = BTreeMap::new();
    for entry in log {
        match &entry.what {
            What::Added(record, visibility) => {
                let shown = include_private
                    || match visibility {
                        Visibility::Public => true,
                        Visibility::Private => false,
                        Visibility::AsItsObject => {
                            rows.values().any(|(_, row)| row.object == record.object)
                        }
                    };
                if shown {
                    removed.remove(&record.id);
                    rows.entry(record.id).or_insert((entry.seq, *record)).1 = *record;
                }
            }
            What::Removed { id, object } => {
                let other = rows.get(id).is_some_and(|(_, row)| row.object != *object);
                if !other {
                    rows.remove(id);
                    removed.insert(*id, (entry.seq, *object));
                }
            }
            What::Invalid(_) | What::Nothing => {}
        }
    }
    End {
        rows: rows
            .into_values()
            .map(|(order, record)| {
                let row = RowDump::of(&record.operation().at(at(order)));
                (id(record.id), row)
            })
            .collect(),
        tombstones: removed
            .into_iter()
            .map(|(n, (seq, of))| {
                let tombstone = TombstoneDump {
                    reason: TombstoneReason::Removed,
                    source_seq: Some(at(seq)),
                    object: Some(object(of)),
                };
                (id(n), tombstone)
            })
            .collect(),
    }
}

/// About `rows` rows over few ids: additions, also of what is there; removals, also of what is
/// not; rows that concern no operation; gaps.
pub(crate) fn random_log(rng: &mut Rng, rows: usize) -> Vec<Entry> {
    let ids = rng.u16(1..=10);
    let mut live = vec![false; usize::from(ids) + 1];
    let mut seq = 0;
    (0..rows)
        .map(|_| {
            seq += if rng.u8(..) < 64 { rng.u64(1..=5) } else { 1 };
            let id = rng.u16(1..=ids);
            let live = &mut live[usize::from(id)];
            let unlikely = rng.u8(0..100) < 20;
            if rng.u8(0..100) < 12 {
                nothing(seq)
            } else if *live == unlikely {
                *live = true;
                add(seq, id)
            } else {
                *live = false;
                remove(seq, id)
            }
        })
        .collect()
}
