//! Small named values.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use sync_core::{ErrorKind, Limit, Page, StateEntry, StateKey, limits};

use crate::data::{id, key, order, page_of, removed};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err};
use crate::harness::Harness;
use crate::rig::{Rig, finish};
use crate::walk::text;

const MANY: Limit = Limit::rows(1_000);

/// Keys that are patterns, operators or white space to some database.
const ODD: [&str; 28] = [
    "a", "A", "%", "_", "*", "?", "[", "[a]", "a%", "a_", "a*", "$", "$set", "a.b", "a.c", ".",
    "{}", "{a}", "'", "\"", "\\", " ", "a ", "\n", "ä", "a\u{308}", "ключ", "😀",
];

pub(crate) fn keys_are_literal_and_told_apart_by_every_byte<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let mut names: Vec<String> = ODD.into_iter().map(str::to_owned).collect();
    names.extend([
        "x".repeat(255),
        "x".repeat(256),
        "X".repeat(256),
        "ä".repeat(128),
    ]);
    let keys: Vec<StateKey> = names.iter().map(|name| key(name)).collect();
    let value = |key: &StateKey| Bytes::from(format!("value of {key}"));
    let page = keys
        .iter()
        .fold(Page::new(), |page, key| page.set(key.clone(), value(key)));
    let _ = space.apply(page)?;
    for space in [&space, &db.space()?] {
        for key in &keys {
            ensure_eq!(space.load(key)?, Some(value(key)), "the value of {key:?}");
        }
        let expected: Vec<Option<Bytes>> = keys.iter().map(|key| Some(value(key))).collect();
        ensure_eq!(space.load_many(&keys)?, expected, "load_many of every key");
    }
    for (n, gone) in keys.iter().enumerate() {
        let _ = space.apply(Page::new().unset(gone.clone()))?;
        let left: Vec<bool> = space
            .load_many(&keys)?
            .iter()
            .map(Option::is_some)
            .collect();
        let expected: Vec<bool> = (0..keys.len()).map(|key| key > n).collect();
        ensure_eq!(
            left,
            expected,
            "which keys are left after {gone:?} was removed"
        );
    }
    // Refused by the type, so by every backend alike.
    for bad in ["", "\0", "a\0b", &"x".repeat(257), &"ä".repeat(129)] {
        ensure_err!(
            StateKey::new(bad),
            ErrorKind::InvalidInput { what: "state key" } => (),
            "the key {bad:?}"
        );
    }
    Ok(())
}

pub(crate) fn a_prefix_is_literal_and_its_listing_exact<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    ensure!(
        space.state_with("", MANY)?.is_empty(),
        "state of a space that does not exist"
    );
    let mut names: Vec<String> = ODD.into_iter().map(str::to_owned).collect();
    for prefix in ODD {
        names.extend(["", "a", "%", "\u{7f}", "\u{10ffff}"].map(|tail| format!("{prefix}/{tail}")));
    }
    names.push("x".repeat(256));
    names.sort_unstable();
    names.dedup();
    for names in names.chunks(100) {
        let page = names
            .iter()
            .fold(Page::new(), |page, name| page.set(key(name), name.clone()));
        let _ = space.apply(page)?;
    }
    let mut prefixes: Vec<String> = ODD.into_iter().map(str::to_owned).collect();
    prefixes.extend(ODD.map(|prefix| format!("{prefix}/")));
    let long = "x".repeat(256);
    let longer = "x".repeat(300);
    prefixes.extend(["", "x", "nobody", "a/%", "\u{10ffff}"].map(str::to_owned));
    prefixes.extend([long, longer]);
    for prefix in prefixes {
        let expected: Vec<StateEntry> = names
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .map(|name| StateEntry {
                key: key(name),
                value: Bytes::from(name.clone()),
            })
            .collect();
        for limit in [1, 2, 1_000] {
            let found = space.state_with(&prefix, Limit::rows(limit))?;
            ensure_eq!(
                found,
                expected,
                "the keys that begin with {prefix:?}, {limit} at a time"
            );
        }
        // From a key that is not there, and from outside the prefix.
        for after in ["\u{1}", "a", "b", "\u{10ffff}\u{10ffff}"] {
            let after = key(after);
            let found = space.list(&prefix, Some(&after), MANY)?.items;
            let rest: Vec<StateEntry> = expected
                .iter()
                .filter(|entry| entry.key > after)
                .cloned()
                .collect();
            ensure_eq!(
                found,
                rest,
                "the keys that begin with {prefix:?} after {after:?}"
            );
        }
    }
    Ok(())
}

