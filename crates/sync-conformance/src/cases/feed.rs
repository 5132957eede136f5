//! What the feed shows, and which cursors it accepts.

use std::collections::BTreeSet;

use sync_core::{
    Epoch, ErrorKind, FeedCursor, FeedEntry, FeedKind, Limit, Page, Payloads, Seq, SyncOrder,
    TimeKey, TimeRange, TombstoneReason,
};

use crate::data::{backfill, id, key, op, ops, order, page_of, removed, seq, ts};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::Harness;
use crate::rig::{Rig, Space};
use crate::walk::{Follower, replay};

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn a_seq_is_never_used_again<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, mut space) = rig.space()?;
    let mut highest = Seq::ZERO;
    let mut next = 0..;
    let mut insert = |space: &Space<'_, H>, what: &str| -> Verdict {
        let n = next.next().unwrap_or_default();
        let applied = space.apply(Page::new().upsert(op(n)))?;
        let Some(minted) = applied.seqs else {
            fail!("an insert after {what} minted no seq");
        };
        ensure!(
            minted.first > highest,
            "an insert after {what} has seq {}, and {highest} was used before",
            minted.first
        );
        highest = space.stats()?.head;
        Ok(())
    };
    for _ in 0..5 {
        insert(&space, "an insert")?;
    }
    let _ = space.apply(Page::new().delete(removed(id(4))))?;
    insert(&space, "a delete of the newest row")?;
    let rows = (0..6).fold(Page::new(), |page, n| page.delete(removed(id(n))));
    let _ = space.apply(rows)?;
    drop(space);
    space = db.space()?;
    insert(&space, "a delete of all rows and a restart")?;
    let _ = space.apply(Page::new().delete(removed(id(6))))?;
    let _ = space.prune(Seq::MAX)?;
    drop(space);
    space = db.space()?;
    insert(&space, "a prune of everything and a restart")?;
    let _ = space.apply(Page::new().reset())?;
    insert(&space, "a reset")?;
    let _ = space.apply(Page::new().reset())?;
    drop(space);
    space = db.space()?;
    insert(&space, "a reset and a restart")?;
    let _ = space.new_epoch()?;
    insert(&space, "a new epoch")
}

pub(crate) fn seqs_of_a_page_rise_in_the_order_it_acts<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..10))?;
    let head = space.stats()?.head;
    let mut other = op(5);
    other.ts = ts(1);
    // Ids are in no order of their own: 8, 2, 9 deleted, then 20 and 11 inserted, 5 replaced.
    let page = [8, 2, 9]
        .into_iter()
        .fold(Page::new(), |page, n| page.delete(removed(id(n))))
        .upserts([op(20), op(11), other, op(0), op(12)])
        .backfill(id(0), order(3))
        .set(key("k"), "v")
        .replacing();
    let applied = space.apply(page)?;
    let cursor = FeedCursor::After {
        epoch: epoch_of(&space)?,
        floor: Seq::ZERO,
        seq: head,
    };
    let Some(minted) = applied.seqs else {
        fail!("a page that deletes and inserts minted no seq");
    };
    ensure!(
        minted.first > head,
        "the page minted {}, the head was {head}",
        minted.first
    );
    let entries = space.entries(cursor, MANY)?;
    let place = |seq: Seq| seq.value() + 1 - minted.first.value();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (place(entry.seq), entry.id, is_live(entry)))
        .collect();
    let expected = [
        (1, id(8), false),
        (2, id(2), false),
        (3, id(9), false),
        (4, id(20), true),
        (5, id(11), true),
        (6, id(5), false),
        (7, id(5), true),
        (8, id(12), true),
    ];
    ensure_eq!(
        found,
        expected,
        "(place in the page, id, live) of the page's entries"
    );
    ensure_eq!(minted.count(), 8, "seqs the page says it minted");
    ensure_eq!(space.stats()?.head, minted.last, "the head after the page");
    Ok(())
}

