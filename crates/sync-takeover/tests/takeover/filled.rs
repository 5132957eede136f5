//! A takeover into a space that holds something already: a union, in which what is there stays.

use pollster::block_on;
use sync_core::{Delete, OpId, Operation, Page, SyncOrder, SyncStore, TombstoneReason, Ts};
use sync_memory::MemoryStore;
use sync_takeover::RefusedReason;
use sync_tests::mediator::{EPOCH, rows};

use crate::{Old, before, expected, key, store, take_over, value, writer};

fn apply(store: &MemoryStore, page: Page) {
    let _ = block_on(store.apply(page)).unwrap();
}

fn without_order(operation: &Operation) -> Operation {
    Operation {
        sync_order: None,
        ..operation.clone()
    }
}

#[test]
fn what_is_there_stays_and_what_differs_is_named() {
    let input = rows(8, 600);
    let taken = expected(&input);
    let old = Old::new(&input);
    let store = store();
    let stranger = Operation::new(OpId::new([7; 32]), Ts::ZERO, "mine");
    let other = Operation {
        payload: "another".into(),
        ..without_order(&taken[1])
    };
    let page = Page::new()
        .upsert(stranger.clone())
        .upsert(without_order(&taken[0]))
        .upsert(other.clone())
        .delete(Delete::new(taken[2].id, TombstoneReason::Operator).reject())
        .set(key("index.changes.cursor"), "mine")
        .set(key("empty"), "");
    apply(&store, page);
    let report = take_over(old.open(), &store).unwrap();
    // The row that was there without an order has it now.
    assert_eq!((report.taken, report.present), (597, 1));
    let reasons: Vec<_> = report
        .refused
        .iter()
        .map(|row| (row.id.to_string(), row.reason.clone()))
        .collect();
    let quoted = |n: usize| format!("\"{}\"", taken[n].id);
    assert_eq!(
        reasons,
        [
            (quoted(1), RefusedReason::OtherRecord),
            (quoted(2), RefusedReason::Tombstoned),
        ]
    );
    let refused: Vec<_> = report.refused_state.iter().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].key.as_deref(), Some("index.changes.cursor"));
    assert_eq!(refused[0].reason, RefusedReason::OtherValue);
    assert_eq!(report.state_keys.len(), 5);
    assert_eq!(
        value(&store, "index.changes.cursor").as_deref(),
        Some("mine")
    );
    let rows = crate::rows(&store);
    assert_eq!(rows.len(), 1 + 1 + 1 + 597);
    assert_eq!(rows[..3], [stranger, taken[0].clone(), other]);
}

#[test]
fn another_order_of_the_same_index_stays() {
    let input = rows(9, 30);
    let old = Old::new(&input);
    let store = store();
    let _ = take_over(old.open(), &store).unwrap();
    let moved = expected(&input)[0].clone();
    let change = "UPDATE operations SET sync_order = 4000 WHERE id = ?1";
    let connection = writer(&old.path());
    connection.execute(change, [moved.id.to_string()]).unwrap();
    let report = take_over(old.open(), &store).unwrap();
    assert_eq!(
        (report.taken, report.present, report.orders_left),
        (0, 29, 0)
    );
    let stored = moved.sync_order.unwrap();
    assert_eq!(
        report.refused[0].reason,
        RefusedReason::OtherOrder { stored }
    );
    assert!(crate::rows(&store).contains(&moved));
}

/// Whether a takeover into a space that `fill` has filled brings orders.
fn brings_orders(fill: impl Fn(&MemoryStore, &Old)) -> bool {
    let old = Old::new(&rows(10, 30));
    let store = store();
    fill(&store, &old);
    let ordered = |store: &MemoryStore| block_on(store.stats()).unwrap().ordered;
    let before = ordered(&store);
    let report = take_over(old.open(), &store).unwrap();
    assert_eq!(report.taken, 30);
    assert_eq!(report.ordered + report.orders_left, 20);
    assert_eq!(ordered(&store), before + report.ordered);
    assert!(report.ordered == 0 || report.orders_left == 0);
    report.ordered > 0
}

#[test]
fn orders_are_brought_only_where_the_space_has_none_or_has_those_of_the_same_index() {
    let ordered = || {
        let order = SyncOrder::new(1).unwrap();
        let operation = Operation::new(OpId::new([7; 32]), Ts::ZERO, "mine");
        Operation {
            sync_order: Some(order),
            ..operation
        }
    };
    let another = || Old::new(&rows(11, 30));
    let of_epoch = |epoch: &str| {
        let old = another();
        let set = "UPDATE sync_state SET value = ?1 WHERE key = 'index.gatekeeper.epoch'";
        writer(&old.path()).execute(set, [epoch]).unwrap();
        old
    };
    let first_another = |store: &MemoryStore, old: &Old| {
        let _ = take_over(old.open(), store).unwrap();
    };
    assert!(brings_orders(|_, _| ()));
    assert!(brings_orders(|store, _| apply(
        store,
        Page::new().upsert(without_order(&ordered()))
    )));
    assert!(brings_orders(|store, _| first_another(
        store,
        &of_epoch(EPOCH)
    )));

    assert!(!brings_orders(|store, _| apply(
        store,
        Page::new().upsert(ordered())
    )));
    assert!(!brings_orders(|store, _| first_another(
        store,
        &of_epoch("another")
    )));
    // Hydration's name for a space's one source.
    let hydrated = |store: &MemoryStore| apply(store, Page::new().set(key("source.name"), "it"));
    assert!(!brings_orders(|store, _| hydrated(store)));
}

#[test]
fn hydration_that_begins_meanwhile_keeps_its_orders_to_itself() {
    let old = Old::new(&rows(12, 1_200));
    let store = store();
    let meets = before(old.open(), |batch| {
        if batch == 3 {
            apply(&store, Page::new().set(key("source.name"), "it"));
        }
        Ok(())
    });
    let report = take_over(meets, &store).unwrap();
    assert_eq!((report.taken, report.present), (1_200, 0));
    // Ordered rows come first: those of the first page, 800 in all.
    assert_eq!((report.ordered, report.orders_left), (500, 300));
    assert_eq!(block_on(store.stats()).unwrap().ordered, 500);
}