pub(crate) fn values_are_any_bytes_and_empty_is_not_absent<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (db, space) = rig.space()?;
    let values = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\xff\xfe"),
        Bytes::from_static(b"null"),
        Bytes::from_static(b"1e2"),
        Bytes::from_static(b"text\n"),
        (0..=255).collect::<Vec<u8>>().into(),
        Bytes::from(vec![0xa5; limits::STATE_VALUE_BYTES]),
    ];
    for value in &values {
        let _ = space.apply(Page::new().set(key("k"), value.clone()))?;
        for space in [&space, &db.space()?] {
            ensure_eq!(space.load(&key("k"))?.as_ref(), Some(value), "a value");
        }
        let listed = space.state_with("k", MANY)?;
        ensure_eq!(
            listed.first().map(|entry| &entry.value),
            Some(value),
            "a listed value"
        );
        // It is what a precondition compares with, byte for byte.
        let _ = space.apply(Page::new().expect(key("k"), Some(value.clone())))?;
    }
    let _ = space.apply(Page::new().set(key("k"), ""))?;
    let answer = space.apply(Page::new().expect(key("k"), None::<Bytes>));
    ensure_err!(answer, ErrorKind::Conflict(_) => (), "expecting absence of an empty value");
    let _ = space.apply(Page::new().unset(key("k")))?;
    ensure_eq!(space.load(&key("k"))?, None, "a removed value");
    let answer = space.apply(Page::new().expect(key("k"), Some("")));
    ensure_err!(answer, ErrorKind::Conflict(_) => (), "expecting emptiness of an absent value");
    Ok(())
}

pub(crate) fn of_two_changes_of_one_key_the_later_holds<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let page = Page::new()
        .set(key("a"), "1")
        .set(key("a"), "2")
        .set(key("b"), "1")
        .unset(key("b"))
        .unset(key("c"))
        .set(key("c"), "3");
    let _ = space.apply(page)?;
    let keys = [key("a"), key("b"), key("c")];
    ensure_eq!(
        space.load_many(&keys)?,
        [Some(text("2")), None, Some(text("3"))],
        "values after one page"
    );
    let before = space.dump()?;
    let page = Page::new()
        .set(key("a"), "2")
        .unset(key("b"))
        .set(key("c"), "x")
        .set(key("c"), "3");
    let _ = space.apply(page)?;
    ensure_eq!(
        space.dump()?,
        before,
        "everything after changes that change nothing"
    );
    Ok(())
}

/// A page that alters nothing creates no space, whatever lists it has.
pub(crate) fn a_page_that_changes_nothing_creates_nothing<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let stranger = id(900);
    let nothing = [
        Page::new(),
        Page::new().unset(key("absent")),
        Page::new().delete(removed(stranger)),
        Page::new().lift(stranger),
        Page::new().backfill(stranger, order(3)),
        Page::new().expect(key("absent"), None::<Bytes>),
    ];
    for page in &nothing {
        let applied = space.apply(page.clone())?;
        ensure_eq!(applied.seqs, None, "seqs of a page that changes nothing");
        ensure_eq!(
            space.stats()?,
            sync_core::Stats::default(),
            "stats after {page:?}"
        );
        ensure!(
            db.connect()?.spaces(None, 10)?.is_empty(),
            "a space after {page:?}"
        );
    }
    ensure_eq!(
        space.new_epoch()?,
        None,
        "a new epoch of a space that does not exist"
    );
    let pruned = space.prune(sync_core::Seq::MAX)?;
    ensure_eq!(
        (pruned.floor.value(), pruned.dropped),
        (0, 0),
        "a prune of it"
    );
    ensure!(
        db.connect()?.spaces(None, 10)?.is_empty(),
        "a space after a prune and a new epoch"
    );
    let creating = [
        Page::new().set(key("a"), ""),
        Page::new().reset(),
        Page::new().delete(removed(id(1)).reject()),
        page_of(0..1),
    ];
    let connection = db.connect()?;
    for (n, page) in creating.into_iter().enumerate() {
        let space = connection.open(&format!("space-{n}"))?;
        let _ = space.apply(page)?;
        let epoch = space.stats()?.epoch;
        ensure!(epoch.is_some(), "page {n} wrote and created no space");
        ensure_eq!(
            connection.spaces(None, 10)?.len(),
            n + 1,
            "spaces after page {n}"
        );
        let before = space.dump()?;
        for page in &nothing {
            let _ = space.apply(page.clone())?;
            ensure_eq!(space.dump()?, before, "everything after {page:?}");
        }
    }
    Ok(())
}

/// Keys that every page sets to the same value are never read with two.
pub(crate) fn load_many_reads_one_snapshot<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const LOOKS: usize = 200;
    let (db, writer) = rig.space()?;
    let reader = db.space()?;
    let keys: Vec<StateKey> = (0..40).map(|n| key(&format!("key {n}"))).collect();
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            // As long as somebody looks, however slow the one or the other is.
            while !done.load(Ordering::SeqCst) {
                let value = written.fetch_add(1, Ordering::SeqCst).to_string();
                let page = keys.iter().fold(Page::new(), |page, key| {
                    page.set(key.clone(), value.clone())
                });
                let _ = writer.apply(page)?;
            }
            Ok(())
        });
        let look = || -> Verdict {
            let values = reader.load_many(&keys)?;
            let first = values.first().cloned().flatten();
            ensure_eq!(values, vec![first; keys.len()], "values of one load_many");
            Ok(())
        };
        // A reader that is done before the writer has begun has seen nothing.
        let mut looked = Ok(());
        let mut looks = 0;
        while looked.is_ok() && !writing.is_finished() {
            if looks >= LOOKS && written.load(Ordering::SeqCst) >= 50 {
                break;
            }
            looks += 1;
            looked = look();
        }
        done.store(true, Ordering::SeqCst);
        finish(writing)?;
        looked
    })
}
