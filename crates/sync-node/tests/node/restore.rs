use pollster::block_on;
use sync_store::{
    Delete, FeedCursor, Known, Object, Page, Seq, SyncStore, TombstoneReason, UpsertOutcome,
};

use crate::node::{Node, hex, id, key, line, op, order, ts};

/// A space whose feed shows every kind of entry that pages can leave, and several of one id.
fn eventful() -> Node {
    let node = Node::new();
    let object = || Object::new(vec![0xff, 1]).unwrap();
    let removed = |n: u8| Delete::new(id(n), TombstoneReason::Removed);
    let variant = |n: u8, text: &'static str| {
        let mut operation = op(n);
        operation.payload = text.into();
        operation.ts = ts(5);
        operation
    };
    node.apply([
        Page::new().upserts((1..=12).chain([70, 80, 81]).map(op)),
        // Pruned below: its tombstone is gone, and rows on both sides of it are left.
        Page::new().delete(removed(12)),
        // Spared below: an operator's tombstones, with a row between them.
        Page::new().delete(Delete::new(id(70), TombstoneReason::Operator)),
        Page::new().upsert(op(14)),
        Page::new().delete(Delete::new(id(71), TombstoneReason::Operator).reject()),
        Page::new().upsert(op(13).about(object()).at(order(3))),
    ]);
    node.run(&["prune", "--yes", "--up-to", "19"]).ok();
    node.apply([
        // Removed, brought back above the source seq, removed again: two tombstones, none lifted.
        Page::new().delete(removed(1).at(order(20))),
        Page::new()
            .upsert(op(1).at(order(21)).about(object()))
            .reviving(),
        Page::new().delete(removed(1).at(order(30))),
        // The same, with a second removal that names an older source seq than the first.
        Page::new().delete(removed(2).at(order(20))),
        Page::new().upsert(op(2).at(order(21))).reviving(),
        Page::new().delete(Delete::new(id(2), TombstoneReason::Operator)),
        Page::new().delete(removed(2).at(order(20))),
        // Replaced: a tombstone and a row under one id. Twice.
        Page::new().upsert(variant(3, "other")).replacing(),
        Page::new().upsert(op(3).at(order(5))).replacing(),
        // Removed and back, and stays.
        Page::new().delete(removed(4).at(order(40))),
        Page::new().upsert(op(4).at(order(41))).reviving(),
        // Refused without ever being here; with and without what the delete knew.
        Page::new().delete(Delete::new(id(50), TombstoneReason::Rejected).reject()),
        Page::new().delete(Delete {
            ts: Some(ts(9)),
            ..removed(51).of(object()).at(order(7)).reject()
        }),
        // A row after tombstones, a tombstone after the row.
        Page::new()
            .delete(removed(5))
            .upsert(op(60))
            .delete(removed(6)),
        Page::new().delete(removed(7)),
    ]);
    // An operator's, lifted and back; lifted and removed again; lifted and gone.
    for n in [8, 9, 10] {
        node.run(&["reject", &hex(n)]).ok();
        node.run(&["revive", &hex(n)]).ok();
    }
    node.apply([
        Page::new().upsert(op(8)),
        Page::new().delete(removed(9).reject()),
        Page::new().delete(Delete::new(id(11), TombstoneReason::Rejected)),
        Page::new()
            .set(key("cursor"), "44")
            .set(key("raw"), vec![0xfe])
            .set(key("node.marks"), "[]"),
    ]);
    // A removed one made an operator's: two tombstones, the first lifted.
    node.run(&["reject", &hex(11)]).ok();
    node
}

fn restore(node: &Node, dump: &str, arguments: &[&str]) {
    node.feed(&[&["load"], arguments].concat(), dump).ok();
}

#[test]
fn a_complete_dump_of_a_copy_is_the_same_to_the_byte() {
    let node = eventful();
    let dump = node.everything();
    for kind in ["floor", "tombstone", "state"] {
        assert!(dump.contains(&format!("{{\"kind\":\"{kind}\"")), "{dump}");
    }
    assert!(dump.contains("\"lifted\":true"));
    for page_size in ["1", "2", "3", "7", "5000"] {
        let copy = Node::new();
        restore(&copy, &dump, &["--page-size", page_size]);
        assert_eq!(copy.everything(), dump, "pages of {page_size}");
        copy.run(&["verify"]).ok();
    }
}