pub(crate) fn a_feed_cut_at_every_position_resumes_exactly<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..20))?;
    let page = Page::new().upserts(ops(20..30));
    let page = (0..5).fold(page, |page, n| page.delete(removed(id(3 * n))));
    let _ = space.apply(page)?;
    let _ = space.apply(Page::new().upsert(op(30)))?;
    let all = space.entries(FeedCursor::Beginning, MANY)?;
    ensure_eq!(all.len(), 31, "entries of 31 rows of which 5 were deleted");
    for cut in 1..=all.len() {
        let (head, tail) = all.split_at(cut);
        let page = space.feed(FeedCursor::Beginning, Limit::rows(cut), Payloads::Include)?;
        ensure_eq!(page.entries, head, "the first {cut} entries");
        ensure_eq!(
            page.more,
            cut < all.len(),
            "more after the first {cut} entries"
        );
        for limit in [1, 2, 3, 100] {
            let rest = space.entries(page.next, Limit::rows(limit))?;
            ensure_eq!(
                rest,
                tail,
                "the entries after the first {cut}, {limit} at a time"
            );
        }
        let text: FeedCursor = page.next.to_string().parse()?;
        ensure_eq!(
            space.entries(text, MANY)?,
            tail,
            "the entries after a cursor read from text"
        );
    }
    // Cut by bytes instead: payloads are 9 or 10 bytes each.
    let mut follower = Follower::new(FeedCursor::Beginning);
    while follower.step(&space, MANY.bytes(25), Payloads::Include)? {}
    ensure_eq!(follower.entries, all, "the entries, 25 bytes at a time");
    Ok(())
}

pub(crate) fn a_cursor_of_another_epoch_is_refused<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let stranger = FeedCursor::After {
        epoch: Epoch::new([7; 16]),
        floor: Seq::ZERO,
        seq: Seq::ZERO,
    };
    let refused = |space: &Space<'_, H>, cursor| -> Verdict<Option<Epoch>> {
        let answer = space.feed(cursor, MANY, Payloads::Skip);
        let current = ensure_err!(
            answer,
            ErrorKind::WrongEpoch { current } => *current,
            "a cursor of another epoch"
        );
        Ok(current)
    };
    ensure_eq!(
        refused(&space, stranger)?,
        None,
        "the epoch of a space that does not exist"
    );
    let _ = space.apply(page_of(0..10))?;
    let mut old = vec![stranger, space.cursor()?];
    let _ = space.apply(Page::new().reset())?;
    old.push(space.cursor()?);
    let _ = space.apply(page_of(0..3).reset())?;
    old.push(space.cursor()?);
    let minted = space.new_epoch()?;
    ensure_eq!(
        minted,
        space.stats()?.epoch,
        "the epoch that new_epoch answers"
    );
    // Far above the head as well: what belongs to another history cannot be ahead of this one.
    old.push(FeedCursor::After {
        epoch: Epoch::new([8; 16]),
        floor: Seq::ZERO,
        seq: Seq::MAX,
    });
    let current = Some(epoch_of(&space)?);
    let epochs: BTreeSet<String> = old.iter().map(ToString::to_string).collect();
    ensure_eq!(
        epochs.len(),
        old.len(),
        "distinct cursors of distinct epochs"
    );
    for cursor in old {
        for space in [&space, &db.space()?] {
            ensure_eq!(refused(space, cursor)?, current, "the epoch an error names");
        }
    }
    ensure_eq!(
        space.entries(FeedCursor::Beginning, MANY)?.len(),
        3,
        "entries from the beginning"
    );
    Ok(())
}

pub(crate) fn a_cursor_ahead_of_the_log_is_refused_with_the_head<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..10))?;
    let stats = space.stats()?;
    let at = |seq: Seq| -> Verdict<FeedCursor> {
        Ok(FeedCursor::After {
            epoch: epoch_of(&space)?,
            floor: Seq::ZERO,
            seq,
        })
    };
    for ahead in [seq(stats.head.value() + 1), Seq::MAX] {
        let head = ensure_err!(
            space.feed(at(ahead)?, MANY, Payloads::Skip),
            ErrorKind::AheadOfLog { head } => *head,
            "a cursor at {ahead}"
        );
        ensure_eq!(head, stats.head, "the head an error names");
    }
    let page = space.feed(at(stats.head)?, MANY, Payloads::Skip)?;
    ensure!(page.entries.is_empty(), "entries after the head");
    Ok(())
}

