//! Bytes in, the same bytes out; one id, one row.

use bytes::Bytes;
use sync_core::{
    Backfill, BackfillOutcome, Delete, DeleteOutcome, Known, LiftOutcome, Limit, OpId, Operation,
    Page, StateKey, TimeRange, TombstoneReason, UpsertOutcome,
};

use crate::data::{backfill, id, ids, key, object, op, ops, order, page_of, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq};
use crate::harness::Harness;
use crate::rig::{Rig, Space};

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn an_id_twice_in_one_page_acts_in_turn<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    use UpsertOutcome::{Divergent, Inserted, OrderConflict, Ordered, Replaced, Unchanged};
    let (_db, space) = rig.space()?;
    let at = |n: u64, at: u64| op(n).at(order(at));
    let mut other = op(4);
    other.payload = Bytes::from_static(b"other");
    let conflict = OrderConflict { stored: order(5) };
    let pages = [
        (vec![op(0), at(0, 5)], vec![Inserted, Ordered]),
        (vec![at(1, 5), at(1, 7)], vec![Inserted, conflict]),
        (
            vec![op(2), op(2), op(2)],
            vec![Inserted, Unchanged, Unchanged],
        ),
        (
            vec![at(3, 5), op(3), at(3, 5)],
            vec![Inserted, Unchanged, Unchanged],
        ),
        (
            vec![op(4), other.clone(), op(4)],
            vec![Inserted, Divergent, Unchanged],
        ),
    ];
    for (operations, expected) in pages {
        let id = operations.first().map(|operation| operation.id);
        let applied = space.apply(Page::new().upserts(operations))?;
        ensure_eq!(applied.upserts, expected, "outcomes of one id in one page");
        ensure_eq!(
            applied.seqs.map(|range| range.count()),
            Some(1),
            "seqs of one insert, {id:?}"
        );
    }
    let page = Page::new().upserts([other, op(4), op(4)]).replacing();
    let applied = space.apply(page)?;
    ensure_eq!(
        applied.upserts,
        [Replaced, Replaced, Unchanged],
        "a record replaced and put back"
    );
    ensure_eq!(
        applied.seqs.map(|range| range.count()),
        Some(4),
        "seqs of two replacements"
    );
    let page = Page::new()
        .delete(removed(id(0)))
        .delete(removed(id(0)))
        .upserts([op(0), op(0)]);
    let applied = space.apply(page.backfill(id(0), order(8)).backfill(id(0), order(9)))?;
    let expected = [DeleteOutcome::Deleted, DeleteOutcome::AlreadyDeleted];
    ensure_eq!(applied.deletes, expected, "two deletes of one id");
    ensure_eq!(
        applied.upserts,
        [Inserted, Unchanged],
        "two upserts behind them"
    );
    let expected = [
        BackfillOutcome::Ordered,
        BackfillOutcome::OrderConflict { stored: order(8) },
    ];
    ensure_eq!(applied.backfills, expected, "two backfills behind those");
    space.audit()
}