#[test]
fn every_id_has_the_same_row_or_tombstone_in_a_copy() {
    let node = eventful();
    let copy = Node::new();
    restore(&copy, &node.everything(), &[]);
    let ids: Vec<_> = (0..=255).map(id).collect();
    let known = |node: &Node| -> Vec<Known> {
        let known = block_on(node.store("default").known(&ids)).unwrap();
        // Seqs are each store's own.
        let zero = Seq::ZERO;
        known
            .into_iter()
            .map(|known| match known {
                Known::Live { ts, sync_order, .. } => Known::Live {
                    ts,
                    seq: zero,
                    sync_order,
                },
                Known::Tombstoned {
                    reason, source_seq, ..
                } => Known::Tombstoned {
                    reason,
                    seq: zero,
                    source_seq,
                },
                Known::Unknown => Known::Unknown,
            })
            .collect()
    };
    assert_eq!(known(&copy), known(&node));
    // The vetoes hold: what a source may bring into the one it may bring into the other.
    let outcomes = |node: &Node| -> Vec<UpsertOutcome> {
        let page = Page::new()
            .upserts((0..=255).map(|n| op(n).at(order(35))))
            .reviving();
        block_on(node.store("default").apply(page)).unwrap().upserts
    };
    assert_eq!(outcomes(&copy), outcomes(&node));
}

#[test]
fn random_histories_survive_dump_and_load() {
    let object = |random: &mut fastrand::Rng| {
        let objects = [None, Some(&b"a"[..]), Some(&[0xff][..])];
        let object = random.choice(objects).unwrap();
        object.map(|bytes| Object::new(bytes.to_vec()).unwrap())
    };
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let node = Node::new();
        let store = node.store("default");
        for _ in 0..40 {
            let mut page = Page::new();
            for _ in 0..random.usize(1..5) {
                let n = random.u8(0..6);
                let at = random.bool().then(|| order(random.u64(0..30)));
                match random.u8(0..10) {
                    0..=4 => {
                        let mut operation = op(n);
                        operation.sync_order = at;
                        operation.ts = ts(random.u64(0..3));
                        operation.object = object(&mut random);
                        page = page.upsert(operation);
                    }
                    5..=7 => {
                        page = page.delete(Delete {
                            reason: random.choice(TombstoneReason::ALL).unwrap(),
                            source_seq: at,
                            reject: random.bool(),
                            ts: random.bool().then(|| ts(random.u64(0..3))),
                            object: object(&mut random),
                            ..Delete::new(id(n), TombstoneReason::Removed)
                        });
                    }
                    8 => page = page.lift(id(n)),
                    _ => page = page.backfill(id(n), order(random.u64(0..30))),
                }
            }
            page.replace = random.bool();
            page.revive = random.bool();
            block_on(async {
                let _ = store.apply(page).await.unwrap();
                if random.u8(0..20) == 0 {
                    let head = store.stats().await.unwrap().head.value();
                    let up_to = Seq::new(random.u64(0..=head)).unwrap();
                    store.prune(up_to).await.unwrap();
                }
            });
        }
        let dump = node.everything();
        for page_size in ["1", "3", "1000"] {
            let copy = Node::new();
            restore(&copy, &dump, &["--page-size", page_size]);
            assert_eq!(copy.everything(), dump, "seed {seed}, pages of {page_size}");
        }
    }
}

#[test]
fn a_load_that_ended_anywhere_goes_on_where_it_was() {
    let node = eventful();
    let dump = node.everything();
    let lines: Vec<&str> = dump.split_inclusive('\n').collect();
    for page_size in ["1", "4"] {
        let arguments = ["load", "--cursor-key", "c", "--page-size", page_size];
        for end in 1..lines.len() {
            let copy = Node::new();
            let cut = copy.feed(&arguments, lines[..end].concat()).fails(1);
            assert!(cut.contains("the dump has no end record"), "{cut}");
            copy.feed(&arguments, &dump).ok();
            assert_eq!(
                copy.everything(),
                dump,
                "pages of {page_size}, cut at {end}"
            );
        }
    }
}

#[test]
fn a_load_that_ended_between_a_row_and_the_tombstone_it_was_for_goes_on() {
    let node = Node::new();
    let removed = || Delete::new(id(1), TombstoneReason::Removed);
    node.apply([
        Page::new().upsert(op(1)),
        Page::new().delete(removed().at(order(20))),
        Page::new().upsert(op(1).at(order(21))).reviving(),
        Page::new().delete(removed().at(order(30))),
    ]);
    let dump = node.everything();
    let lines: Vec<&str> = dump.split_inclusive('\n').collect();
    let copy = Node::new();
    let arguments = ["load", "--cursor-key", "c", "--page-size", "1"];
    copy.feed(&arguments, lines[..3].concat()).fails(1);
    // What the load writes before the page with the second tombstone.
    let mut row = op(1).at(order(21));
    row.payload = sync_store::Bytes::new();
    copy.apply([Page::new().upsert(row).reviving()]);
    assert_eq!(copy.holds().0, 1);
    copy.feed(&arguments, &dump).ok();
    assert_eq!(copy.everything(), dump);
}

