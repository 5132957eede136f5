//! Peers that mean harm, and messages that went wrong.

use fastrand::Rng;
use sync_reconcile::wire::{Body, Bound, Range, encode};
use sync_reconcile::{ErrorKind, Fingerprint, Initiator, Limit, Options, Responder};

use crate::sets::{Pair, key, view};

const WRONG: Body<'_> = Body::Fingerprint(Fingerprint::new([7; 16]));

fn keys(count: u16) -> Vec<sync_core::TimeKey> {
    let numbered = |n: u16| {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        key(u64::from(n), id)
    };
    (0..count).map(numbered).collect()
}

fn initiator(count: u16, options: Options) -> Initiator {
    Initiator::start(view(&keys(count)), options).unwrap().0
}

fn responder(count: u16, options: Options) -> Responder {
    Responder::start(view(&keys(count)), options).unwrap()
}

fn to_the_end(body: Body<'_>) -> Vec<u8> {
    encode([Range {
        upper: Bound::END,
        body,
    }])
}

#[test]
fn a_message_with_flipped_bits_or_without_its_end_is_refused_or_answered_within_its_limit() {
    let mut rng = Rng::with_seed(11);
    let options = Options::new().frame_limit(4_096).max_ids(100_000);
    for _ in 0..30 {
        let pair = Pair::random(&mut rng, 3_000);
        let (mut asks, mut message) = Initiator::start(view(&pair.ours), options).unwrap();
        let mut answers = Responder::start(view(&pair.theirs), options).unwrap();
        let mut messages = Vec::new();
        loop {
            let answer = answers.receive(&message).unwrap();
            messages.push((message, answer.clone()));
            match asks.receive(&answer).unwrap().message {
                Some(next) => message = next,
                None => break,
            }
        }
        for (message, answer) in messages.iter().take(4) {
            for _ in 0..60 {
                let mut bad = message.clone();
                damage(&mut rng, &mut bad);
                let mut session = Responder::start(view(&pair.theirs), options).unwrap();
                if let Ok(answer) = session.receive(&bad) {
                    assert!(answer.len() <= 4_096);
                }
                let mut bad = answer.clone();
                damage(&mut rng, &mut bad);
                let (mut session, _) = Initiator::start(view(&pair.ours), options).unwrap();
                if let Ok(round) = session.receive(&bad) {
                    assert!(round.message.is_none_or(|next| next.len() <= 4_096));
                }
            }
        }
    }
}

fn damage(rng: &mut Rng, message: &mut Vec<u8>) {
    for _ in 0..rng.u32(0..3) {
        let at = rng.usize(..message.len());
        message[at] ^= 1 << rng.u32(..8);
    }
    message.truncate(rng.usize(..=message.len()));
}

