use super::*;
use crate::ErrorKind;

fn id(n: usize) -> OpId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    OpId::new(bytes)
}

fn operation(n: usize, payload: Vec<u8>) -> Operation {
    Operation::new(id(n), Ts::ZERO, payload)
}

fn key(name: &str) -> StateKey {
    StateKey::new(name).unwrap()
}

#[track_caller]
fn assert_too_large(page: &Page, list: List, index: usize, limit: usize) {
    let error = page.validate().unwrap_err();
    let ErrorKind::TooLarge(found) = error.kind() else {
        panic!("{error}")
    };
    assert_eq!((found.list, found.index, found.limit), (list, index, limit));
}

#[test]
fn one_payload_may_have_1_mib_and_not_a_byte_more() {
    let page = Page::new().upsert(operation(0, vec![0; 1 << 20]));
    page.validate().unwrap();
    let page = page.upsert(operation(1, vec![0; (1 << 20) + 1]));
    assert_too_large(&page, List::Upserts, 1, limits::PAYLOAD_BYTES);
}

#[test]
fn the_lists_share_one_limit_of_100_000_operations() {
    let mut page = Page::new().upserts((0..99_999).map(|n| operation(n, vec![])));
    page = page.delete(Delete::new(id(0), TombstoneReason::Removed));
    page.validate().unwrap();
    assert_too_large(
        &page.clone().backfill(id(0), SyncOrder::ZERO),
        List::Backfills,
        0,
        100_000,
    );
    page.deletes
        .push(Delete::new(id(1), TombstoneReason::Removed));
    assert_too_large(&page, List::Upserts, 99_998, 100_000);
}

#[test]
fn a_page_may_move_64_mib() {
    let mut page = Page::new().upserts((0..64).map(|n| operation(n, vec![0; 1 << 20])));
    page.validate().unwrap();
    page.upserts[63].object = Some(Object::new("x").unwrap());
    assert_too_large(&page, List::Upserts, 63, limits::PAGE_BYTES);
    page.upserts[63].object = None;
    assert_too_large(&page.set(key("k"), "v"), List::State, 0, limits::PAGE_BYTES);
}

#[test]
fn state_changes_preconditions_and_their_values_are_bounded() {
    let mut page = Page::new();
    for n in 0..1000 {
        page = page
            .set(key(&n.to_string()), "")
            .expect(key(&n.to_string()), None::<Bytes>);
    }
    page.validate().unwrap();
    assert_too_large(&page.clone().unset(key("x")), List::State, 1000, 1000);
    assert_too_large(
        &page.expect(key("x"), Some("")),
        List::Preconditions,
        1000,
        1000,
    );

    Page::new()
        .set(key("k"), vec![0; 64 << 10])
        .validate()
        .unwrap();
    let long = vec![0; (64 << 10) + 1];
    assert_too_large(
        &Page::new().set(key("k"), long.clone()),
        List::State,
        0,
        64 << 10,
    );
    assert_too_large(
        &Page::new().expect(key("k"), Some(long)),
        List::Preconditions,
        0,
        64 << 10,
    );
}

#[test]
fn a_retry_is_safe_with_a_guard_that_the_page_itself_trips() {
    let plain = Page::new()
        .upsert(operation(0, vec![]))
        .backfill(id(0), SyncOrder::ZERO);
    assert!(plain.is_retry_safe());
    let unguarded = plain.clone().set(key("k"), "2");
    assert!(!unguarded.is_retry_safe());
    assert!(
        unguarded
            .clone()
            .expect(key("k"), Some("1"))
            .is_retry_safe()
    );
    assert!(
        !unguarded
            .clone()
            .expect(key("k"), Some("2"))
            .is_retry_safe()
    );
    assert!(!unguarded.expect(key("other"), Some("1")).is_retry_safe());
    assert!(!plain.clone().reset().is_retry_safe());
    assert!(
        !plain
            .delete(Delete::new(id(0), TombstoneReason::Removed))
            .is_retry_safe()
    );
}