pub(crate) fn the_same_record_again_changes_nothing_and_another_is_divergent<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let stored = op(0).about(object("a"));
    let _ = space.apply(Page::new().upserts([stored.clone(), op(1).at(order(4))]))?;
    let before = space.dump()?;
    let applied = space.apply(Page::new().upserts([stored.clone(), op(1), op(1).at(order(4))]))?;
    ensure_eq!(
        applied.upserts,
        [UpsertOutcome::Unchanged; 3],
        "the same records again"
    );
    ensure_eq!(applied.seqs, None, "seqs of a page that changes nothing");
    ensure_eq!(
        space.dump()?,
        before,
        "everything after a page that changes nothing"
    );

    let variants = [
        Operation {
            ts: ts(5),
            ..stored.clone()
        },
        Operation {
            object: None,
            ..stored.clone()
        },
        Operation {
            object: Some(object("b")),
            ..stored.clone()
        },
        Operation {
            payload: Bytes::from_static(b"other"),
            ..stored.clone()
        },
        Operation {
            payload: Bytes::new(),
            ..stored.clone()
        },
        // What one field loses the other gains: no concatenation may hide it.
        Operation {
            object: Some(object("ap")),
            payload: stored.payload.slice(1..),
            ..stored.clone()
        },
    ];
    for variant in &variants {
        let applied = space.apply(Page::new().upsert(variant.clone().at(order(7))))?;
        ensure_eq!(applied.upserts, [UpsertOutcome::Divergent], "{variant:?}");
        ensure_eq!(applied.seqs, None, "seqs of a divergent record");
        ensure_eq!(
            space.dump()?,
            before,
            "everything after a divergent record with an order"
        );
    }
    for variant in variants {
        let old = space.get_one(id(0))?;
        let cursor = space.cursor()?;
        let applied = space.apply(Page::new().upsert(variant.clone()).replacing())?;
        ensure_eq!(
            applied.upserts,
            [UpsertOutcome::Replaced],
            "{variant:?} that replaces"
        );
        let minted = applied.seqs.map(|range| range.count());
        ensure_eq!(minted, Some(2), "the seqs of a replacement");
        let row = space.get_one(id(0))?;
        ensure_eq!(
            row.map(|row| row.operation),
            Some(variant.clone()),
            "the row that replaced"
        );
        let entries = space.entries(cursor, MANY)?;
        let shown: Vec<_> = entries.iter().map(|entry| (entry.id, entry.ts)).collect();
        let old_ts = old.map(|row| row.operation.ts);
        ensure_eq!(
            shown,
            [(id(0), old_ts), (id(0), Some(variant.ts))],
            "the feed of a replacement: the old row's tombstone, then the new row"
        );
    }
    // The order of a row outlives a replacement that has none.
    let mut other = op(1);
    other.ts = ts(9);
    let _ = space.apply(Page::new().upsert(other.clone()).replacing())?;
    let kept = space
        .get_one(id(1))?
        .and_then(|row| row.operation.sync_order);
    ensure_eq!(
        kept,
        Some(order(4)),
        "the order after a replacement without one"
    );
    let _ = space.apply(Page::new().upsert(op(1).at(order(6))).replacing())?;
    let moved = space
        .get_one(id(1))?
        .and_then(|row| row.operation.sync_order);
    ensure_eq!(
        moved,
        Some(order(6)),
        "the order after a replacement with another"
    );
    space.audit()
}

pub(crate) fn a_backfill_sets_an_absent_order_once_and_nothing_else<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..100).delete(removed(id(200)).reject()))?;
    let before = space.dump()?;
    let all = |from: u64, to: u64| (from..to).map(|n| backfill(id(n), 1_000 - n));
    let page = |backfills: Vec<Backfill>| Page {
        backfills,
        ..Page::new()
    };
    // Interrupted half way and begun again from the start, by another handle.
    let applied = space.apply(page(all(0, 50).collect()))?;
    ensure_eq!(
        applied.backfills,
        vec![BackfillOutcome::Ordered; 50],
        "the first half"
    );
    ensure_eq!(applied.seqs, None, "seqs of a backfill");
    ensure_eq!(space.stats()?.ordered, 50, "the counter of ordered rows");
    drop(space);
    let space = db.space()?;
    let applied = space.apply(page(all(0, 100).collect()))?;
    let expected: Vec<_> = (0..100)
        .map(|n| {
            if n < 50 {
                BackfillOutcome::Unchanged
            } else {
                BackfillOutcome::Ordered
            }
        })
        .collect();
    ensure_eq!(
        applied.backfills,
        expected,
        "the whole, after the first half"
    );
    let ordered = space.dump()?;
    let mut plain = ordered.clone();
    plain.stats.ordered = before.stats.ordered;
    for row in &mut plain.rows {
        row.operation.sync_order = None;
    }
    plain.feed.clone_from(&before.feed);
    ensure_eq!(plain, before, "everything but the orders, after a backfill");
    let applied = space.apply(page(all(0, 100).collect()))?;
    ensure_eq!(
        applied.backfills,
        vec![BackfillOutcome::Unchanged; 100],
        "the whole again"
    );
    let applied = space.apply(page(vec![
        backfill(id(3), 1),
        backfill(id(200), 1),
        backfill(id(201), 1),
    ]))?;
    let expected = [
        BackfillOutcome::OrderConflict { stored: order(997) },
        BackfillOutcome::Tombstoned,
        BackfillOutcome::Unknown,
    ];
    ensure_eq!(
        applied.backfills,
        expected,
        "another order, a tombstoned and an unknown id"
    );
    ensure_eq!(
        space.dump()?,
        ordered,
        "everything after backfills that set nothing"
    );
    space.audit()
}

