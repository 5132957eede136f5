//! Short ways to say ids, positions and operations.

use bytes::Bytes;
use sync_core::{
    Backfill, Delete, Object, OpId, Operation, Page, Seq, SpaceName, StateKey, SyncOrder,
    TombstoneReason, Ts,
};

/// Numbers in cases are literals or counters, far below 2^53; a larger one is the highest.
pub(crate) fn ts(value: u64) -> Ts {
    Ts::new(value).unwrap_or(Ts::MAX)
}

pub(crate) fn order(value: u64) -> SyncOrder {
    SyncOrder::new(value).unwrap_or(SyncOrder::MAX)
}

pub(crate) fn seq(value: u64) -> Seq {
    Seq::new(value).unwrap_or(Seq::MAX)
}

/// The id number `n`: spread over the whole range, so that ids do not come in the order of `n`.
pub(crate) fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    // The finalizer of SplitMix64: a bijection, so different numbers give different ids.
    let mut mixed = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    for (to, from) in bytes.iter_mut().zip(mixed.to_be_bytes().iter().cycle()) {
        *to = *from;
    }
    OpId::new(bytes)
}

/// The ids number `from` up to, without, `to`.
pub(crate) fn ids(range: std::ops::Range<u64>) -> Vec<OpId> {
    range.map(id).collect()
}

/// The operation number `n`: its ts is `1_000 + n`, its payload says its number.
pub(crate) fn op(n: u64) -> Operation {
    Operation::new(id(n), ts(1_000 + n), format!("payload {n}"))
}

/// The operations number `from` up to, without, `to`.
pub(crate) fn ops(range: std::ops::Range<u64>) -> impl Iterator<Item = Operation> {
    range.map(op)
}

pub(crate) fn page_of(range: std::ops::Range<u64>) -> Page {
    Page::new().upserts(ops(range))
}

pub(crate) fn removed(id: OpId) -> Delete {
    Delete::new(id, TombstoneReason::Removed)
}

pub(crate) fn backfill(id: OpId, at: u64) -> Backfill {
    Backfill {
        id,
        sync_order: order(at),
    }
}

/// The object called `name`.
///
/// # Panics
///
/// Where the literal in a case is not an object.
#[expect(clippy::expect_used, reason = "names are literals of cases")]
pub(crate) fn object(name: impl Into<Bytes>) -> Object {
    Object::new(name).expect("a literal object is valid")
}

/// The state key called `name`.
///
/// # Panics
///
/// Where the literal in a case is not a state key.
#[expect(clippy::expect_used, reason = "names are literals of cases")]
pub(crate) fn key(name: &str) -> StateKey {
    StateKey::new(name).expect("a literal state key is valid")
}

/// The space called `name`.
///
/// # Panics
///
/// Where the literal in a case is not a space name.
#[expect(clippy::expect_used, reason = "names are literals of cases")]
pub(crate) fn space_name(name: &str) -> SpaceName {
    SpaceName::new(name).expect("a literal space name is valid")
}