pub(crate) fn a_reader_is_pruned_exactly_when_the_floor_rose_past_it<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let places = rows_and_tombstones(&space)?;
    let at = |place: usize| places.get(place).copied().unwrap_or(Seq::MAX);
    let epoch = epoch_of(&space)?;
    let floor = at(25);
    let pruned = space.prune(floor)?;
    ensure_eq!(
        (pruned.floor, pruned.dropped),
        (floor, 5),
        "(floor, dropped) of a prune"
    );
    ensure_eq!(
        space.prune(at(22))?.floor,
        floor,
        "the floor after a lower prune"
    );
    let stats = space.stats()?;
    ensure_eq!(
        (stats.floor, stats.tombstones),
        (floor, 5),
        "(floor, tombstones) after it"
    );
    for began in [0, 10, 24, 25] {
        for seen in 0..=30 {
            let cursor = FeedCursor::After {
                epoch,
                floor: at(began),
                seq: at(seen),
            };
            let answer = space.feed(cursor, MANY, Payloads::Skip);
            if seen < 25 && began < 25 {
                let found = ensure_err!(
                    answer,
                    ErrorKind::Pruned { floor } => *floor,
                    "a reader at {seen} that began at floor {began}, the floor being 25"
                );
                ensure_eq!(found, floor, "the floor an error names");
                continue;
            }
            let left = (11..=20).chain(26..=30).filter(|place| *place > seen);
            let expected: Vec<Seq> = left.map(at).collect();
            let found: Vec<Seq> = answer?.entries.iter().map(|entry| entry.seq).collect();
            ensure_eq!(
                found,
                expected,
                "the seqs after {seen} for one that began at {began}"
            );
        }
    }
    space.audit()
}

/// Rows at the places 1 to 20 and the tombstones of the first ten of them at 21 to 30, by place;
/// the place 0 is before all of them.
fn rows_and_tombstones<H: Harness>(space: &Space<'_, H>) -> Verdict<Vec<Seq>> {
    let deletes = (0..10).fold(Page::new(), |page, n| page.delete(removed(id(n))));
    let mut places = vec![Seq::ZERO];
    for page in [page_of(0..20), deletes] {
        if let Some(minted) = space.apply(page)?.seqs {
            places.extend((minted.first.value()..=minted.last.value()).map(seq));
        }
    }
    ensure_eq!(
        places.len(),
        31,
        "seqs of 20 rows and 10 deletes, and the beginning"
    );
    Ok(places)
}

/// The floor is in the middle of the log, and rises once more while the reader is on its way.
pub(crate) fn a_reader_from_the_beginning_always_reaches_the_head<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let places = rows_and_tombstones(&space)?;
    let at = |place: usize| places.get(place).copied().unwrap_or(Seq::MAX);
    let _ = space.prune(at(23))?;
    let mut follower = Follower::new(FeedCursor::Beginning);
    while follower.step(&space, Limit::rows(1), Payloads::Skip)? {}
    ensure_eq!(
        follower.entries.len(),
        17,
        "entries from the beginning, one at a time"
    );
    ensure_eq!(
        follower.cursor.seq(),
        space.stats()?.head,
        "the cursor at the end"
    );

    let mut late = Follower::new(FeedCursor::Beginning);
    let mut pruned = Follower::new(FeedCursor::Beginning);
    for _ in 0..12 {
        late.step(&space, Limit::rows(1), Payloads::Skip)?;
    }
    for _ in 0..3 {
        pruned.step(&space, Limit::rows(1), Payloads::Skip)?;
    }
    // The late one has seen 10 rows and tombstones 24 and 25; the other one stands at row 13.
    let _ = space.prune(at(25))?;
    while late.step(&space, Limit::rows(1), Payloads::Skip)? {}
    ensure_eq!(
        late.entries.len(),
        17,
        "entries of a reader the rising floor did not pass"
    );
    ensure_err!(
        space.feed(pruned.cursor, MANY, Payloads::Skip),
        ErrorKind::Pruned { .. } => (),
        "a reader that stood below the floor when it rose"
    );
    let again = space.entries(FeedCursor::Beginning, Limit::rows(1))?;
    ensure_eq!(again.len(), 15, "entries of the reader that began again");
    Ok(())
}

