use sync_core::{Bytes, Digest, OpId, Operation, SyncOrder, Ts};

/// The operations, and the digests that the bare driver writes without computing them.
#[derive(Debug)]
pub struct Input {
    /// The operations.
    pub operations: Vec<Operation>,
    /// The digest of each.
    pub digests: Vec<Digest>,
}

impl Input {
    /// Random ids and payloads of 844 bytes; ts and order rise, as in a log that is read from its start.
    pub fn generate(rows: usize) -> Self {
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
    pub fn pages(&self, page: usize) -> impl Iterator<Item = (&[Operation], &[Digest])> {
        self.operations.chunks(page).zip(self.digests.chunks(page))
    }

    /// 500 ids from all over the log.
    pub fn some_ids(&self) -> Vec<OpId> {
        let step = self.operations.len() / 500;
        let some = self.operations.iter().step_by(step).take(500);
        some.map(|operation| operation.id).collect()
    }

    /// The position of the operation in the middle of the log.
    pub fn middle(&self) -> usize {
        self.operations.len() / 2
    }

    /// Its time.
    pub fn middle_ts(&self) -> Ts {
        self.operations.get(self.middle()).unwrap().ts
    }
}