#[test]
fn a_copy_begins_an_epoch_and_its_readers_keep_the_floor() {
    let node = eventful();
    let dump = node.everything();
    let copy = Node::new();
    copy.feed(&["load"], line(99)).ok();
    copy.run(&["reset", "--yes"]).ok();
    let epoch = |node: &Node| block_on(node.store("default").stats()).unwrap().epoch;
    let before = epoch(&copy);
    restore(&copy, &dump, &[]);
    assert_ne!(epoch(&copy), before);
    assert_ne!(epoch(&copy), epoch(&node));
    let stats = block_on(copy.store("default").stats()).unwrap();
    assert!(stats.floor > Seq::ZERO);
    let page = block_on(copy.store("default").feed(
        FeedCursor::Beginning,
        sync_store::Limit::rows(1),
        sync_store::Payloads::Skip,
    ));
    assert!(matches!(page.unwrap().next, FeedCursor::After { floor, .. } if floor == stats.floor));
}

#[test]
fn a_space_that_holds_anything_is_refused_and_replaced_only_when_told() {
    let dump = eventful().everything();
    let state = Node::new();
    state.apply([Page::new().set(key("k"), "v")]);
    let row = Node::new();
    row.feed(&["load"], line(1)).ok();
    let tombstone = Node::new();
    tombstone.run(&["reject", &hex(1)]).ok();
    for node in [state, row, tombstone] {
        let before = node.everything();
        let (kind, message) = node.feed(&["load", "--json"], &dump).error(1);
        assert_eq!(kind, "refused");
        assert!(message.contains("--reset"), "{message}");
        assert_eq!(node.everything(), before);
        restore(&node, &dump, &["--reset", "--yes", "--cursor-key", "c"]);
        assert_eq!(node.everything(), dump);
        assert_eq!(node.feed(&["load", "--json"], &dump).error(1).0, "refused");
    }
}

#[test]
fn an_empty_space_and_one_of_state_alone_survive_too() {
    let node = Node::new();
    let copy = Node::new();
    restore(&copy, &node.everything(), &["--cursor-key", "c"]);
    assert_eq!(copy.everything(), node.everything());
    assert_eq!(copy.holds(), (0, 0, 0));
    node.apply([(0..900).fold(Page::new(), |page, n| page.set(key(&format!("k{n}")), "v"))]);
    node.apply([(0..900).fold(Page::new(), |page, n| page.set(key(&format!("l{n}")), "v"))]);
    restore(&copy, &node.everything(), &["--cursor-key", "c"]);
    assert_eq!(copy.everything(), node.everything());
}

#[test]
fn a_dump_that_is_refused_at_its_floor_leaves_the_tombstones_it_would_replace() {
    let node = Node::new();
    node.run(&["reject", &hex(1)]).ok();
    let before = node.everything();
    let dump = "{\"kind\":\"header\",\"format\":\"sync-dump\",\"version\":1,\"space\":\"s\"}\n\
                {\"kind\":\"floor\"}\nnot a record\n";
    let message = node.feed(&["load", "--reset", "--yes"], dump).fails(1);
    assert!(message.contains("nothing is loaded"), "{message}");
    assert_eq!(node.everything(), before);
}

