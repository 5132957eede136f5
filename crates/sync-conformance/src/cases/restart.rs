//! What a restart, an abrupt end and a restored copy leave.

use std::collections::BTreeSet;

use sync_core::{
    Applied, Backfill, ErrorKind, FeedCursor, Limit, OpId, Page, Payloads, Seq, SyncOrder, Ts,
};

use crate::data::{id, ids, key, op, order, page_of, removed, seq, space_name};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::{Database, Harness};
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space};
use crate::walk::Follower;

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn a_restart_changes_nothing<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(
        page_of(0..100)
            .set(key("cursor"), "41")
            .set(key("empty"), ""),
    )?;
    let page = (0..20).fold(Page::new(), |page, n| page.delete(removed(id(n))));
    let _ = space.apply(page.backfill(id(23), order(8)).lift(id(17)))?;
    let _ = space.apply(Page::new().lift(id(17)))?;
    let _ = space.prune(seq(110))?;
    let before = space.dump()?;
    let known = space.known(&ids(0..101))?;
    let cursor = space.cursor()?;
    drop(space);
    let space = db.space()?;
    ensure_eq!(space.dump()?, before, "everything after a restart");
    ensure_eq!(space.known(&ids(0..101))?, known, "known after a restart");
    let page = space.feed(cursor, MANY, Payloads::Skip)?;
    ensure_eq!(
        (page.entries.len(), page.next),
        (0, cursor),
        "the feed after a restart"
    );
    // The tombstones stand as they did: 15 against a plain upsert, 17 was lifted.
    let applied = space.apply(Page::new().upserts([op(15), op(17)]))?;
    ensure_eq!(
        (applied.totals().tombstoned, applied.totals().inserted),
        (1, 1),
        "(tombstoned, inserted) after a restart"
    );
    space.audit()
}

/// The task of a process that writes until somebody ends it.
pub(crate) const WRITE_ON: &str = "write-on";

pub(crate) fn write_on<H: Harness>(db: &Db<'_, H>, argument: &str) -> Verdict {
    let Ok(from) = argument.parse::<u64>() else {
        fail!("the number of a row, not {argument:?}");
    };
    let space = db.space()?;
    for n in from.. {
        // Two rows, a delete of the one and a cursor that tells how far it is.
        let page = Page::new()
            .upserts([op(2 * n), op(2 * n + 1)])
            .set(key("cursor"), n.to_string());
        let _ = space.apply(page)?;
        say(&n.to_string());
        let _ = space.apply(Page::new().delete(removed(id(2 * n))))?;
    }
    Ok(())
}

/// Killed at moments nobody chose, again and again: what was answered is there, and no reader
/// notices anything else.
pub(crate) fn an_abrupt_end_loses_nothing_that_was_answered<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(1_000_000..1_000_001))?;
    let epoch = space.stats()?.epoch;
    drop(space);
    let mut follower = Follower::new(FeedCursor::Beginning);
    let (mut from, mut answered) = (0_u64, 0_u64);
    for round in 0..5 {
        let mut worker = Worker::start(&db, WRITE_ON, from.to_string())?;
        for _ in 0..20 + round {
            let Some(said) = worker.hear()? else {
                let (_, status, complaint) = worker.end()?;
                fail!("the writer ended by itself: {status}: {complaint}");
            };
            answered = said.parse().unwrap_or(answered);
        }
        worker.kill()?;
        let space = db.space()?;
        let cursor = space.at_rest(|space| rows_fit_the_cursor(space, answered))?;
        ensure_eq!(space.stats()?.epoch, epoch, "the epoch after a kill");
        while follower.step(&space, Limit::rows(9), Payloads::Skip)? {}
        let seen: BTreeSet<OpId> = follower.entries.iter().map(|entry| entry.id).collect();
        ensure!(
            odd(cursor).iter().all(|id| seen.contains(id)),
            "a reader missed a row before a kill"
        );
        space.audit()?;
        from = cursor + 1;
    }
    Ok(())
}

