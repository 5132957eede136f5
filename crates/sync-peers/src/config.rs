use std::time::Duration;

use sync_reconcile::Options;

/// The bounds of sessions.
///
/// Without changes: frames of at most 500,000 bytes, 4,096 rounds, 1,048,576 ranges, 256 MiB and
/// 4,194,304 ids a session, 64 sessions of each role, 30 seconds without a message, 10 minutes in all.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionConfig {
    pub(crate) frame_limit: Option<usize>,
    pub(crate) options: Options,
    pub(crate) sessions: usize,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
    pub(crate) checks: bool,
}

impl SessionConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            frame_limit: Some(500_000),
            options: Options::new()
                .max_rounds(4_096)
                .max_ranges(1 << 20)
                .max_bytes(256 << 20)
                .max_ids(4 << 20),
            sessions: 64,
            idle: Duration::from_secs(30),
            total: Duration::from_mins(10),
            checks: true,
        }
    }

    /// No frame of a session that we open, of either side, is longer than `bytes`; `None` for no
    /// limit. Values below 4,096, the least that negentropy allows, mean that.
    pub fn frame_limit(mut self, bytes: Option<usize>) -> Self {
        self.frame_limit = bytes.map(|bytes| bytes.max(Options::LEAST_FRAME_LIMIT));
        self
    }

    /// What one session may cost in rounds, ranges, bytes and ids. The frame limit of the options is
    /// ignored; [`frame_limit`](Self::frame_limit) sets it.
    pub const fn options(mut self, options: Options) -> Self {
        self.options = options.no_frame_limit();
        self
    }

    /// At most this many sessions that we opened, and as many that peers opened, at least 1.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions.max(1);
        self
    }

    /// A session ends when its peer has sent nothing for `idle`.
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// A session ends `total` after it began.
    pub const fn total(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    /// Without the final check: sessions with peers that do not know its messages end
    /// [unchecked](crate::Outcome::Complete). The default is with it.
    pub const fn without_final_check(mut self) -> Self {
        self.checks = false;
        self
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self::new()
    }
}