#[test]
fn records_out_of_place_are_refused_with_their_line() {
    let header = "{\"kind\":\"header\",\"format\":\"sync-dump\",\"version\":1,\"space\":\"s\"}\n";
    let floor = "{\"kind\":\"floor\"}\n";
    let state = "{\"kind\":\"state\",\"key\":\"k\",\"value\":\"\"}\n";
    let local = "{\"kind\":\"state\",\"key\":\"node.marks\",\"value\":\"\"}\n";
    let end = |rows: u64, tombstones: u64| {
        format!("{{\"kind\":\"end\",\"rows\":{rows},\"tombstones\":{tombstones},\"state\":0}}\n")
    };
    let tombstone = |n: u8, reason: &str, ts: &str| {
        let id = hex(n);
        format!(
            "{{\"kind\":\"tombstone\",\"id\":\"{id}\",\"ts\":{ts},\"object\":null,\
             \"reason\":\"{reason}\",\"sourceSeq\":null,\"lifted\":false}}\n"
        )
    };
    for (lines, expected) in [
        (
            vec![header.into(), header.into()],
            "line 2: a second header",
        ),
        (vec![floor.into()], "line 2: a floor without an entry"),
        (
            vec![line(1), floor.into(), floor.into()],
            "line 4: a second floor",
        ),
        (
            vec![tombstone(1, "removed", "1"), floor.into()],
            "line 3: a floor behind a tombstone",
        ),
        (
            vec![
                tombstone(1, "operator", "1").replace("false", "true"),
                floor.into(),
            ],
            "line 3: a floor behind a tombstone",
        ),
        (vec![state.into(), line(1)], "line 3: follows state"),
        (
            vec![state.replace("\"\"", &format!("{:?}", "v".repeat(65_537)))],
            "line 2: the value has 65537 bytes, allowed are 65536",
        ),
        (
            vec![local.into()],
            "line 2: state that speaks of one store alone",
        ),
        (
            vec![line(1), end(2, 0)],
            "line 3: the end record says 2 rows",
        ),
        (vec![end(0, 0), line(1)], "line 3: follows the end record"),
        (vec![line(1)], "the dump has no end record"),
        (
            vec![line(1), line(1), end(2, 0)],
            "has a row or tombstone before that refuses it",
        ),
        (
            vec![tombstone(1, "operator", "1"), line(1), end(1, 1)],
            "line 3: 0101010101010101010101010101010101010101010101010101010101010101 has a row",
        ),
        (
            vec![
                tombstone(1, "operator", "1"),
                tombstone(1, "removed", "1"),
                end(0, 2),
            ],
            "has a tombstone before that refuses it",
        ),
        (
            vec![
                tombstone(1, "removed", "1"),
                tombstone(1, "removed", "null"),
                end(0, 2),
            ],
            "has a tombstone before that refuses it",
        ),
    ] {
        let mut lines: Vec<String> = lines;
        if lines[0] != header {
            lines.insert(0, header.to_owned());
        }
        let node = Node::new();
        let (kind, message) = node.feed(&["load", "--json"], lines.concat()).error(1);
        assert_eq!(kind, "input", "{message}");
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let (_, message) = Node::new()
        .feed(
            &["load", "--json", "--cursor-key", "k"],
            [header, state].concat(),
        )
        .error(1);
    assert!(message.contains("choose another --cursor-key"), "{message}");
}

#[test]
fn a_dump_with_json_payloads_restores_the_same() {
    let node = eventful();
    let mut operation = op(72);
    operation.payload = "{\"a\":1e2,\"a\":[ ]}".into();
    node.apply([Page::new().upsert(operation)]);
    let json = node.run(&["dump", "--all", "--json-payload"]).ok();
    assert!(json.contains("payloadJson"));
    let copy = Node::new();
    restore(&copy, &json, &[]);
    assert_eq!(copy.everything(), node.everything());
}

#[test]
fn a_dump_taken_while_others_write_has_no_cursor_ahead_of_its_rows() {
    let node = Node::new();
    let wide = |n: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        sync_store::OpId::new(bytes)
    };
    let page = |n: u32| {
        let operation = sync_store::Operation::new(wide(n), ts(u64::from(n)), vec![0; 200]);
        let page = Page::new()
            .upsert(operation)
            .set(key("cursor"), n.to_string());
        match n.checked_sub(40) {
            Some(old) if n.is_multiple_of(3) => {
                page.delete(Delete::new(wide(old), TombstoneReason::Removed))
            }
            _ => page,
        }
    };
    let store = node.store("default");
    block_on(async {
        for n in 0..3_000 {
            let _ = store.apply(page(n)).await.unwrap();
        }
    });
    let (written, pages) = std::sync::mpsc::channel();
    let dumps = std::thread::scope(|scope| {
        scope.spawn(|| {
            let written = written;
            let mut n = 3_000;
            loop {
                let _ = block_on(store.apply(page(n))).unwrap();
                n += 1;
                if written.send(()).is_err() {
                    break;
                }
            }
        });
        let pages = pages;
        let dump = |_| {
            // A page that is written after the dump before, however busy the machine is.
            pages.try_iter().for_each(drop);
            pages.recv().unwrap();
            node.everything()
        };
        (0..5).map(dump).collect::<Vec<String>>()
    });
    assert_ne!(dumps[0], dumps[4]);
    for dump in dumps {
        let copy = Node::new();
        restore(&copy, &dump, &[]);
        copy.run(&["verify"]).ok();
        let store = copy.store("default");
        let cursor = block_on(sync_store::SyncState::load(&store, &key("cursor"))).unwrap();
        let cursor: u32 = str::from_utf8(&cursor.unwrap()).unwrap().parse().unwrap();
        let ids: Vec<_> = (0..=cursor).map(wide).collect();
        let known = block_on(store.known(&ids)).unwrap();
        let lost = known
            .iter()
            .filter(|known| **known == Known::Unknown)
            .count();
        assert_eq!(lost, 0, "of {cursor}");
    }
}
