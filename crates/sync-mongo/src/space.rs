use mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, rawdoc};
use sync_core::plan::Counters;
use sync_core::{Epoch, Result, Seq, SpaceName, Stats};

use crate::documents::{binary, bytes, number, unreadable, value, whole, wrong};
use crate::error::corrupt;
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;

/// A space's own document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpaceDocument {
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: i64,
    pub(crate) head: Seq,
    pub(crate) floor: Seq,
    pub(crate) counters: Counters,
    /// How many transactions have written it.
    pub(crate) writes: i64,
}

impl SpaceDocument {
    /// The space called `name` in a snapshot, where it exists there.
    pub(crate) async fn load(snapshot: &mut Snapshot, name: &SpaceName) -> Result<Option<Self>> {
        let command = rawdoc! {
            "find": snapshot.database.collections.spaces.as_str(),
            "filter": { "_id": name.as_str() },
            "limit": 1,
            "singleBatch": true,
        };
        let mut found = snapshot.find(command, Self::read).await?;
        found.next().await
    }

    /// Takes the space's document for this transaction, as its first command.
    ///
    /// It is a write, which the server refuses where another transaction has written the document
    /// since this one's snapshot, or holds it now. Where it succeeds the snapshot has every page
    /// before it, and no other page is committed before this one. The server would skip a write that
    /// changes nothing, so it counts.
    pub(crate) async fn lock(
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<Option<Self>> {
        let answer = transaction
            .run(rawdoc! {
                "findAndModify": transaction.database.collections.spaces.as_str(),
                "query": { "_id": name.as_str() },
                "update": { "$inc": { "writes": 1_i64 } },
                "new": true,
            })
            .await?;
        match answer.get("value") {
            Some(Bson::Document(document)) => {
                transaction.has_space = true;
                let document = RawDocumentBuf::try_from(document).map_err(unreadable)?;
                Self::read(&document).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn read(document: &RawDocument) -> Result<Self> {
        let whole = |name| number(value(document, name)?);
        let position = |name| Seq::try_from(whole(name)?).map_err(corrupt);
        let count = |name| u64::try_from(whole(name)?).map_err(|_| wrong(name));
        Ok(Self {
            epoch: Epoch::try_from(bytes(value(document, "epoch")?)?).map_err(corrupt)?,
            incarnation: whole("inc")?,
            head: position("head")?,
            floor: position("floor")?,
            counters: Counters {
                total: count("total")?,
                ordered: count("ordered")?,
                tombstones: count("tombstones")?,
            },
            writes: whole("writes")?,
        })
    }

    /// A space with nothing in it, not yet stored.
    pub(crate) async fn new(transaction: &mut Transaction<'_>) -> Result<Self> {
        Ok(Self {
            epoch: Epoch::random()?,
            incarnation: next_incarnation(transaction).await?,
            head: Seq::ZERO,
            floor: Seq::ZERO,
            counters: Counters::default(),
            writes: 1,
        })
    }

    /// Leaves everything behind for a new incarnation under a new epoch. Seqs go on.
    pub(crate) async fn reset(&mut self, transaction: &mut Transaction<'_>) -> Result<()> {
        self.epoch = Epoch::random()?;
        discard(transaction, self.incarnation).await?;
        self.incarnation = next_incarnation(transaction).await?;
        self.counters = Counters::default();
        Ok(())
    }

    /// Stores a new space. One that another transaction has created meanwhile is a conflict.
    pub(crate) async fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<()> {
        let mut document = rawdoc! { "_id": name.as_str() };
        for element in &self.document() {
            let (name, value) = element.map_err(unreadable)?;
            document.append(name, value);
        }
        let spaces = transaction.database.collections.spaces.as_str();
        transaction.insert(spaces, vec![document]).await
    }

    /// Stores the space over what was.
    pub(crate) async fn save(
        &self,
        transaction: &mut Transaction<'_>,
        name: &SpaceName,
    ) -> Result<()> {
        let update = rawdoc! {
            "q": { "_id": name.as_str() },
            "u": { "$set": self.document() },
        };
        let spaces = transaction.database.collections.spaces.as_str();
        transaction.update(spaces, vec![update]).await
    }

    fn document(&self) -> RawDocumentBuf {
        rawdoc! {
            "epoch": binary(self.epoch.as_bytes()),
            "inc": self.incarnation,
            "head": self.head.as_i64(),
            "floor": self.floor.as_i64(),
            "total": self.counters.total.cast_signed(),
            "ordered": self.counters.ordered.cast_signed(),
            "tombstones": self.counters.tombstones.cast_signed(),
            "writes": self.writes,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: Some(self.epoch),
            total: self.counters.total,
            ordered: self.counters.ordered,
            tombstones: self.counters.tombstones,
            head: self.head,
            floor: self.floor,
        }
    }
}

/// Leaves an incarnation's documents to the sweep.
pub(crate) async fn discard(transaction: &mut Transaction<'_>, incarnation: i64) -> Result<()> {
    let garbage = transaction.database.collections.garbage.as_str();
    let document = rawdoc! { "_id": incarnation };
    transaction.insert(garbage, vec![document]).await
}

/// Takes the number of a new incarnation. Two transactions that do so at once are a conflict.
async fn next_incarnation(transaction: &mut Transaction<'_>) -> Result<i64> {
    // Unlike a space's documents, this one is written by the writers of all spaces.
    let has_space = std::mem::take(&mut transaction.has_space);
    let command = rawdoc! {
        "findAndModify": transaction.database.collections.schema.as_str(),
        "query": { "_id": "incarnation" },
        "update": { "$inc": { "next": 1_i64 } },
        "fields": { "next": 1 },
    };
    let answer = transaction.run(command).await?;
    transaction.has_space = has_space;
    let document = answer.get_document("value").ok();
    let next = document.and_then(|document| whole(document, "next"));
    next.ok_or_else(|| wrong("the number of the next incarnation"))
}
