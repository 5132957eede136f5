//! Writes what a plan says.

use mongodb::bson::raw::{RawArrayBuf, RawBsonRef, RawDocumentBuf, cstr};
use mongodb::bson::rawdoc;
use sync_core::plan::{NewRow, NewTombstone, Plan};
use sync_core::{Object, OpId, Operation, Page, Result, Seq, SyncOrder, Ts};

use crate::documents::{
    KEYS, OperationKey, TombstoneKey, binary, one_of, operation_keys, state_key, wrong,
};
use crate::transaction::Transaction;

pub(super) async fn rows(
    transaction: &mut Transaction<'_>,
    incarnation: i64,
    page: &Page,
    plan: &Plan,
) -> Result<()> {
    let names = &transaction.database.collections;
    if !plan.lifted.is_empty() {
        transaction.boundary("lift")?;
        let lift = rawdoc! { "$set": { "lifted": true } };
        let lift = |seq: &Seq| set(TombstoneKey::new(incarnation, *seq).binary(), lift.clone());
        let updates = plan.lifted.iter().map(lift).collect();
        transaction.update(&names.tombstones, updates).await?;
    }
    if !plan.raised.is_empty() {
        transaction.boundary("source seq")?;
        let raise = |(seq, source_seq): (&Seq, &SyncOrder)| {
            let raise = rawdoc! { "$set": { "source_seq": source_seq.as_i64() } };
            set(TombstoneKey::new(incarnation, *seq).binary(), raise)
        };
        let updates = plan.raised.iter().map(raise).collect();
        transaction.update(&names.tombstones, updates).await?;
    }
    for ids in plan.removed.chunks(KEYS) {
        transaction.boundary("delete")?;
        let filter = one_of(operation_keys(incarnation, ids));
        let gone = transaction.delete(&names.operations, filter).await?;
        if gone != ids.len() {
            return Err(wrong("a row that was there a moment ago"));
        }
    }
    if !plan.tombstones.is_empty() {
        transaction.boundary("tombstone")?;
        let document = |new| tombstone(incarnation, new);
        let documents = plan.tombstones.iter().map(document).collect();
        transaction.insert(&names.tombstones, documents).await?;
    }
    if !plan.inserted.is_empty() {
        transaction.boundary("insert")?;
        let document = |new: &NewRow| {
            let operation = page.upserts.get(new.upsert);
            operation
                .map(|operation| row(incarnation, operation, new))
                .ok_or_else(|| wrong("an operation of the page"))
        };
        let documents = plan.inserted.iter().map(document).collect::<Result<_>>()?;
        transaction.insert(&names.operations, documents).await?;
    }
    if !plan.ordered.is_empty() {
        transaction.boundary("order")?;
        let order = |(id, order): (&OpId, &SyncOrder)| {
            let order = rawdoc! { "$set": { "order": order.as_i64() } };
            set(OperationKey::new(incarnation, id).binary(), order)
        };
        let updates = plan.ordered.iter().map(order).collect();
        transaction.update(&names.operations, updates).await?;
    }
    state(transaction, incarnation, plan).await
}

async fn state(transaction: &mut Transaction<'_>, incarnation: i64, plan: &Plan) -> Result<()> {
    let names = &transaction.database.collections;
    let mut removed = RawArrayBuf::new();
    let mut updates = Vec::new();
    for change in &plan.state {
        let key = state_key(incarnation, change.key.as_str());
        match &change.value {
            None => removed.push(key),
            Some(value) => updates.push(rawdoc! {
                "q": { "_id": key },
                "u": { "$set": { "value": binary(value) } },
                "upsert": true,
            }),
        }
    }
    if !removed.is_empty() {
        transaction.boundary("unset")?;
        transaction.delete(&names.state, one_of(removed)).await?;
    }
    if !updates.is_empty() {
        transaction.boundary("set")?;
        transaction.update(&names.state, updates).await?;
    }
    Ok(())
}

fn set(key: RawBsonRef<'_>, change: RawDocumentBuf) -> RawDocumentBuf {
    rawdoc! { "q": { "_id": key }, "u": change }
}

fn row(incarnation: i64, operation: &Operation, new: &NewRow) -> RawDocumentBuf {
    let key = OperationKey::new(incarnation, &operation.id);
    let mut document = rawdoc! {
        "_id": key.binary(),
        "inc": incarnation,
        "ts": operation.ts.as_i64(),
        "seq": new.seq.as_i64(),
        "digest": binary(new.digest.as_bytes()),
    };
    append_order(&mut document, new.sync_order);
    append_object(&mut document, operation.object.as_ref());
    document.append(cstr!("payload"), binary(&operation.payload));
    document
}

fn append_order(document: &mut RawDocumentBuf, order: Option<SyncOrder>) {
    if let Some(order) = order {
        document.append(cstr!("order"), order.as_i64());
    }
}

fn append_object(document: &mut RawDocumentBuf, object: Option<&Object>) {
    if let Some(object) = object {
        document.append(cstr!("object"), binary(object.as_bytes()));
    }
}

fn tombstone(incarnation: i64, new: &NewTombstone) -> RawDocumentBuf {
    let op = OperationKey::new(incarnation, &new.id);
    let mut document = rawdoc! {
        "_id": TombstoneKey::new(incarnation, new.seq).binary(),
        "inc": incarnation,
        "op": op.binary(),
        "seq": new.seq.as_i64(),
        "reason": i32::from(new.reason.code()),
        "lifted": false,
    };
    if let Some(ts) = new.ts.map(Ts::as_i64) {
        document.append(cstr!("ts"), ts);
    }
    append_object(&mut document, new.object.as_ref());
    if let Some(source_seq) = new.source_seq {
        document.append(cstr!("source_seq"), source_seq.as_i64());
    }
    document
}
