//! What a reader sees of the largest page while it is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use sync_core::{FeedCursor, Known, Limit, Operation, Page, Payloads, Stats, limits};

use crate::data::{id, key, order, removed, seq, ts};
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::rig::{Rig, Space, finish};

/// Rows that stand before the page, which deletes the first half of them.
const BEFORE: u64 = 1_000;
const DELETED: u64 = BEFORE / 2;
const INSERTED: u64 = limits::PAGE_OPERATIONS as u64 - DELETED;

/// Looks that every reader takes before the page: a server that answers nobody meanwhile is still
/// looked at on both sides of it.
const EARLY_LOOKS: u64 = 3;

fn operations(range: std::ops::Range<u64>) -> impl Iterator<Item = Operation> {
    let payload = Bytes::from_static(b"payload");
    range.map(move |n| Operation::new(id(n), ts(n), payload.clone()).at(order(n + 1)))
}

/// Readers that look all the time, through the handle that writes and through one of their own,
/// find nothing of the page or all of it, and all of it once any look or the writer knew of it.
pub(crate) fn a_large_page_becomes_visible_at_once<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, writer) = rig.space()?;
    let _ = writer.apply(Page::new().upserts(operations(0..BEFORE)))?;
    let sides = Sides::of(&writer)?;
    let page = (0..DELETED)
        .fold(Page::new(), |page, n| page.delete(removed(id(n))))
        .upserts(operations(BEFORE..BEFORE + INSERTED))
        .set(key("cursor"), "end");
    ensure_eq!(
        page.operations(),
        limits::PAGE_OPERATIONS,
        "operations of the page"
    );

    let own = db.space()?;
    let (answered, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let watched = watch(&sides, &[&writer, &own], &answered, &looks);
            // A reader that gave up does not leave the writer waiting for its looks.
            looks.fetch_add(EARLY_LOOKS, Ordering::SeqCst);
            watched
        });
        while looks.load(Ordering::SeqCst) < EARLY_LOOKS {
            thread::yield_now();
        }
        let applied = writer.apply(page);
        answered.store(true, Ordering::SeqCst);
        let totals = applied?.totals();
        ensure_eq!(
            (totals.inserted, totals.deleted),
            (INSERTED, DELETED),
            "(inserted, deleted)"
        );
        finish(reader)
    })?;
    own.audit()
}

/// Looks through each handle in turn, until a round that began after the page was answered.
fn watch<H: Harness>(
    sides: &Sides,
    readers: &[&Space<'_, H>],
    answered: &AtomicBool,
    looks: &AtomicU64,
) -> Verdict {
    let mut seen = false;
    loop {
        // Asked first: what was answered before a look must be seen by it.
        let last = answered.load(Ordering::SeqCst);
        seen |= last;
        for reader in readers {
            for (what, whole) in sides.look(reader)? {
                ensure!(
                    whole || !seen,
                    "the page was seen, or answered, and then {what} knew nothing of it"
                );
                seen |= whole;
            }
        }
        looks.fetch_add(1, Ordering::SeqCst);
        if last {
            return Ok(());
        }
    }
}

/// What readers are told on the two sides of the page.
struct Sides {
    before: Stats,
    after: Stats,
    /// The end of the feed before the page.
    end: FeedCursor,
}

impl Sides {
    fn of<H: Harness>(space: &Space<'_, H>) -> Verdict<Self> {
        let before = space.stats()?;
        let rest = Limit::rows(limits::PAGE_OPERATIONS);
        let end = space
            .feed(FeedCursor::Beginning, rest, Payloads::Skip)?
            .next;
        let live = BEFORE - DELETED + INSERTED;
        let head = before.head.value() + INSERTED + DELETED;
        let after = Stats {
            total: live,
            ordered: live,
            tombstones: DELETED,
            head: seq(head),
            ..before
        };
        Ok(Self { before, after, end })
    }

    /// Looks once in every way, one after the other, and says whether each saw the whole page.
    fn look<H: Harness>(&self, space: &Space<'_, H>) -> Verdict<[(&'static str, bool); 4]> {
        let stats = space.stats()?;
        let whole_stats = stats == self.after;
        ensure!(
            whole_stats || stats == self.before,
            "stats of neither side: {stats:?}"
        );
        let rest = Limit::rows(usize::MAX);
        let entries = space.feed(self.end, rest, Payloads::Skip)?.entries.len() as u64;
        ensure!(
            entries == 0 || entries == INSERTED + DELETED,
            "{entries} entries in the feed of one page"
        );
        let known = space.known(&[id(BEFORE + INSERTED - 1), id(0)])?;
        let whole_known = match known.as_slice() {
            [Known::Unknown, Known::Live { .. }] => false,
            [Known::Live { .. }, Known::Tombstoned { .. }] => true,
            other => fail!("the last row inserted and the first deleted: {other:?}"),
        };
        let cursor = space.load(&key("cursor"))?;
        Ok([
            ("the counters", whole_stats),
            ("the feed", entries > 0),
            ("the ids", whole_known),
            ("the state", cursor.is_some()),
        ])
    }
}
