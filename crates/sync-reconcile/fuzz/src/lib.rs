//! What the fuzz targets check. The tests of `sync-reconcile` run the same over the corpus.

use sync_core::{OpId, TimeKey, Ts};
use sync_reconcile::wire::{Ranges, encode};
use sync_reconcile::{Index, Initiator, Options, Responder, View};

const FRAME: usize = 4_096;

/// Reads `message`. What is accepted has one spelling: written again, it is the same.
pub fn decode(message: &[u8]) {
    let Ok(ranges) = Ranges::new(message) else {
        return;
    };
    let ranges: Result<Vec<_>, _> = ranges.collect();
    if let Ok(ranges) = ranges {
        assert!(ranges.windows(2).all(|pair| pair[0].upper <= pair[1].upper));
        assert_eq!(encode(ranges), message);
    }
}

/// Sends messages to both sides of a session, with and without a frame limit: the parts of `input`
/// between its bytes 0xff, so that one input is many rounds.
pub fn respond(input: &[u8]) {
    let limited = Options::new()
        .max_rounds(64)
        .max_ranges(10_000)
        .max_ids(10_000);
    for options in [limited, limited.frame_limit(FRAME)] {
        let mut responder = Responder::start(view(), options).unwrap();
        let (mut initiator, _) = Initiator::start(view(), options).unwrap();
        for message in input.split(|byte| *byte == 0xff) {
            let answer = responder.receive(message).ok();
            let round = initiator.receive(message).ok();
            let next = round.and_then(|round| round.message);
            for message in [answer, next].into_iter().flatten() {
                assert!(message.len() <= FRAME || options == limited);
                decode(&message);
            }
        }
        assert!(initiator.have().len() <= KEYS);
        assert!(responder.usage().ids <= 10_000 || !responder.is_open());
    }
}

const KEYS: usize = 300;

/// Some keys of one time, and some of many.
fn view() -> View {
    let key = |n: usize| {
        let n = n as u64;
        let mut id = [0; 32];
        for (place, byte) in id
            .iter_mut()
            .zip(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
        {
            *place = byte;
        }
        TimeKey {
            ts: Ts::new(if n.is_multiple_of(3) { 7 } else { n }).unwrap(),
            id: OpId::new(id),
        }
    };
    let mut keys: Vec<_> = (0..KEYS).map(key).collect();
    keys.sort_unstable();
    Index::from_sorted(keys).unwrap().snapshot()
}
