use crate::{ErrorKind, Limit, Result};

/// What a session may cost.
///
/// Without changes: no frame limit, 65,536 rounds, 16,777,216 ranges, 4 GiB, 16,777,216 ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) frame: Option<usize>,
    rounds: u64,
    ranges: u64,
    bytes: u64,
    ids: u64,
}

/// What a session has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Messages of the peer.
    pub rounds: u64,
    /// Ranges of the messages of both sides.
    pub ranges: u64,
    /// Bytes of the peer's messages.
    pub bytes_received: u64,
    /// Bytes of our messages.
    pub bytes_sent: u64,
    /// Ids in the lists of both sides.
    pub ids: u64,
}

impl Options {
    /// The least [frame limit](Self::frame_limit): 4,096 bytes.
    pub const LEAST_FRAME_LIMIT: usize = 4_096;

    /// The defaults.
    pub const fn new() -> Self {
        Self {
            frame: None,
            rounds: 1 << 16,
            ranges: 1 << 24,
            bytes: 1 << 32,
            ids: 1 << 24,
        }
    }

    /// No message of ours is longer than `bytes`, at least
    /// [`LEAST_FRAME_LIMIT`](Self::LEAST_FRAME_LIMIT). What does not fit is left to later rounds.
    pub const fn frame_limit(mut self, bytes: usize) -> Self {
        self.frame = Some(bytes);
        self
    }

    /// Messages are as long as they need to be, which is the default.
    pub const fn no_frame_limit(mut self) -> Self {
        self.frame = None;
        self
    }

    /// At most `rounds` messages of the peer.
    pub const fn max_rounds(mut self, rounds: u64) -> Self {
        self.rounds = rounds;
        self
    }

    /// At most `ranges` ranges in the messages of both sides.
    pub const fn max_ranges(mut self, ranges: u64) -> Self {
        self.ranges = ranges;
        self
    }

    /// At most `bytes` bytes in the messages of both sides.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// At most `ids` ids in the lists of both sides. An initiator keeps 32 bytes for each id that
    /// it has found missing on either side.
    pub const fn max_ids(mut self, ids: u64) -> Self {
        self.ids = ids;
        self
    }

    pub(crate) fn check(self) -> Result<Self> {
        let least = Self::LEAST_FRAME_LIMIT;
        match self.frame {
            Some(bytes) if bytes < least => Err(ErrorKind::FrameLimitTooSmall { least }.into()),
            _ => Ok(self),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Usage {
    pub(crate) fn receive(&mut self, message: &[u8], options: &Options) -> Result<()> {
        self.rounds += 1;
        self.bytes_received = self.bytes_received.saturating_add(message.len() as u64);
        within(self.rounds, options.rounds, Limit::Rounds)?;
        self.check_bytes(options)
    }

    pub(crate) fn send(&mut self, message: &[u8], options: &Options) -> Result<()> {
        self.bytes_sent = self.bytes_sent.saturating_add(message.len() as u64);
        self.check_bytes(options)
    }

    /// A range of either side, with this many ids in it.
    pub(crate) fn range(&mut self, ids: usize, options: &Options) -> Result<()> {
        self.ranges += 1;
        self.ids = self.ids.saturating_add(ids as u64);
        within(self.ranges, options.ranges, Limit::Ranges)?;
        within(self.ids, options.ids, Limit::Ids)
    }

    fn check_bytes(&self, options: &Options) -> Result<()> {
        let bytes = self.bytes_received.saturating_add(self.bytes_sent);
        within(bytes, options.bytes, Limit::Bytes)
    }
}

fn within(used: u64, most: u64, limit: Limit) -> Result<()> {
    if used <= most {
        return Ok(());
    }
    Err(ErrorKind::LimitReached(limit).into())
}
