use sync_core::{Bytes, Digest, OpId, Operation, SyncOrder, Ts};

/// The operations, and the digests that the bare loop writes without computing them.
pub(crate) struct Input {
    pub(crate) operations: Vec<Operation>,
    pub(crate) digests: Vec<Digest>,
}

impl Input {
    /// Random ids; ts and order rise, as in a log that is read from its start.
    pub(crate) fn generate(rows: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let operations: Vec<_> = (0..rows as u64)
            .map(|n| {
                let mut id = [0; 32];
                random.fill(&mut id);
                let mut payload = vec![0; 844];
                random.fill(&mut payload);
                Operation {
                    id: OpId::new(id),
                    ts: Ts::new(1_700_000_000 + n).unwrap(),
                    object: None,
                    sync_order: SyncOrder::new(n + 1),
                    payload: Bytes::from(payload),
                }
            })
            .collect();
        let digests = operations.iter().map(Operation::digest).collect();
        Self {
            operations,
            digests,
        }
    }

    /// The operations and their digests, in pages.
    pub(crate) fn pages(&self, page: usize) -> impl Iterator<Item = (&[Operation], &[Digest])> {
        self.operations.chunks(page).zip(self.digests.chunks(page))
    }
}
