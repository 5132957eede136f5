//! A recorded session between two deployed mediators.
//!
//! The recording has the operations that one side lacked, not those that both had. Of these the frames
//! name six; the other 114 fill twelve ranges that match. Keys of our own stand in for them, and their
//! twelve fingerprints are put in place of the recorded ones. Everything else is compared byte for
//! byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use sync_core::{OpId, TimeKey};
use sync_reconcile::wire::{Body, Bound, Range, Ranges, encode};
use sync_reconcile::{Initiator, Options, Responder};

use crate::sets::{data, key, view};

/// When the first operation that both sides have was signed, seven tenths of a second apart from the
/// next: the recording was made with a clock of its own.
const FIRST_MILLIS: u64 = 1_795_089_169_658;
const STEP_MILLIS: u64 = 700;
const STAND_INS: usize = 114;
const MATCHING: usize = 12;

#[test]
fn both_sides_say_what_the_deployed_mediators_said() {
    let Some(recorded) = Recorded::read() else {
        println!("not run: there is no shared/data/wire beside the workspace");
        return;
    };
    let (stand_ins, frame) = recorded.first_frame_with_stand_ins();
    let common = [stand_ins, recorded.named()].concat();
    let a = [common.clone(), recorded.of("a-to-b")].concat();
    let b = [common, recorded.of("b-to-a")].concat();
    assert_eq!((a.len(), b.len()), (150, 160));

    let mut responder = Responder::start(view(&b), Options::new()).unwrap();
    let (mut initiator, first) = Initiator::start(view(&a), Options::new()).unwrap();
    assert_eq!(hex::encode(&first), hex::encode(&frame));
    let answer = responder.receive(&first).unwrap();
    assert_eq!(hex::encode(&answer), hex::encode(&recorded.frames[1]));
    let second = initiator.receive(&answer).unwrap().message.unwrap();
    assert_eq!(hex::encode(&second), hex::encode(&recorded.frames[2]));
    let answer = responder.receive(&second).unwrap();
    assert_eq!(hex::encode(&answer), hex::encode(&recorded.frames[3]));
    assert_eq!(initiator.receive(&answer).unwrap().message, None);

    let ids = |keys: Vec<TimeKey>| keys.iter().map(|key| key.id).collect::<Vec<_>>();
    assert_eq!(initiator.have(), ids(recorded.of("a-to-b")));
    assert_eq!(initiator.need(), ids(recorded.of("b-to-a")));
    assert_eq!(initiator.expected(), responder.view().aggregate());
}

struct Recorded {
    frames: Vec<Vec<u8>>,
    /// Operations with their direction.
    pushed: Vec<(String, TimeKey)>,
}

impl Recorded {
    fn read() -> Option<Self> {
        let path = data()?.join("wire/negentropy-overlap-190.ndjson");
        let mut recorded = Self {
            frames: Vec::new(),
            pushed: Vec::new(),
        };
        for line in std::fs::read_to_string(path).ok()?.lines() {
            let line: Json = serde_json::from_str(line).unwrap();
            let raw = STANDARD.decode(line["rawB64"].as_str().unwrap()).unwrap();
            let header = if line["framed"] == true { 4 } else { 0 };
            let message: Json = serde_json::from_slice(&raw[header..]).unwrap();
            if let Some(frame) = message["frame"]["data"].as_str() {
                recorded.frames.push(hex::decode(frame).unwrap());
            }
            if message["type"] == "ops_push" {
                let direction = line["dir"].as_str().unwrap().to_owned();
                let operations = message["data"].as_array().unwrap();
                let keys = operations.iter().map(|op| signed_key(&op["signature"]));
                recorded
                    .pushed
                    .extend(keys.map(|key| (direction.clone(), key)));
            }
        }
        recorded.pushed.sort_by_key(|(_, key)| *key);
        assert_eq!(recorded.frames.len(), 4);
        Some(recorded)
    }

    /// What only the sender of this direction had.
    fn of(&self, direction: &str) -> Vec<TimeKey> {
        let sent = self.pushed.iter().filter(|(sent, _)| sent == direction);
        sent.map(|(_, key)| *key).collect()
    }

    /// The last six operations that both sides had, whose ids the responder sent.
    fn named(&self) -> Vec<TimeKey> {
        let ranges = ranges(&self.frames[1]);
        let ids = ranges.iter().find_map(|range| match range.body {
            Body::Ids(ids) => Some(ids),
            _ => None,
        });
        let ids = ids.unwrap();
        assert_eq!(ids.len(), 6);
        let numbered = (STAND_INS as u64..).zip(ids);
        let keys = numbered.map(|(n, id)| key((FIRST_MILLIS + n * STEP_MILLIS) / 1_000, *id));
        keys.collect()
    }

    /// Keys with the bounds of the first twelve ranges, and the initiator's first frame with their
    /// fingerprints.
    fn first_frame_with_stand_ins(&self) -> (Vec<TimeKey>, Vec<u8>) {
        let mut ranges = ranges(&self.frames[0]);
        let mut keys = Vec::new();
        let mut lower = (FIRST_MILLIS / 1_000, Vec::new());
        for (n, range) in ranges.iter_mut().take(MATCHING).enumerate() {
            let upper = (range.upper.ts().unwrap(), range.upper.prefix().to_vec());
            // 150 = 16 · 9 + 6.
            let count = if n < 6 { 10 } else { 9 };
            let first = keys.len();
            keys.push(stand_in(lower.0, &lower.1, first));
            keys.extend((1..count - 1).map(|more| stand_in(lower.0, &[0xff], first + more)));
            // A bound with a prefix is between two keys of one time.
            let ts = if upper.1.is_empty() {
                upper.0 - 1
            } else {
                upper.0
            };
            keys.push(stand_in(ts, &[0x01], first + count - 1));
            let aggregate: sync_reconcile::Aggregate =
                keys[first..].iter().map(|key| &key.id).collect();
            assert_eq!(aggregate.count(), count);
            range.body = Body::Fingerprint(aggregate.fingerprint());
            lower = upper;
        }
        assert_eq!(keys.len(), STAND_INS);
        assert!(keys.is_sorted());
        (keys, encode(ranges))
    }
}

fn ranges(frame: &[u8]) -> Vec<Range<'_>> {
    let ranges: Vec<_> = Ranges::new(frame).unwrap().map(Result::unwrap).collect();
    assert!(ranges.last().unwrap().upper == Bound::END);
    ranges
}

fn stand_in(ts: u64, prefix: &[u8], n: usize) -> TimeKey {
    let mut id = [0; 32];
    id[..prefix.len()].copy_from_slice(prefix);
    id[31] = u8::try_from(n).unwrap();
    key(ts, id)
}

/// Everything was signed on one day.
fn signed_key(signature: &Json) -> TimeKey {
    let time = signature["signed"].as_str().unwrap();
    let time = time.strip_prefix("2026-11-19T11:").unwrap();
    let (minutes, rest) = time.split_once(':').unwrap();
    let (seconds, _) = rest.split_once('.').unwrap();
    let [minutes, seconds] = [minutes, seconds].map(|text| text.parse::<u64>().unwrap());
    // 2026-11-19T11:00:00Z.
    let ts = 1_795_086_000 + minutes * 60 + seconds;
    let id: OpId = signature["hash"].as_str().unwrap().parse().unwrap();
    key(ts, *id.as_bytes())
}
