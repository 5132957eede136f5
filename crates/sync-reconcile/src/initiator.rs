use sync_core::OpId;

use crate::difference::Difference;
use crate::message::MessageBuilder;
use crate::options::{Options, Usage};
use crate::wire::{Ranges, VERSION};
use crate::{Aggregate, ErrorKind, Result, View};

/// The side that asks, and learns what each side lacks.
#[derive(Debug)]
pub struct Initiator {
    view: View,
    options: Options,
    usage: Usage,
    difference: Difference,
    is_open: bool,
}

/// What a message of the responder has brought.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Round<'s> {
    /// The next message to the responder, or `None` when everything is known.
    pub message: Option<Vec<u8>>,
    /// Ids that we have and the responder lacks, that were not reported before.
    pub have: &'s [OpId],
    /// Ids that the responder has and we lack, that were not reported before.
    pub need: &'s [OpId],
}

impl Initiator {
    /// Begins a session about the keys of `view`, and returns the first message.
    ///
    /// Fails with [`ErrorKind::FrameLimitTooSmall`].
    pub fn start(view: View, options: Options) -> Result<(Self, Vec<u8>)> {
        let options = options.check()?;
        let mut usage = Usage::default();
        let message = MessageBuilder::new(&view, &options, &mut usage).open()?;
        usage.send(&message, &options)?;
        let session = Self {
            difference: Difference::new(view.aggregate()),
            view,
            options,
            usage,
            is_open: true,
        };
        Ok((session, message))
    }

    /// Takes a whole message of the responder.
    ///
    /// An id is reported once in [`Round::have`], and once in [`Round::need`]; in both where the two
    /// sides hold it under different times. Only a peer that names an id at two times of its own
    /// makes it appear twice.
    ///
    /// Fails where the message is malformed, where the responder does not speak version 1
    /// ([`ErrorKind::UnsupportedVersion`]), at a limit of the options, and with
    /// [`ErrorKind::Closed`] after the last round or an error.
    pub fn receive(&mut self, message: &[u8]) -> Result<Round<'_>> {
        if !std::mem::take(&mut self.is_open) {
            return Err(ErrorKind::Closed.into());
        }
        let have = self.difference.have.len();
        let need = self.difference.need.len();
        self.usage.receive(message, &self.options)?;
        let ranges = Ranges::new(message)?;
        let builder = MessageBuilder::new(&self.view, &self.options, &mut self.usage);
        let answer = builder.answer(ranges, Some(&mut self.difference))?;
        // An answer without ranges says that nothing is left to say, and is not sent.
        if answer != [VERSION] {
            self.usage.send(&answer, &self.options)?;
            self.is_open = true;
        }
        Ok(Round {
            message: self.is_open.then_some(answer),
            have: self.difference.have.get(have..).unwrap_or_default(),
            need: self.difference.need.get(need..).unwrap_or_default(),
        })
    }

    /// Every id reported so far that we have and the responder lacks.
    pub fn have(&self) -> &[OpId] {
        &self.difference.have
    }

    /// Every id reported so far that the responder has and we lack.
    pub fn need(&self) -> &[OpId] {
        &self.difference.need
    }

    /// What the responder's view amounts to if the difference found so far is all there is: our own,
    /// without what we have, with what we need.
    ///
    /// After the last round it has to be the [`View::aggregate`] of the responder's view, whatever
    /// either side has written since. A peer with another one has lost something on the way.
    pub fn expected(&self) -> Aggregate {
        self.difference.theirs
    }

    /// The keys that the session is about.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether another message of the responder is expected: not after the last round, and not after
    /// an error.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// What the session has cost so far.
    pub const fn usage(&self) -> Usage {
        self.usage
    }
}
