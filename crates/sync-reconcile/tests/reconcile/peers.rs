//! Both sides of a session by different implementations, and sessions between them.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use negentropy_unfixed as unfixed;
use sync_core::{OpId, TimeKey};
use sync_reconcile::{Initiator, Options, Responder};

use crate::sets::{Pair, view};

/// Who plays a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// The `negentropy` crate.
    Crate,
    /// A release of it that loses items where frames are cut.
    Unfixed,
}

/// The side that asks.
pub(crate) trait Asks {
    fn open(&mut self) -> Vec<u8>;
    /// Takes an answer and adds what it says to `have` and `need`.
    fn receive(
        &mut self,
        answer: &[u8],
        have: &mut Vec<OpId>,
        need: &mut Vec<OpId>,
    ) -> Option<Vec<u8>>;
}

/// The side that answers.
pub(crate) trait Answers {
    fn receive(&mut self, message: &[u8]) -> Vec<u8>;
}

/// What came of a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// As reported, with repetitions.
    pub(crate) have: Vec<OpId>,
    pub(crate) need: Vec<OpId>,
    /// Messages of the side that asks, and of the one that answers.
    pub(crate) sent: [Vec<Vec<u8>>; 2],
}

impl Outcome {
    pub(crate) fn sorted(&self) -> [Vec<OpId>; 2] {
        [&self.have, &self.need].map(|ids| {
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids
        })
    }

    /// Sorted, with what was reported twice once.
    pub(crate) fn distinct(&self) -> [Vec<OpId>; 2] {
        self.sorted().map(|mut ids| {
            ids.dedup();
            ids
        })
    }

    pub(crate) fn longest(&self) -> [usize; 2] {
        [0, 1].map(|side: usize| self.sent[side].iter().map(Vec::len).max().unwrap_or(0))
    }
}

/// A session about `pair`, whose first side asks, with a frame limit for each side.
pub(crate) fn session(kinds: [Kind; 2], pair: &Pair, frames: [Option<usize>; 2]) -> Outcome {
    let mut asks = asks(kinds[0], &pair.ours, frames[0]);
    let mut answers = answers(kinds[1], &pair.theirs, frames[1]);
    run(&mut *asks, &mut *answers)
}

pub(crate) fn run(asks: &mut dyn Asks, answers: &mut dyn Answers) -> Outcome {
    let mut outcome = Outcome::default();
    let mut message = asks.open();
    loop {
        let answer = answers.receive(&message);
        let next = asks.receive(&answer, &mut outcome.have, &mut outcome.need);
        outcome.sent[0].push(message);
        outcome.sent[1].push(answer);
        match next {
            Some(next) => message = next,
            None => return outcome,
        }
    }
}

pub(crate) fn asks(kind: Kind, keys: &[TimeKey], frame: Option<usize>) -> Box<dyn Asks> {
    match kind {
        Kind::Ours => Box::new(ours(keys, frame)),
        Kind::Crate => Box::new(reference(keys, frame)),
        Kind::Unfixed => Box::new(before_the_fix(keys, frame)),
    }
}

pub(crate) fn answers(kind: Kind, keys: &[TimeKey], frame: Option<usize>) -> Box<dyn Answers> {
    match kind {
        Kind::Ours => Box::new(Responder::start(view(keys), options(frame)).unwrap()),
        Kind::Crate => Box::new(reference(keys, frame)),
        Kind::Unfixed => Box::new(before_the_fix(keys, frame)),
    }
}

/// Our initiator, and the message that it begins with.
pub(crate) struct Ours {
    session: Initiator,
    first: Vec<u8>,
}

pub(crate) fn ours(keys: &[TimeKey], frame: Option<usize>) -> Ours {
    let (session, first) = Initiator::start(view(keys), options(frame)).unwrap();
    Ours { session, first }
}

pub(crate) fn options(frame: Option<usize>) -> Options {
    frame.map_or(Options::new(), |bytes| Options::new().frame_limit(bytes))
}

impl Asks for Ours {
    fn open(&mut self) -> Vec<u8> {
        self.first.clone()
    }

    fn receive(
        &mut self,
        answer: &[u8],
        have: &mut Vec<OpId>,
        need: &mut Vec<OpId>,
    ) -> Option<Vec<u8>> {
        let round = self.session.receive(answer).unwrap();
        have.extend(round.have);
        need.extend(round.need);
        round.message
    }
}

impl Answers for Responder {
    fn receive(&mut self, message: &[u8]) -> Vec<u8> {
        Responder::receive(self, message).unwrap()
    }
}

fn reference(
    keys: &[TimeKey],
    frame: Option<usize>,
) -> Negentropy<'static, NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::with_capacity(keys.len());
    for key in keys {
        let id = Id::from_byte_array(*key.id.as_bytes());
        storage.insert(key.ts.value(), id).unwrap();
    }
    storage.seal().unwrap();
    Negentropy::owned(storage, frame.unwrap_or(0) as u64).unwrap()
}

impl Asks for Negentropy<'static, NegentropyStorageVector> {
    fn open(&mut self) -> Vec<u8> {
        self.initiate().unwrap()
    }

    fn receive(
        &mut self,
        answer: &[u8],
        have: &mut Vec<OpId>,
        need: &mut Vec<OpId>,
    ) -> Option<Vec<u8>> {
        let (mut more_have, mut more_need) = (Vec::new(), Vec::new());
        let next = self.reconcile_with_ids(answer, &mut more_have, &mut more_need);
        have.extend(more_have.iter().map(|id| OpId::new(id.to_bytes())));
        need.extend(more_need.iter().map(|id| OpId::new(id.to_bytes())));
        next.unwrap()
    }
}

impl Answers for Negentropy<'static, NegentropyStorageVector> {
    fn receive(&mut self, message: &[u8]) -> Vec<u8> {
        self.reconcile(message).unwrap()
    }
}

type Unfixed = unfixed::Negentropy<unfixed::NegentropyStorageVector>;

fn before_the_fix(keys: &[TimeKey], frame: Option<usize>) -> Unfixed {
    let mut storage = unfixed::NegentropyStorageVector::with_capacity(keys.len());
    for key in keys {
        let id = unfixed::Id::new(*key.id.as_bytes());
        storage.insert(key.ts.value(), id).unwrap();
    }
    storage.seal().unwrap();
    unfixed::Negentropy::new(storage, frame.unwrap_or(0) as u64).unwrap()
}

impl Asks for Unfixed {
    fn open(&mut self) -> Vec<u8> {
        self.initiate().unwrap().to_bytes()
    }

    fn receive(
        &mut self,
        answer: &[u8],
        have: &mut Vec<OpId>,
        need: &mut Vec<OpId>,
    ) -> Option<Vec<u8>> {
        let answer = unfixed::Bytes::from_slice(answer);
        let (mut more_have, mut more_need) = (Vec::new(), Vec::new());
        let next = self.reconcile_with_ids(&answer, &mut more_have, &mut more_need);
        let id = |id: &unfixed::Id| OpId::new(id.to_bytes());
        have.extend(more_have.iter().map(id));
        need.extend(more_need.iter().map(id));
        next.unwrap().map(unfixed::Bytes::to_bytes)
    }
}

impl Answers for Unfixed {
    fn receive(&mut self, message: &[u8]) -> Vec<u8> {
        let message = unfixed::Bytes::from_slice(message);
        self.reconcile(&message).unwrap().to_bytes()
    }
}