pub(crate) fn outcomes_have_the_length_and_order_of_their_input<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(Page::new().upserts([
        op(0),
        op(1).at(order(5)),
        op(2),
        op(3).about(object("a")),
        op(7),
    ]))?;
    let _ = space.apply(
        Page::new()
            .delete(removed(id(9)))
            .delete(removed(id(10)).reject())
            .delete(removed(id(2))),
    )?;
    let mut other = op(0);
    other.ts = ts(1);
    let page = Page::new()
        .lift(id(0))
        .lift(id(10))
        .lift(id(11))
        .lift(id(10))
        .delete(removed(id(2)))
        .delete(removed(id(1)).at(order(5)))
        .delete(removed(id(11)))
        .delete(removed(id(3)).of(object("b")))
        .delete(removed(id(12)).reject())
        .delete(removed(id(7)))
        .upserts([
            op(20),
            other,
            op(1).at(order(6)),
            op(2),
            op(0),
            op(0).at(order(4)),
            op(7),
            op(12),
        ])
        .backfill(id(30), order(1))
        .backfill(id(1), order(5))
        .backfill(id(2), order(1))
        .backfill(id(20), order(9))
        .backfill(id(1), order(8));
    let applied = space.apply(page)?;
    let lifts = [
        LiftOutcome::NotTombstoned,
        LiftOutcome::Lifted,
        LiftOutcome::NotTombstoned,
        LiftOutcome::NotTombstoned,
    ];
    ensure_eq!(applied.lifts, lifts, "outcomes of the lifts");
    let deletes = [
        DeleteOutcome::AlreadyDeleted,
        DeleteOutcome::Superseded,
        DeleteOutcome::Unknown,
        DeleteOutcome::OtherObject,
        DeleteOutcome::Rejected,
        DeleteOutcome::Deleted,
    ];
    ensure_eq!(applied.deletes, deletes, "outcomes of the deletes");
    let upserts = [
        UpsertOutcome::Inserted,
        UpsertOutcome::Divergent,
        UpsertOutcome::OrderConflict { stored: order(5) },
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Unchanged,
        UpsertOutcome::Ordered,
        UpsertOutcome::Inserted,
        UpsertOutcome::Inserted,
    ];
    ensure_eq!(applied.upserts, upserts, "outcomes of the upserts");
    let backfills = [
        BackfillOutcome::Unknown,
        BackfillOutcome::Unchanged,
        BackfillOutcome::Tombstoned,
        BackfillOutcome::Ordered,
        BackfillOutcome::OrderConflict { stored: order(5) },
    ];
    ensure_eq!(applied.backfills, backfills, "outcomes of the backfills");
    ensure_eq!(
        applied.seqs.map(|range| range.count()),
        Some(5),
        "seqs of two deletes and three rows"
    );
    let empty = space.apply(Page::new())?;
    ensure_eq!(
        empty,
        sync_core::Applied::default(),
        "what an empty page did"
    );
    space.audit()
}

pub(crate) fn ids_are_told_apart_by_every_byte<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let mut wanted = vec![[0x00; 32], [0xff; 32], [0x7f; 32], [0x80; 32]];
    // Text that is a quote, a wildcard, white space or the end of a string somewhere.
    wanted.extend([b'\'', b'%', b' ', b'\\', b'\n'].map(|byte| [byte; 32]));
    for place in 0..32 {
        for byte in [0x00_u8, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = [0x41; 32];
            if let Some(at) = bytes.get_mut(place) {
                *at = byte;
            }
            wanted.push(bytes);
        }
    }
    let wanted: Vec<OpId> = wanted.into_iter().map(OpId::new).collect();
    let operations = wanted
        .iter()
        .map(|id| Operation::new(*id, ts(3), id.as_bytes().to_vec()));
    let inserted = space
        .apply(Page::new().upserts(operations))?
        .totals()
        .inserted;
    ensure_eq!(inserted as usize, wanted.len(), "rows of distinct ids");
    for space in [&space, &db.space()?] {
        for (id, row) in wanted.iter().zip(space.get(&wanted)?) {
            let payload = row.map(|row| row.operation.payload);
            ensure_eq!(
                payload.as_deref(),
                Some(id.as_bytes().as_slice()),
                "the payload of {id}"
            );
        }
        let mut sorted = wanted.clone();
        sorted.sort_unstable();
        let keys = space.keys_by_time(TimeRange::ALL, Limit::rows(7))?;
        let keys: Vec<OpId> = keys.iter().map(|key| key.id).collect();
        ensure_eq!(keys, sorted, "ids of one ts, by their bytes");
    }
    let mut left = wanted.len();
    for gone in &wanted {
        let _ = space.apply(Page::new().delete(removed(*gone)))?;
        let live = space.get(&wanted)?.iter().flatten().count();
        left -= 1;
        ensure_eq!(live, left, "rows that get finds after a delete of {gone}");
    }
    Ok(())
}

