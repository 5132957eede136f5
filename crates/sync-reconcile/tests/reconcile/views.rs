//! Sessions about a part of an index, and while it changes.

use fastrand::Rng;
use sync_core::{TimeRange, Ts};
use sync_reconcile::{Index, Initiator, Options, Responder, View};

use crate::sets::{Pair, view};

fn all_messages(asks: View, answers: View, options: Options) -> (Initiator, Vec<Vec<u8>>) {
    let (mut initiator, mut message) = Initiator::start(asks, options).unwrap();
    let mut responder = Responder::start(answers, options).unwrap();
    let mut messages = Vec::new();
    loop {
        let answer = responder.receive(&message).unwrap();
        messages.push(message);
        messages.push(answer.clone());
        match initiator.receive(&answer).unwrap().message {
            Some(next) => message = next,
            None => break,
        }
    }
    assert_eq!(initiator.expected(), responder.view().aggregate());
    (initiator, messages)
}

#[test]
fn a_session_about_a_window_is_the_session_about_an_index_of_its_keys() {
    let mut rng = Rng::with_seed(21);
    for _ in 0..60 {
        let pair = Pair::random(&mut rng, 4_000);
        let mut times: Vec<_> = pair.ours.iter().map(|key| key.ts).collect();
        times.push(Ts::MAX);
        let mut window = [0, 1].map(|_| times[rng.usize(..times.len())]);
        window.sort_unstable();
        let window = TimeRange {
            from: window[0],
            to: window[1],
        };
        let after = (!pair.theirs.is_empty() && rng.bool())
            .then(|| pair.theirs[rng.usize(..pair.theirs.len())]);
        let cap = rng.usize(0..4_000);
        let part = |keys: &[sync_core::TimeKey]| {
            let mut part = view(keys).times(window);
            if let Some(after) = after {
                part = part.after(after);
            }
            part.first(cap)
        };
        let (ours, theirs) = (part(&pair.ours), part(&pair.theirs));
        let copied = [&ours, &theirs].map(|part| view(&part.iter().collect::<Vec<_>>()));
        let [copied_ours, copied_theirs] = copied;
        for options in [Options::new(), Options::new().frame_limit(4_096)] {
            let (_, messages) = all_messages(ours.clone(), theirs.clone(), options);
            let (_, expected) = all_messages(copied_ours.clone(), copied_theirs.clone(), options);
            assert!(messages == expected);
        }
    }
}

#[test]
fn a_session_sees_nothing_of_what_is_written_while_it_runs() {
    let mut rng = Rng::with_seed(22);
    let pair = Pair::random(&mut rng, 5_000);
    let difference = pair.difference();
    let mut index = Index::from_sorted(pair.theirs.iter().copied()).unwrap();
    let options = Options::new().frame_limit(4_096);
    let (mut initiator, mut message) = Initiator::start(view(&pair.ours), options).unwrap();
    let mut responder = Responder::start(index.snapshot(), options).unwrap();
    loop {
        let answer = responder.receive(&message).unwrap();
        for key in &pair.ours {
            index.insert(*key);
        }
        for key in pair.theirs.iter().take(rng.usize(..500)) {
            index.remove(key);
        }
        match initiator.receive(&answer).unwrap().message {
            Some(next) => message = next,
            None => break,
        }
    }
    let mut found = [initiator.have().to_vec(), initiator.need().to_vec()];
    for ids in &mut found {
        ids.sort_unstable();
    }
    assert!(found == difference);
    assert_eq!(initiator.expected(), responder.view().aggregate());
}