#[test]
fn a_session_that_has_failed_takes_nothing_more() {
    let mut session = responder(10, Options::new());
    assert_eq!(
        session.receive(&[]).unwrap_err().kind(),
        ErrorKind::NotNegentropy
    );
    assert!(!session.is_open());
    let error = session.receive(&to_the_end(Body::Skip)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);

    let mut session = initiator(10, Options::new());
    session.receive(&to_the_end(Body::Skip)).map(drop).unwrap();
    assert!(!session.is_open());
    let error = session.receive(&to_the_end(Body::Skip)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn every_limit_ends_the_session_with_its_name() {
    let limited = |options: Options, messages: &[Vec<u8>]| {
        let mut session = responder(1_000, options);
        let mut results = messages.iter().map(|message| session.receive(message));
        results.find_map(Result::err).unwrap().kind()
    };
    let all = vec![to_the_end(Body::Ids(&[])); 3];
    // Everything once is 1,000 ids in one range, 32 kB; the question is a range of its own.
    for (options, limit) in [
        (Options::new().max_rounds(2), Limit::Rounds),
        (Options::new().max_ranges(5), Limit::Ranges),
        (Options::new().max_bytes(70_000), Limit::Bytes),
        (Options::new().max_ids(2_999), Limit::Ids),
    ] {
        assert_eq!(limited(options, &all), ErrorKind::LimitReached(limit));
    }
    let enough = Options::new()
        .max_rounds(3)
        .max_ranges(6)
        .max_bytes(97_000)
        .max_ids(3_000);
    let mut session = responder(1_000, enough);
    for message in &all {
        session.receive(message).unwrap();
    }
    let usage = session.usage();
    assert_eq!((usage.rounds, usage.ranges, usage.ids), (3, 6, 3_000));
    assert_eq!(usage.bytes_received, 3 * 5);
    assert_eq!(usage.bytes_sent, 3 * (1 + 2 + 1 + 2 + 32_000));
}

#[test]
fn a_responder_that_never_agrees_meets_the_limit_of_rounds() {
    let mut session = initiator(1_000, Options::new().max_rounds(50));
    let wrong = to_the_end(WRONG);
    for _ in 0..50 {
        assert!(session.receive(&wrong).unwrap().message.is_some());
    }
    let error = session.receive(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached(Limit::Rounds));
}

#[test]
fn a_frame_limit_that_may_hold_no_step_forward_is_refused() {
    for bytes in [0, 1, 4_095] {
        let options = Options::new().frame_limit(bytes);
        let refused = ErrorKind::FrameLimitTooSmall { least: 4_096 };
        assert_eq!(
            Responder::start(view(&[]), options).unwrap_err().kind(),
            refused
        );
        assert_eq!(
            Initiator::start(view(&[]), options).unwrap_err().kind(),
            refused
        );
    }
}

#[test]
fn what_a_responder_repeats_is_reported_once() {
    let theirs = [[0xaa; 32], [0xbb; 32], [0xaa; 32]];
    for count in [0_u16, 5, 100] {
        let mut session = initiator(count, Options::new());
        let half = Bound::at(&key(50, [0; 32]));
        let some = encode([
            Range {
                upper: half,
                body: Body::Skip,
            },
            Range {
                upper: Bound::END,
                body: Body::Ids(&theirs[..2]),
            },
            Range {
                upper: Bound::END,
                body: WRONG,
            },
        ]);
        // The last range is empty, and a fingerprint of something in it is refused.
        assert_eq!(
            session.receive(&some).unwrap_err().kind(),
            ErrorKind::KeysInEmptyRange
        );
        assert_eq!(session.need().len(), 2);

        let mut session = initiator(count, Options::new());
        let again = [
            encode([
                Range {
                    upper: half,
                    body: WRONG,
                },
                Range {
                    upper: Bound::END,
                    body: Body::Ids(&theirs[..2]),
                },
            ]),
            encode([
                Range {
                    upper: half,
                    body: Body::Skip,
                },
                Range {
                    upper: Bound::at(&key(70, [0; 32])),
                    body: Body::Ids(&theirs[1..2]),
                },
                Range {
                    upper: Bound::END,
                    body: WRONG,
                },
            ]),
            to_the_end(Body::Ids(&theirs[..2])),
        ];
        for message in again {
            assert!(session.is_open());
            session.receive(&message).map(drop).unwrap();
        }
        assert_eq!(
            session.need(),
            theirs[..2]
                .iter()
                .map(|id| (*id).into())
                .collect::<Vec<_>>()
        );
        let mut have = session.have().to_vec();
        have.sort_unstable();
        have.dedup();
        assert_eq!(have.len(), usize::from(count));
        assert_eq!(session.have().len(), usize::from(count));
        let theirs: sync_reconcile::Aggregate = session.need().iter().collect();
        assert_eq!(session.expected(), theirs);
    }
}

#[test]
fn ids_on_both_sides_are_matched_whatever_their_order_and_number() {
    let mut rng = Rng::with_seed(3);
    for (ours, theirs) in [(10, 10), (32, 32), (33, 4), (4, 33), (300, 200), (200, 300)] {
        let keys: Vec<_> = keys(400);
        let mut listed: Vec<_> = keys.iter().map(|key| *key.id.as_bytes()).collect();
        rng.shuffle(&mut listed);
        listed.truncate(theirs);
        let (mut session, _) = Initiator::start(view(&keys[..ours]), Options::new()).unwrap();
        session
            .receive(&to_the_end(Body::Ids(&listed)))
            .map(drop)
            .unwrap();
        let is_listed = |key: &&sync_core::TimeKey| listed.contains(key.id.as_bytes());
        let have: Vec<_> = keys[..ours]
            .iter()
            .filter(|key| !is_listed(key))
            .map(|key| key.id)
            .collect();
        assert_eq!(session.have(), have);
        let ours: Vec<_> = keys[..ours].iter().map(|key| *key.id.as_bytes()).collect();
        let need: Vec<sync_core::OpId> = listed
            .iter()
            .filter(|id| !ours.contains(id))
            .map(|id| (*id).into())
            .collect();
        assert_eq!(session.need(), need);
    }
}

#[test]
fn an_empty_range_after_infinity_is_accepted_and_keys_in_it_are_not() {
    let end = |body| Range {
        upper: Bound::END,
        body,
    };
    let nothing = Body::Fingerprint(sync_reconcile::Aggregate::EMPTY.fingerprint());
    for body in [Body::Skip, nothing, Body::Ids(&[])] {
        let message = encode([end(Body::Skip), end(body)]);
        assert_eq!(
            initiator(9, Options::new())
                .receive(&message)
                .unwrap()
                .message,
            None
        );
        assert!(responder(9, Options::new()).receive(&message).is_ok());
    }
    for body in [WRONG, Body::Ids(&[[1; 32]])] {
        let message = encode([end(Body::Skip), end(body)]);
        let error = initiator(9, Options::new()).receive(&message).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeysInEmptyRange);
        let error = responder(9, Options::new()).receive(&message).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeysInEmptyRange);
    }
}

#[test]
fn another_version_is_answered_with_ours_and_refused_from_a_responder() {
    let mut session = responder(9, Options::new());
    assert_eq!(session.receive(&[0x62, 1, 2, 3]).unwrap(), [0x61]);
    // The initiator tries again with the version it was told.
    assert!(session.receive(&to_the_end(Body::Ids(&[]))).unwrap().len() > 9 * 32);
    let error = initiator(9, Options::new()).receive(&[0x60]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion { theirs: 0x60 });
}
