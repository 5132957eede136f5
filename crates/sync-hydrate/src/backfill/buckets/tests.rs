#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn entries() -> BTreeMap<OpId, Collected> {
    let order = |n| SyncOrder::new(n).unwrap();
    let object = |text: &str| Object::new(text.to_owned()).unwrap();
    BTreeMap::from([
        (
            OpId::new([0; 32]),
            Collected {
                removed: vec![(SyncOrder::MAX, object(&"o".repeat(256)))],
                added: None,
            },
        ),
        (
            OpId::new([7; 32]),
            Collected {
                removed: Vec::new(),
                added: Some(SyncOrder::ZERO),
            },
        ),
        (
            OpId::new([255; 32]),
            Collected {
                removed: vec![(order(2), object("y")), (order(3), object("x"))],
                added: Some(order(4)),
            },
        ),
    ])
}

#[test]
fn what_was_collected_is_read_as_it_was_written() {
    assert_eq!(decode(&encode(&entries())), Some(entries()));
    assert_eq!(decode(&[]), Some(BTreeMap::new()));
}

#[test]
fn bytes_that_are_cut_off_or_make_no_sense_are_refused() {
    let bytes = encode(&entries());
    let first = encode(&entries().into_iter().take(1).collect()).len();
    let second = first + encode(&entries().into_iter().skip(1).take(1).collect()).len();
    for length in 1..bytes.len() {
        let whole = length == first || length == second;
        assert_eq!(
            decode(bytes.get(..length).unwrap()).is_some(),
            whole,
            "{length}"
        );
    }
    let mut odd = bytes;
    *odd.get_mut(32).unwrap() = 1;
    assert_eq!(decode(&odd), None);
}

#[test]
fn a_removal_ends_what_stood_about_its_own_object() {
    let order = |n| SyncOrder::new(n).unwrap();
    let [a, b] = ["a", "b"].map(|text| Object::new(text.to_owned()).unwrap());
    let mut entry = Collected::default();
    entry.remove(order(3), &a);
    entry.remove(order(5), &b);
    entry.remove(order(2), &a);
    for (seq, of, removed) in [
        (1, &a, true),
        (3, &a, true),
        (4, &a, false),
        (5, &b, true),
        (6, &b, false),
    ] {
        assert_eq!(entry.is_removed(order(seq), Some(of)), removed, "{seq}");
    }
    assert!(!entry.is_removed(order(1), None));
    entry.add(order(1), Some(&a));
    assert_eq!(entry.added, None);
    entry.add(order(7), Some(&a));
    entry.add(order(4), Some(&a));
    assert_eq!(entry.added, Some(order(4)));
    entry.remove(order(6), &a);
    assert_eq!(entry.added, None);
}

#[test]
fn the_last_removals_of_an_operation_are_remembered_and_not_of_any_number_of_objects() {
    let mut entry = Collected::default();
    for n in 0..100 {
        let object = Object::new(n.to_string()).unwrap();
        entry.remove(SyncOrder::new(n).unwrap(), &object);
    }
    let seqs: Vec<_> = entry.removed().iter().map(|(seq, _)| seq.value()).collect();
    assert_eq!(seqs, (84..100).collect::<Vec<_>>());
}

#[test]
fn a_bucket_depends_on_the_salt() {
    let id = OpId::new([1; 32]);
    let keys: std::collections::BTreeSet<_> = (0..50)
        .map(|n| Buckets::new(&n.to_string()).key(&id).unwrap())
        .collect();
    assert!(keys.len() > 40, "{} keys", keys.len());
}