pub(crate) fn an_empty_page_has_a_stable_cursor<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let page = space.feed(FeedCursor::Beginning, MANY, Payloads::Include)?;
    ensure_eq!(
        (page.entries.len(), page.next, page.more),
        (0, FeedCursor::Beginning, false),
        "the feed of a space that does not exist"
    );
    let _ = space.apply(Page::new().set(key("k"), "v"))?;
    let page = space.feed(FeedCursor::Beginning, MANY, Payloads::Include)?;
    ensure_eq!(
        (page.entries.len(), page.more),
        (0, false),
        "the feed of a space without rows"
    );
    let _ = space.apply(page_of(0..5))?;
    let cursor = space.cursor()?;
    ensure_eq!(
        cursor.seq(),
        space.stats()?.head,
        "a cursor that leaves nothing"
    );
    for _ in 0..3 {
        let page = space.feed(cursor, MANY, Payloads::Include)?;
        ensure_eq!(
            (page.entries.len(), page.next, page.more),
            (0, cursor, false),
            "an empty page"
        );
    }
    // The newest entries go; a page with nothing left still ends at the head.
    let _ = space.apply(Page::new().delete(removed(id(4))))?;
    let _ = space.prune(Seq::MAX)?;
    let at_head = space.cursor()?;
    ensure_eq!(
        at_head.seq(),
        space.stats()?.head,
        "a cursor past pruned entries"
    );
    let page = space.feed(at_head, MANY, Payloads::Include)?;
    ensure_eq!(
        (page.entries.len(), page.next),
        (0, at_head),
        "an empty page at the head"
    );
    Ok(())
}

pub(crate) fn a_delete_and_a_revive_both_show<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(Page::new().upserts([op(0).at(order(1)), op(1), op(2)]))?;
    let cursor = space.cursor()?;
    let delete = sync_core::Delete::new(id(0), TombstoneReason::Rejected).at(order(5));
    let _ = space.apply(Page::new().delete(delete).delete(removed(id(2))))?;
    let revived = op(0).at(order(9));
    let _ = space.apply(Page::new().upsert(revived.clone()).reviving())?;
    let entries = space.entries(cursor, MANY)?;
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| (entry.id, entry.ts, entry.kind.clone()))
        .collect();
    let grave = |reason, source_seq: Option<SyncOrder>| FeedKind::Tombstone {
        reason,
        source_seq,
        lifted: false,
    };
    let expected = [
        (
            id(0),
            Some(op(0).ts),
            grave(TombstoneReason::Rejected, Some(order(5))),
        ),
        (id(2), Some(op(2).ts), grave(TombstoneReason::Removed, None)),
        (
            id(0),
            Some(op(0).ts),
            FeedKind::Live {
                sync_order: Some(order(9)),
                payload: Some(revived.payload),
            },
        ),
    ];
    ensure_eq!(kinds, expected, "the entries of two deletes and a revive");
    let without = space.feed(cursor, MANY, Payloads::Skip)?;
    ensure!(
        without.entries.iter().all(|entry| !matches!(
            entry.kind,
            FeedKind::Live {
                payload: Some(_),
                ..
            }
        )),
        "payloads that were not asked for"
    );
    Ok(())
}

/// Random inserts, deletes, revives, replacements with another ts, lifts and backfills; a reader
/// that stopped after any page catches up to the same set.
pub(crate) fn a_reader_from_every_cursor_rebuilds_the_rows<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let mut random = fastrand::Rng::with_seed(0x0c12);
    let mut readers: Vec<(FeedCursor, BTreeSet<TimeKey>)> =
        vec![(FeedCursor::Beginning, BTreeSet::new())];
    for n in 0..80 {
        let mut page = Page::new().replacing().reviving();
        for _ in 0..random.u8(1..6) {
            let id = id(random.u64(0..12));
            match random.u8(0..6) {
                0 | 1 => page.deletes.push(removed(id)),
                2 => page.lifts.push(id),
                3 => page.backfills.push(backfill(id, random.u64(0..9))),
                _ => {
                    let mut operation = op(n);
                    operation.id = id;
                    operation.ts = ts(random.u64(0..4));
                    page.upserts.push(operation);
                }
            }
        }
        let _ = space.apply(page)?;
        let keys = space.keys_by_time(TimeRange::ALL, MANY)?;
        readers.push((space.cursor()?, keys.into_iter().collect()));
    }
    let rows: BTreeSet<TimeKey> = space
        .keys_by_time(TimeRange::ALL, MANY)?
        .into_iter()
        .collect();
    for (cursor, mut set) in readers {
        for entries in space.entries(cursor, MANY)?.chunks(3) {
            replay(&mut set, entries);
        }
        ensure_eq!(set, rows, "the set a reader from {cursor} has");
    }
    space.audit()
}

fn epoch_of<H: Harness>(space: &Space<'_, H>) -> Verdict<Epoch> {
    match space.stats()?.epoch {
        Some(epoch) => Ok(epoch),
        None => fail!("a space that was written to has no epoch"),
    }
}

fn is_live(entry: &FeedEntry) -> bool {
    matches!(entry.kind, FeedKind::Live { .. })
}
