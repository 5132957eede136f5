use crate::message::MessageBuilder;
use crate::options::{Options, Usage};
use crate::wire::{Ranges, VERSION};
use crate::{ErrorKind, Result, View};

/// The side that answers.
///
/// It learns nothing and keeps nothing but its view and what the session has cost.
#[derive(Debug)]
pub struct Responder {
    view: View,
    options: Options,
    usage: Usage,
    is_open: bool,
}

impl Responder {
    /// Begins a session about the keys of `view`.
    ///
    /// Fails with [`ErrorKind::FrameLimitTooSmall`].
    pub fn start(view: View, options: Options) -> Result<Self> {
        Ok(Self {
            view,
            options: options.check()?,
            usage: Usage::default(),
            is_open: true,
        })
    }

    /// Answers a whole message of the initiator. It decides when it is done, and then sends no more.
    ///
    /// The answer to another version is the one that we speak, without anything else; the initiator
    /// may try again with that.
    ///
    /// Fails where the message is malformed, at a limit of the options, and with
    /// [`ErrorKind::Closed`] after an error.
    pub fn receive(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        if !std::mem::take(&mut self.is_open) {
            return Err(ErrorKind::Closed.into());
        }
        self.usage.receive(message, &self.options)?;
        let answer = match Ranges::new(message) {
            Ok(ranges) => {
                let builder = MessageBuilder::new(&self.view, &self.options, &mut self.usage);
                builder.answer(ranges, None)?
            }
            Err(error) => match error.kind() {
                ErrorKind::UnsupportedVersion { .. } => vec![VERSION],
                _ => return Err(error),
            },
        };
        self.usage.send(&answer, &self.options)?;
        self.is_open = true;
        Ok(answer)
    }

    /// The keys that the session is about.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether another message may be answered: not after an error.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// What the session has cost so far.
    pub const fn usage(&self) -> Usage {
        self.usage
    }
}
