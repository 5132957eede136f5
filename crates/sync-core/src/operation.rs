use bytes::Bytes;

use crate::{Digest, Object, OpId, Seq, SyncOrder, TimeKey, Ts};

/// One record of the replicated log.
///
/// The store never looks into the payload and returns it byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The identity; one space holds at most one row of an id.
    pub id: OpId,
    /// The claimed time.
    pub ts: Ts,
    /// What the operation is about, where the protocol says.
    pub object: Option<Object>,
    /// The upstream index's position, where it is known.
    pub sync_order: Option<SyncOrder>,
    /// Opaque bytes, at most 1 MiB.
    pub payload: Bytes,
}

impl Operation {
    /// An operation without object and sync order.
    pub fn new(id: OpId, ts: Ts, payload: impl Into<Bytes>) -> Self {
        Self {
            id,
            ts,
            object: None,
            sync_order: None,
            payload: payload.into(),
        }
    }

    /// The same operation about `object`.
    #[must_use]
    pub fn about(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// The same operation at `sync_order`.
    #[must_use]
    pub fn at(mut self, sync_order: SyncOrder) -> Self {
        self.sync_order = Some(sync_order);
        self
    }

    /// The digest by which stores decide whether two records of one id are the same.
    pub fn digest(&self) -> Digest {
        Digest::of(self.ts, self.object.as_ref(), &self.payload)
    }

    /// The operation's place in the order of [`scan_time`](crate::SyncStore::scan_time).
    pub fn time_key(&self) -> TimeKey {
        TimeKey {
            ts: self.ts,
            id: self.id,
        }
    }
}

/// An operation as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// The seq under which it was inserted.
    pub seq: Seq,
}

impl Row {
    /// What the byte budget counts of it: payload and object.
    pub fn weight(&self) -> usize {
        let object = self.operation.object.as_ref();
        self.operation.payload.len() + object.map_or(0, |object| object.as_bytes().len())
    }
}
