//! Many spaces in one database: apart from each other, created once, dropped, reset and swept.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use bytes::Bytes;
use sync_core::{
    Epoch, ErrorKind, FeedCursor, Limit, Page, Payloads, Result, Seq, SpaceName, Stats, TimeRange,
};

use crate::data::{id, ids, key, object, op, order, page_of, removed};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::Harness;
use crate::process::{Worker, say};
use crate::rig::{Connection, Db, Rig, Space, together};

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn spaces_do_not_see_each_other<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    // Names that are prefixes of each other, or differ in what a pattern takes for anything.
    let names = ["a", "ab", "a.b", "a_b", "a-b", "a.", "_", ".", "0", "space"];
    let long = "x".repeat(64);
    let names: Vec<&str> = names.into_iter().chain([long.as_str()]).collect();
    let spaces: Vec<Space<'_, H>> = names
        .iter()
        .map(|name| connection.open(name))
        .collect::<Result<_>>()?;
    // The same ids, keys and object in all of them, with contents of their own.
    for (n, space) in (0..).zip(&spaces) {
        ensure_eq!(
            space.name().as_str(),
            *names.get(n as usize).unwrap_or(&""),
            "a space's name"
        );
        let operations = (0..5 + n).map(|row| {
            let mut operation = op(row).about(object("a")).at(order(n));
            operation.payload = Bytes::from(format!("row {row} of {n}"));
            operation
        });
        let page = Page::new()
            .upserts(operations)
            .set(key("cursor"), n.to_string());
        let _ = space.apply(page)?;
    }
    let dumps: Vec<_> = spaces.iter().map(Space::dump).collect::<Verdict<_>>()?;
    let epochs: BTreeSet<String> = dumps
        .iter()
        .filter_map(|dump| dump.stats.epoch)
        .map(|epoch| epoch.to_string())
        .collect();
    ensure_eq!(
        epochs.len(),
        spaces.len(),
        "distinct epochs of distinct spaces"
    );
    for (n, space) in (0..).zip(&spaces) {
        let stats = space.stats()?;
        ensure_eq!(
            (stats.total, stats.ordered),
            (5 + n, 5 + n),
            "counters of space {n}"
        );
        let value = space.load(&key("cursor"))?;
        ensure_eq!(
            value,
            Some(Bytes::from(n.to_string())),
            "state of space {n}"
        );
        let row = space.get_one(id(0))?.map(|row| row.operation.payload);
        ensure_eq!(
            row,
            Some(Bytes::from(format!("row 0 of {n}"))),
            "a row of space {n}"
        );
        let of_object = space.rows_of_object(&object("a"), MANY)?;
        ensure_eq!(
            of_object.len() as u64,
            5 + n,
            "an object's rows in space {n}"
        );
        space.audit()?;
    }
    // Everything that can be done to one leaves the others as they were.
    let Some((first, others)) = spaces.split_first() else {
        fail!("no spaces");
    };
    let unchanged = |what: &str| -> Verdict {
        for (space, dump) in others.iter().zip(dumps.iter().skip(1)) {
            ensure_eq!(
                space.dump()?,
                *dump,
                "space {} after {what} of {}",
                space.name(),
                first.name()
            );
        }
        Ok(())
    };
    let _ = first.apply(Page::new().delete(removed(id(0))).unset(key("cursor")))?;
    unchanged("a delete")?;
    let _ = first.prune(Seq::MAX)?;
    unchanged("a prune")?;
    let _ = first.new_epoch()?;
    unchanged("a new epoch")?;
    let _ = first.apply(page_of(50..60).reset())?;
    unchanged("a reset")?;
    while connection.sweep(1)?.more {}
    unchanged("a sweep")?;
    ensure!(
        connection.drop_space("a")?,
        "a space that exists was not dropped"
    );
    while connection.sweep(3)?.more {}
    unchanged("a drop")
}

pub(crate) fn bad_space_names_are_refused<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    for bad in [
        "",
        "A",
        "a b",
        "a/b",
        "ä",
        "a\0",
        "a'",
        "a%",
        "a*",
        "{a}",
        "a:b",
        &"x".repeat(65),
    ] {
        ensure_err!(
            SpaceName::new(bad),
            ErrorKind::InvalidInput { what: "space name" } => (),
            "the space {bad:?}"
        );
    }
    // Every byte a name may have, at every backend.
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let every = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    let names = [
        every, "-", ".", "..", "_", "0", "select", "null", "local", "admin",
    ];
    for name in names {
        let space = connection.open(name)?;
        let _ = space.apply(page_of(0..3).set(key("k"), "v"))?;
        ensure_eq!(
            connection.open(name)?.stats()?.total,
            3,
            "rows of the space {name:?}"
        );
        space.audit()?;
    }
    ensure_eq!(connection.spaces(None, 100)?.len(), names.len(), "spaces");
    Ok(())
}