/// Of the pages up to `cursor` the rows that are never deleted.
fn odd(cursor: u64) -> Vec<OpId> {
    (0..=cursor).map(|n| id(2 * n + 1)).collect()
}

/// Rows and cursor together: exactly the pages up to the cursor are there, and of the last one the
/// delete or not. Answers the cursor.
fn rows_fit_the_cursor<H: Harness>(space: &Space<'_, H>, answered: u64) -> Verdict<u64> {
    let written = space.load(&key("cursor"))?;
    let cursor = written.and_then(|value| String::from_utf8(value.to_vec()).ok());
    let Some(cursor) = cursor.and_then(|text| text.parse::<u64>().ok()) else {
        fail!("the cursor is gone after a kill");
    };
    ensure!(
        cursor >= answered,
        "page {answered} was answered, the cursor says {cursor}"
    );
    let got = space.get(&odd(cursor))?;
    ensure!(
        got.iter().all(Option::is_some),
        "a row at or below the cursor is gone"
    );
    let beyond = space.get(&ids(2 * cursor + 2..2 * cursor + 12))?;
    ensure!(
        beyond.iter().all(Option::is_none),
        "a row above the cursor is there"
    );
    Ok(cursor)
}

/// The copy is older than what readers saw. A new epoch tells them; seqs alone cannot, because
/// the restored history passes their cursors.
pub(crate) fn after_a_restored_copy_and_a_new_epoch_no_reader_skips<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..10).set(key("cursor"), "10"))?;
    let before = space.dump()?;
    drop(space);
    db.database.copy_aside()?;
    let space = db.space()?;
    let _ = space.apply(page_of(10..15).set(key("cursor"), "15"))?;
    let reader = space.cursor()?;
    drop(space);
    db.database.put_back()?;

    let space = db.space()?;
    let mut restored = space.dump()?;
    restored.stats.epoch = before.stats.epoch;
    ensure_eq!(restored, before, "what was put back");
    let epoch = space.new_epoch()?;
    ensure!(
        epoch.is_some() && epoch != before.stats.epoch,
        "new_epoch left the epoch at {epoch:?}"
    );
    ensure_eq!(space.stats()?.epoch, epoch, "the epoch after new_epoch");
    // Other rows take the seqs the reader saw, and more.
    let _ = space.apply(page_of(20..30))?;
    ensure!(
        space.stats()?.head > reader.seq(),
        "the case needs a head past the reader"
    );
    for space in [&space, &db.space()?] {
        ensure_err!(
            space.feed(reader, MANY, Payloads::Skip),
            ErrorKind::WrongEpoch { .. } => (),
            "a reader that saw the lost history"
        );
        let seen = space.entries(FeedCursor::Beginning, MANY)?.len();
        ensure_eq!(seen, 20, "entries of the reader that began again");
    }
    space.audit()
}

pub(crate) fn the_highest_positions_are_exact<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    // Neighbours that one floating-point number cannot tell apart from one above the highest.
    let near = |below: u64| Ts::MAX.value() - below;
    for below in 0..3 {
        let mut operation = op(below).at(order(near(below)));
        operation.ts = crate::data::ts(near(below));
        let _ = space.apply(Page::new().upsert(operation))?;
    }
    let page = Page::new()
        .upsert(op(5))
        .delete(removed(id(9)).reject().at(SyncOrder::MAX));
    let page = Page {
        backfills: vec![Backfill {
            id: id(5),
            sync_order: SyncOrder::MAX,
        }],
        ..page
    };
    let _ = space.apply(page)?;
    drop(space);
    let space = db.space()?;
    for below in 0..3 {
        let Some(row) = space.get_one(id(below))? else {
            fail!("the row with ts 2^53 - 1 - {below} is gone");
        };
        ensure_eq!(
            row.operation.ts.value(),
            near(below),
            "a ts near the highest"
        );
        ensure_eq!(
            row.operation.sync_order,
            Some(order(near(below))),
            "an order near the highest"
        );
    }
    let by_time = space.rows_by_time(
        sync_core::TimeRange {
            from: crate::data::ts(near(1)),
            to: Ts::MAX,
        },
        Limit::rows(1),
    )?;
    let found: Vec<OpId> = by_time.iter().map(|row| row.operation.id).collect();
    ensure_eq!(found, [id(1), id(0)], "the rows with the two highest ts");
    let highest: Vec<u64> = space
        .rows_by_order(Limit::rows(1))?
        .iter()
        .filter_map(|row| row.operation.sync_order)
        .map(|order| Ts::MAX.value() - order.value())
        .collect();
    ensure_eq!(
        highest,
        [2, 1, 0, 0],
        "distances of the orders from the highest, in their order"
    );
    let again = space.apply(Page::new().upsert(op(9).at(SyncOrder::MAX)).reviving())?;
    ensure_eq!(
        again.totals().tombstoned,
        1,
        "upserts at, not above, a source seq of 2^53 - 1"
    );
    space.audit()
}

