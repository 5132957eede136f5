use sync_reconcile::Usage;

/// What one session found and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames of the peer.
    pub rounds: u64,
    /// Bytes of the frames sent.
    pub bytes_sent: u64,
    /// Bytes of the frames received.
    pub bytes_received: u64,
    /// Ids that we have and the peer lacks. Only the side that opened a session learns it.
    pub have: u64,
    /// Ids that the peer has and we lack. Only the side that opened a session learns it.
    pub need: u64,
    /// Whether the session was run a second time, without a frame limit.
    pub repeated: bool,
}

impl Statistics {
    /// With the cost of one attempt added.
    pub(crate) fn with(mut self, usage: Usage) -> Self {
        self.rounds += usage.rounds;
        self.bytes_sent += usage.bytes_sent;
        self.bytes_received += usage.bytes_received;
        self
    }
}

/// All sessions since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions opened by us.
    pub started: u64,
    /// Sessions opened by peers.
    pub answered: u64,
    /// Sessions opened by us that ended complete.
    pub completed: u64,
    /// Sessions, of either side, that failed.
    pub failed: u64,
    /// Final checks that did not hold.
    pub mismatches: u64,
    /// Frames received.
    pub rounds: u64,
    /// Bytes of the frames sent.
    pub bytes_sent: u64,
    /// Bytes of the frames received.
    pub bytes_received: u64,
    /// Ids that we had and peers lacked.
    pub have: u64,
    /// Ids that peers had and we lacked.
    pub need: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, session: &Statistics) {
        self.rounds += session.rounds;
        self.bytes_sent += session.bytes_sent;
        self.bytes_received += session.bytes_received;
        self.have += session.have;
        self.need += session.need;
    }
}