pub(crate) fn of_two_resets_of_one_state_one_wins<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const ROUNDS: u64 = 30;
    let db = rig.fresh()?;
    let resetters = [db.space()?, db.space()?];
    let observer = db.space()?;
    let _ = observer.apply(page_of(0..10).set(key("source"), "round 0"))?;
    for round in 1..=ROUNDS {
        let first = |who: u64| 1_000 * round + 100 * who;
        let start = Barrier::new(resetters.len());
        let won = together(&resetters, |who, space| {
            let page = page_of(first(who)..first(who) + 10)
                .expect(key("source"), Some(format!("round {}", round - 1)))
                .reset()
                .set(key("source"), format!("round {round}"))
                .set(key("winner"), who.to_string());
            start.wait();
            match space.apply(page) {
                Ok(_) => Ok(Some(who)),
                Err(error) => {
                    ensure!(
                        matches!(error.kind(), ErrorKind::Conflict(_)),
                        "the loser of round {round} was answered {error}"
                    );
                    Ok(None)
                }
            }
        })?;
        let winners: Vec<u64> = won.into_iter().flatten().collect();
        let [winner] = *winners.as_slice() else {
            fail!("round {round} was won by {winners:?}");
        };
        for space in &resetters {
            let said = space.load(&key("winner"))?;
            ensure_eq!(
                said,
                Some(Bytes::from(winner.to_string())),
                "who won round {round}"
            );
            let mut expected = ids(first(winner)..first(winner) + 10);
            expected.sort_unstable();
            let rows = space.rows_by_time(TimeRange::ALL, MANY)?;
            let mut found: Vec<_> = rows.iter().map(|row| row.operation.id).collect();
            found.sort_unstable();
            ensure_eq!(
                found,
                expected,
                "rows after round {round}, which {winner} won"
            );
        }
    }
    observer.audit()
}

/// What was in the old incarnation is gone for every reader, at once, and stays gone.
pub(crate) fn a_reset_begins_anew_and_the_sweep_takes_only_the_old<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let space = connection.open("space")?;
    let other = db.space()?;
    for round in 0..4_u64 {
        let page = page_of(0..300)
            .set(key("round"), round.to_string())
            .set(key("k"), "v");
        let _ = space.apply(page)?;
        let page = (0..50).fold(Page::new(), |page, n| page.delete(removed(id(n))));
        let _ = space.apply(page)?;
        let old = space.stats()?;
        let applied = space.apply(page_of(40..45).reset().set(key("new"), "v"))?;
        ensure_eq!(
            applied.totals().inserted,
            5,
            "rows of the resetting page, whatever stood before"
        );
        let fresh = space.dump()?;
        for space in [&space, &other] {
            let stats = space.stats()?;
            ensure!(stats.epoch != old.epoch, "a reset kept the epoch");
            ensure!(stats.head > old.head, "a reset took the head back");
            ensure_eq!(
                (stats.total, stats.ordered, stats.tombstones),
                (5, 0, 0),
                "counters after a reset"
            );
            ensure_eq!(space.load(&key("k"))?, None, "state after a reset");
            let known = space.known(&ids(0..40))?;
            ensure!(
                known
                    .iter()
                    .all(|known| *known == sync_core::Known::Unknown),
                "a tombstone outlived a reset"
            );
        }
        // In pieces, while the new incarnation is written to.
        let mut pieces = 0;
        while connection.sweep(37)?.more {
            pieces += 1;
            ensure!(
                pieces < 1_000,
                "a sweep of a few hundred rows that does not end"
            );
            ensure_eq!(
                space.dump()?,
                fresh,
                "everything between two pieces of a sweep"
            );
        }
        ensure_eq!(other.dump()?, fresh, "everything after the sweep");
        other.audit()?;
        let _ = space.apply(Page::new().reset())?;
    }
    Ok(())
}

/// The task of a process that sweeps one row at a time, for ever.
pub(crate) const SWEEP: &str = "sweep";

pub(crate) fn sweep<H: Harness>(db: &Db<'_, H>, _argument: &str) -> Verdict {
    let connection = db.connect()?;
    loop {
        let swept = connection.sweep(1)?;
        say(&swept.removed.to_string());
        if !swept.more {
            thread::yield_now();
        }
    }
}

pub(crate) fn a_sweep_goes_on_after_its_process_was_killed<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..2_000).set(key("k"), "v"))?;
    let _ = space.apply(page_of(0..10).reset().set(key("k"), "new"))?;
    let fresh = space.dump()?;
    drop(space);
    for round in 0..4 {
        let mut worker = Worker::start(&db, SWEEP, "")?;
        for _ in 0..10 + 7 * round {
            ensure!(
                worker.hear()?.is_some(),
                "the sweeping process ended by itself"
            );
        }
        worker.kill()?;
        let space = db.space()?;
        let found = space.at_rest(Space::dump)?;
        ensure_eq!(found, fresh, "everything after a killed sweep");
        space.audit()?;
    }
    let connection = db.connect()?;
    let mut swept = 0;
    loop {
        let piece = connection.sweep(1_000)?;
        swept += piece.removed;
        if !piece.more {
            break;
        }
    }
    ensure!(
        swept < 2_001,
        "{swept} rows swept by the last process, the others swept none"
    );
    let space = db.space()?;
    ensure_eq!(space.dump()?, fresh, "everything after the last sweep");
    space.audit()
}