/// What was read stays what it was, whatever is written afterwards.
pub(crate) fn returned_values_are_copies<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..10).set(key("k"), "before"))?;
    let read = |space: &Space<'_, H>| -> Verdict<_> {
        Ok((
            space.dump()?,
            space.get(&ids(0..10))?,
            space.load(&key("k"))?,
        ))
    };
    let first = read(&space)?;
    let second = read(&space)?;
    // Text is a copy in any case, which nothing the store does can reach.
    let text = format!("{first:?}");
    let page = ops(0..10).map(|mut operation| {
        operation.payload = Bytes::from_static(b"PAYLOAD");
        operation
    });
    let _ = space.apply(
        Page::new()
            .upserts(page)
            .replacing()
            .set(key("k"), "AFTER!"),
    )?;
    let _ = space.apply(Page::new().reset())?;
    ensure_eq!(
        format!("{first:?}"),
        text,
        "what was read, after the rows were replaced and reset"
    );
    ensure_eq!(
        first,
        second,
        "what was read before the rows were replaced and reset"
    );
    ensure_eq!(space.dump()?.rows.len(), 0, "rows after the reset");
    Ok(())
}

/// `get` and `known` of nothing, of the same id many times, of strangers.
pub(crate) fn look_ups_answer_in_request_order<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    ensure!(
        space.part(&[], Limit::rows(1).bytes(0))?.rows.is_empty(),
        "a get of nothing, of a space that does not exist"
    );
    ensure_eq!(
        space.get(&ids(0..3))?,
        vec![None; 3],
        "a get from a space that does not exist"
    );
    ensure_eq!(
        space.known(&ids(0..3))?,
        vec![Known::Unknown; 3],
        "known there"
    );
    ensure_eq!(
        space.load_many(&[key("a"), key("a")])?,
        vec![None, None],
        "load_many there"
    );
    let _ = space.apply(page_of(0..10).set(key("a"), "1").set(key("b"), ""))?;
    let rejected = Delete::new(id(20), TombstoneReason::Rejected)
        .reject()
        .at(order(8));
    let _ = space.apply(Page::new().delete(removed(id(4))).delete(rejected))?;
    let asked: Vec<u64> = vec![7, 0, 4, 7, 7, 99, 20, 9, 0, 99, 4];
    let wanted: Vec<OpId> = asked.iter().copied().map(id).collect();
    let got = space.get(&wanted)?;
    let found: Vec<Option<Operation>> = got
        .iter()
        .cloned()
        .map(|row| row.map(|row| row.operation))
        .collect();
    let live = |n: u64| n < 10 && n != 4;
    let expected: Vec<Option<Operation>> = asked.iter().map(|n| live(*n).then(|| op(*n))).collect();
    ensure_eq!(found, expected, "get in request order, repeats repeated");
    let known = space.known(&wanted)?;
    ensure_eq!(known.len(), wanted.len(), "answers of known");
    let reasons = [
        (4, TombstoneReason::Removed, None),
        (20, TombstoneReason::Rejected, Some(order(8))),
    ];
    for ((n, known), row) in asked.iter().zip(known).zip(got) {
        let fits = match (known, row) {
            (
                Known::Live {
                    ts,
                    seq,
                    sync_order: None,
                },
                Some(row),
            ) => ts == row.operation.ts && seq == row.seq,
            (
                Known::Tombstoned {
                    reason, source_seq, ..
                },
                None,
            ) => reasons.contains(&(*n, reason, source_seq)),
            (Known::Unknown, None) => *n == 99,
            _ => false,
        };
        ensure!(fits, "operation {n} is known as {known:?}");
    }
    ensure!(
        space.get(&[])?.is_empty() && space.known(&[])?.is_empty(),
        "answers to no ids"
    );
    let keys: Vec<StateKey> = ["b", "x", "a", "b"].into_iter().map(key).collect();
    let some = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let values = space.load_many(&keys)?;
    ensure_eq!(
        values,
        [some(""), None, some("1"), some("")],
        "load_many in request order"
    );
    ensure!(space.load_many(&[])?.is_empty(), "values of no keys");
    Ok(())
}
