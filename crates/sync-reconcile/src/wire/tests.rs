use sync_core::{OpId, Ts};

use super::*;

fn key(ts: u64, id: &[u8]) -> TimeKey {
    let mut bytes = [0; 32];
    bytes[..id.len()].copy_from_slice(id);
    TimeKey {
        ts: Ts::new(ts).unwrap(),
        id: OpId::new(bytes),
    }
}

fn ranges(message: &[u8]) -> Result<Vec<Range<'_>>> {
    Ranges::new(message)?.collect()
}

fn refused(message: &[u8]) -> ErrorKind {
    ranges(message).unwrap_err().kind()
}

#[test]
fn numbers_have_seven_bits_a_byte_and_the_highest_first() {
    for (value, expected) in [
        (0, &[0][..]),
        (1, &[1]),
        (127, &[0x7f]),
        (128, &[0x81, 0]),
        (300, &[0x82, 0x2c]),
        (
            u64::MAX,
            &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ),
    ] {
        let (bytes, len) = varint(value);
        assert_eq!(&bytes[..len], expected);
        let mut reader = Ranges {
            rest: expected,
            last: Bound::START,
        };
        assert_eq!(reader.number(), Ok(value));
        assert!(reader.rest.is_empty());
    }
}

#[test]
fn a_message_is_written_byte_for_byte() {
    let ids = [[0xaa; 32], [0xbb; 32]];
    let message = encode([
        Range {
            upper: Bound::between(&key(9, &[]), &key(200, &[])),
            body: Body::Skip,
        },
        Range {
            upper: Bound::between(&key(200, &[1, 2, 3]), &key(200, &[1, 7, 3])),
            body: Body::Fingerprint(Fingerprint::new([0xcc; 16])),
        },
        Range {
            upper: Bound::END,
            body: Body::Ids(&ids),
        },
    ]);
    let mut expected = vec![0x61];
    // 200 and 1, no prefix, skip.
    expected.extend([0x81, 0x49, 0, 0]);
    // The same time, two bytes of an id, fingerprint.
    expected.extend([1, 2, 1, 7, 1]);
    expected.extend([0xcc; 16]);
    // Infinity, no prefix, two ids.
    expected.extend([0, 0, 2, 2]);
    expected.extend([0xaa; 32]);
    expected.extend([0xbb; 32]);
    assert_eq!(message, expected);
    assert_eq!(encode(ranges(&message).unwrap()), message);
}

#[test]
fn a_bound_between_neighbours_is_as_short_as_can_be() {
    for (below, above, prefix) in [
        (key(1, &[9]), key(2, &[5]), &[][..]),
        (key(2, &[1, 9]), key(2, &[2]), &[2]),
        (key(2, &[1, 2, 3, 4]), key(2, &[1, 2, 4, 4]), &[1, 2, 4]),
        (key(2, &[]), key(2, &[0, 0, 1]), &[0, 0, 1]),
    ] {
        let bound = Bound::between(&below, &above);
        assert_eq!((bound.ts(), bound.prefix()), (Some(2), prefix));
        assert!(bound.is_above(&below) && !bound.is_above(&above));
    }
}

#[test]
fn a_message_that_ends_within_a_range_is_refused_wherever_it_ends() {
    let ids = [[7; 32], [8; 32]];
    let upper = Bound::at(&key(1 << 40, &[1; 32]));
    let fingerprint = Body::Fingerprint(Fingerprint::new([1; 16]));
    for body in [Body::Skip, fingerprint, Body::Ids(&ids)] {
        let message = encode([Range { upper, body }]);
        for len in 2..message.len() {
            assert_eq!(refused(&message[..len]), ErrorKind::Truncated, "{len}");
        }
    }
}

#[test]
fn what_is_not_a_message_of_version_1_is_refused_with_the_reason() {
    assert_eq!(refused(&[]), ErrorKind::NotNegentropy);
    assert_eq!(refused(b"{}"), ErrorKind::NotNegentropy);
    for theirs in [0x60, 0x62, 0x6f] {
        assert_eq!(
            refused(&[theirs, 0]),
            ErrorKind::UnsupportedVersion { theirs }
        );
    }
    assert_eq!(
        refused(&[0x61, 0, 0, 3]),
        ErrorKind::UnknownMode { mode: 3 }
    );
    assert_eq!(refused(&[0x61, 0x80, 1, 0, 0]), ErrorKind::InvalidNumber);
    // A prefix of 33 bytes, and a time past 64 bits.
    assert_eq!(
        refused(&[[0x61, 1, 33].as_slice(), &[0; 40]].concat()),
        ErrorKind::InvalidBound
    );
    let highest = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let twice = [[0x61].as_slice(), &highest, &[0, 0], &highest, &[0, 0]].concat();
    assert_eq!(refused(&twice), ErrorKind::InvalidBound);
    let longer = [[0x61].as_slice(), &[0x83], &highest[1..], &[0, 0]].concat();
    assert_eq!(refused(&longer), ErrorKind::InvalidNumber);
    // The same time with a lower id, and anything but infinity after infinity.
    assert_eq!(
        refused(&[0x61, 5, 1, 9, 0, 1, 1, 8, 0]),
        ErrorKind::UnorderedBounds
    );
    assert_eq!(refused(&[0x61, 0, 0, 0, 1, 0, 0]), ErrorKind::InvalidBound);
}

#[test]
fn a_huge_count_is_refused_without_making_room_for_it() {
    let message = [
        0x61, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ];
    assert_eq!(refused(&message), ErrorKind::Truncated);
}

#[test]
fn an_empty_range_after_infinity_is_read() {
    let message = [0x61, 0, 0, 0, 0, 0, 2, 0];
    let ranges = ranges(&message).unwrap();
    assert!(ranges.iter().all(|range| range.upper.is_end()));
    assert_eq!(ranges.len(), 2);
}