pub(crate) fn opening_a_space_writes_nothing_and_its_first_page_creates_it_once<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let connections: Vec<Connection<'_, H>> =
        (0..8).map(|_| db.connect()).collect::<Result<_>>()?;
    let Some(observer) = connections.first() else {
        fail!("no connections");
    };
    for n in 0..10 {
        let space = observer.open(&format!("looked-at-{n}"))?;
        ensure_eq!(
            space.stats()?,
            Stats::default(),
            "stats of a space that does not exist"
        );
        ensure_eq!(space.get_one(id(1))?, None, "a row of it");
        ensure_eq!(space.load(&key("k"))?, None, "state of it");
        let page = space.feed(FeedCursor::Beginning, MANY, Payloads::Include)?;
        ensure_eq!(page.next, FeedCursor::Beginning, "the cursor of it");
        ensure!(
            space.rows_by_time(TimeRange::ALL, MANY)?.is_empty(),
            "rows of it"
        );
        ensure!(space.check()?.is_empty(), "findings in it");
    }
    ensure!(
        observer.spaces(None, 10)?.is_empty(),
        "spaces that were only looked at"
    );
    let start = Barrier::new(connections.len());
    for round in 0..10 {
        let name = format!("space-{round}");
        let opened: Vec<Space<'_, H>> = connections
            .iter()
            .map(|connection| connection.open(&name))
            .collect::<Result<_>>()?;
        // Every page is the first one; the epoch each of them reads afterwards is the same.
        let epochs = together(&opened, |n, space| {
            start.wait();
            let applied = space.apply(page_of(n..n + 1))?;
            let epoch: Option<Epoch> = space.stats()?.epoch;
            ensure_eq!(applied.totals().inserted, 1, "rows of a first page");
            Ok(epoch.map(|epoch| epoch.to_string()))
        })?;
        let distinct: BTreeSet<_> = epochs.iter().collect();
        ensure_eq!(
            distinct.len(),
            1,
            "epochs of a space that eight pages created: {distinct:?}"
        );
        let space = observer.open(&name)?;
        ensure_eq!(
            space.stats()?.total,
            connections.len() as u64,
            "rows of all the first pages"
        );
        space.audit()?;
    }
    ensure_eq!(observer.spaces(None, 100)?.len(), 10, "spaces");
    Ok(())
}

pub(crate) fn a_dropped_space_is_gone_for_every_handle_and_may_come_again<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let connection = db.connect()?;
    ensure!(
        !connection.drop_space("space")?,
        "a space that does not exist was dropped"
    );
    for round in 0..3 {
        let _ = space.apply(page_of(0..50).set(key("k"), "v"))?;
        let _ = space.apply(Page::new().delete(removed(id(3))))?;
        let old = other.stats()?.epoch;
        let cursor = other.cursor()?;
        ensure!(
            connection.drop_space("space")?,
            "a space that exists was not dropped"
        );
        ensure!(
            connection.spaces(None, 10)?.is_empty(),
            "a dropped space is listed"
        );
        for space in [&space, &other] {
            ensure_eq!(space.stats()?.epoch, None, "the epoch of a dropped space");
            ensure_eq!(space.stats()?.total, 0, "rows of a dropped space");
            ensure_eq!(space.get_one(id(1))?, None, "a row of a dropped space");
            ensure_eq!(space.load(&key("k"))?, None, "state of a dropped space");
            ensure_err!(
                space.feed(cursor, MANY, Payloads::Skip),
                ErrorKind::WrongEpoch { current: None } => (),
                "a cursor of a dropped space"
            );
        }
        // Through a handle that was opened before the drop.
        let writer = if round % 2 == 0 { &other } else { &space };
        let applied = writer.apply(page_of(0..3))?;
        ensure_eq!(
            applied.totals().inserted,
            3,
            "rows of the space that came again"
        );
        let epoch = space.stats()?.epoch;
        ensure!(
            epoch.is_some() && epoch != old,
            "the epoch of the space that came again"
        );
        ensure_err!(
            space.feed(cursor, MANY, Payloads::Skip),
            ErrorKind::WrongEpoch { .. } => (),
            "a cursor of the space that was dropped"
        );
        while connection.sweep(20)?.more {}
        ensure_eq!(
            space.stats()?.total,
            3,
            "rows after the sweep of the dropped space"
        );
        space.audit()?;
    }
    Ok(())
}
