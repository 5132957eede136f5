//! What is written to the journal, as bytes.

use sync_core::{
    Backfill, Bytes, Delete, Epoch, Error, ErrorKind, Object, OpId, Operation, Page, Result, Seq,
    SpaceName, StateChange, StateKey, SyncOrder, TombstoneReason, Ts,
};

/// One change of one space.
pub(crate) struct Record {
    pub(crate) space: SpaceName,
    pub(crate) entry: Entry,
}

pub(crate) enum Entry {
    /// A page whose preconditions held, and the epoch it begins where it begins one.
    Page(Page, Epoch),
    Floor(Seq),
    Prune,
    NewEpoch(Epoch),
    Drop,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        out.bytes(self.space.as_str().as_bytes());
        match &self.entry {
            Entry::Page(page, epoch) => {
                out.number(0);
                out.bytes(epoch.as_bytes());
                out.page(page);
            }
            Entry::Floor(seq) => {
                out.number(1);
                out.number(seq.value());
            }
            Entry::Prune => out.number(4),
            Entry::NewEpoch(epoch) => {
                out.number(2);
                out.bytes(epoch.as_bytes());
            }
            Entry::Drop => out.number(3),
        }
        out.0
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self> {
        let mut from = Reader(bytes);
        let space = SpaceName::new(&from.text()?)?;
        let entry = match from.number()? {
            0 => {
                let epoch = Epoch::try_from(&*from.bytes()?)?;
                Entry::Page(from.page()?, epoch)
            }
            1 => Entry::Floor(Seq::try_from(from.number()?)?),
            2 => Entry::NewEpoch(Epoch::try_from(&*from.bytes()?)?),
            3 => Entry::Drop,
            4 => Entry::Prune,
            _ => return Err(corrupt()),
        };
        Ok(Self { space, entry })
    }
}

pub(crate) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt)
}

/// Numbers are eight bytes, everything else has its length before it, and what may be absent has a
/// number that says whether it is there.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    fn object(&mut self, object: Option<&Object>) {
        self.maybe(object, |out, object| out.bytes(object.as_bytes()));
    }

    fn order(&mut self, order: Option<SyncOrder>) {
        self.maybe(order, |out, order| out.number(order.value()));
    }

    fn page(&mut self, page: &Page) {
        for flag in [page.reset, page.replace, page.revive] {
            self.number(u64::from(flag));
        }
        self.list(&page.lifts, |out, id| out.bytes(id.as_bytes()));
        self.list(&page.deletes, |out, delete| {
            out.bytes(delete.id.as_bytes());
            out.number(u64::from(delete.reason.code()));
            out.order(delete.source_seq);
            out.object(delete.object.as_ref());
            out.number(u64::from(delete.reject));
            out.maybe(delete.ts, |out, ts| out.number(ts.value()));
        });
        self.list(&page.upserts, |out, operation| {
            out.bytes(operation.id.as_bytes());
            out.number(operation.ts.value());
            out.object(operation.object.as_ref());
            out.order(operation.sync_order);
            out.bytes(&operation.payload);
        });
        self.list(&page.backfills, |out, backfill| {
            out.bytes(backfill.id.as_bytes());
            out.number(backfill.sync_order.value());
        });
        self.list(&page.state, |out, change| {
            out.bytes(change.key.as_str().as_bytes());
            out.maybe(change.value.as_ref(), |out, value| out.bytes(value));
        });
    }
}

struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> Result<Bytes> {
        if self.0.len() < count {
            return Err(corrupt());
        }
        Ok(self.0.split_to(count))
    }

    fn number(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        let bytes = <[u8; 8]>::try_from(&*bytes).map_err(|_| corrupt())?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn flag(&mut self) -> Result<bool> {
        Ok(self.number()? == 1)
    }

    fn bytes(&mut self) -> Result<Bytes> {
        let count = usize::try_from(self.number()?).map_err(|_| corrupt())?;
        self.take(count)
    }

    fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| corrupt())
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        Ok(if self.flag()? {
            Some(read(self)?)
        } else {
            None
        })
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn id(&mut self) -> Result<OpId> {
        OpId::try_from(&*self.bytes()?)
    }

    fn object(&mut self) -> Result<Option<Object>> {
        self.maybe(|from| Object::new(from.bytes()?))
    }

    fn order(&mut self) -> Result<Option<SyncOrder>> {
        self.maybe(|from| SyncOrder::try_from(from.number()?))
    }

    fn page(&mut self) -> Result<Page> {
        Ok(Page {
            preconditions: Vec::new(),
            reset: self.flag()?,
            replace: self.flag()?,
            revive: self.flag()?,
            lifts: self.list(Self::id)?,
            deletes: self.list(|from| {
                Ok(Delete {
                    id: from.id()?,
                    reason: TombstoneReason::from_code(from.number()?.cast_signed())?,
                    source_seq: from.order()?,
                    object: from.object()?,
                    reject: from.flag()?,
                    ts: from.maybe(|from| Ts::try_from(from.number()?))?,
                })
            })?,
            upserts: self.list(|from| {
                Ok(Operation {
                    id: from.id()?,
                    ts: Ts::try_from(from.number()?)?,
                    object: from.object()?,
                    sync_order: from.order()?,
                    payload: from.bytes()?,
                })
            })?,
            backfills: self.list(|from| {
                Ok(Backfill {
                    id: from.id()?,
                    sync_order: SyncOrder::try_from(from.number()?)?,
                })
            })?,
            state: self.list(|from| {
                Ok(StateChange {
                    key: StateKey::new(&from.text()?)?,
                    value: from.maybe(Self::bytes)?,
                })
            })?,
        })
    }
}