pub(crate) fn the_last_seq_is_minted_and_one_more_is_refused<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..3).set(key("k"), "before"))?;
    drop(space);
    db.database
        .set_head(&space_name("space"), seq(Seq::MAX.value() - 2))?;
    let space = db.space()?;
    let last_of = |applied: &Applied| applied.seqs.map(|range| range.last.value());
    let applied = space.apply(page_of(3..4))?;
    ensure_eq!(
        last_of(&applied),
        Some(Seq::MAX.value() - 1),
        "the seq before the last"
    );
    let before = space.dump()?;
    // Every way to need two seqs where one is left, and then one where none is left.
    let too_many = [
        page_of(4..6),
        Page::new().delete(removed(id(0))).delete(removed(id(1))),
        Page::new().delete(removed(id(8)).reject()).upsert(op(4)),
        Page::new()
            .upsert(sync_core::Operation::new(id(0), Ts::ZERO, "other"))
            .replacing(),
    ];
    for page in too_many {
        let page = page.set(key("k"), "after");
        ensure_err!(space.apply(page), ErrorKind::Exhausted => (), "a page that needs two seqs of one");
        ensure_eq!(space.dump()?, before, "everything after a refused page");
    }
    let applied = space.apply(Page::new().delete(removed(id(0))))?;
    ensure_eq!(last_of(&applied), Some(Seq::MAX.value()), "the last seq");
    ensure_eq!(space.stats()?.head, Seq::MAX, "the head at the last seq");
    for page in [
        page_of(4..5),
        Page::new().delete(removed(id(1))),
        Page::new().delete(removed(id(8)).reject()),
    ] {
        ensure_err!(space.apply(page), ErrorKind::Exhausted => (), "a page that needs a seq");
    }
    // What needs no seq goes on.
    let page = page_of(1..3)
        .backfill(id(1), order(7))
        .set(key("k"), "after");
    let applied = space.apply(page)?;
    ensure_eq!(applied.seqs, None, "seqs of a page that needs none");
    ensure_eq!(applied.totals().ordered, 1, "orders set at the last seq");
    drop(space);
    let space = db.space()?;
    // Nor does a replay, also where no tombstone ever was.
    let other = db.connect()?.open("other")?;
    let _ = other.apply(page_of(0..3))?;
    db.database.set_head(&space_name("other"), Seq::MAX)?;
    let applied = other.apply(page_of(0..3))?;
    ensure_eq!(applied.totals().unchanged, 3, "a replay at the last seq");
    drop(other);
    let seqs: Vec<u64> = space
        .entries(FeedCursor::Beginning, Limit::rows(1))?
        .iter()
        .map(|entry| Seq::MAX.value() - entry.seq.value())
        .rev()
        .take(2)
        .collect();
    ensure_eq!(
        seqs,
        [0, 1],
        "distances of the last two seqs from the highest"
    );
    let cursor = space.cursor()?;
    ensure_eq!(cursor.seq(), Seq::MAX, "a cursor at the last seq");
    let page = space.feed(cursor, MANY, Payloads::Skip)?;
    ensure_eq!(
        (page.entries.len(), page.next),
        (0, cursor),
        "the feed at the last seq"
    );
    space.audit()
}
