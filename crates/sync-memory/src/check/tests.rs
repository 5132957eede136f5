use std::sync::Arc;

use bytes::Bytes;
use sync_core::{
    Delete, Epoch, Object, OpId, Operation, Page, Seq, SyncOrder, TombstoneReason, Ts,
};

use super::*;
use crate::apply::apply;
use crate::boundary::Boundaries;

const ROW: OpId = OpId::new([1; 32]);
const GONE: OpId = OpId::new([2; 32]);

fn space() -> Space {
    let operation = |id| {
        Operation::new(id, Ts::ZERO, "payload")
            .about(Object::new("object").unwrap())
            .at(SyncOrder::ZERO)
    };
    let mut space = Space::new(Epoch::new([0; 16]));
    for page in [
        Page::new().upserts([operation(ROW), operation(GONE)]),
        Page::new().delete(Delete::new(GONE, TombstoneReason::Removed)),
    ] {
        apply(&mut space, page, &Boundaries::default()).unwrap();
    }
    space
}

#[test]
fn a_space_that_only_pages_wrote_has_no_findings() {
    assert_eq!(check(&space()), Vec::<String>::new());
}

#[test]
fn every_kind_of_damage_is_found() {
    type Damage = fn(&mut Space);
    let damages: [(&str, Damage); 12] = [
        ("digest", |space| {
            let stored = space.rows.get_mut(&ROW).unwrap();
            Arc::make_mut(stored).row.operation.payload = Bytes::from_static(b"other");
        }),
        ("is of", |space| {
            let stored = space.rows.get(&ROW).unwrap().clone();
            space.rows.insert(OpId::new([9; 32]), stored);
        }),
        ("missing by time", |space| space.by_time.clear()),
        ("missing by order", |space| space.by_order.clear()),
        ("missing by object", |space| space.by_object.clear()),
        ("entries by order: 2, rows that belong there: 1", |space| {
            space.by_order.insert(OrderKey {
                sync_order: SyncOrder::MAX,
                id: ROW,
            });
        }),
        ("no entry in the feed", |space| {
            space.log.remove(&Seq::new(1).unwrap());
        }),
        ("where no row is", |space| {
            space.log.insert(Seq::new(2).unwrap(), Entry::Live(GONE));
        }),
        ("above the head", |space| space.head = Seq::ZERO),
        ("by count", |space| {
            space.log.insert(Seq::new(2).unwrap(), Entry::Live(ROW));
        }),
        ("look-up of tombstones", |space| {
            space.newest.insert(GONE, Seq::new(2).unwrap());
        }),
        ("the floor", |space| space.floor = Seq::MAX),
    ];
    for (expected, damage) in damages {
        let mut space = space();
        damage(&mut space);
        let findings = check(&space);
        assert!(
            findings.iter().any(|finding| finding.contains(expected)),
            "{expected}: {findings:?}"
        );
    }
}
