//! Pairs of sets, and what is to be found between them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fastrand::Rng;
use sync_core::{OpId, TimeKey, Ts};
use sync_reconcile::{Index, View};

/// The keys of two sides, ascending.
pub(crate) struct Pair {
    pub(crate) ours: Vec<TimeKey>,
    pub(crate) theirs: Vec<TimeKey>,
}

impl Pair {
    /// Sets of any size up to `most`, any overlap, and timestamps and ids of any kind.
    pub(crate) fn random(rng: &mut Rng, most: usize) -> Self {
        // As many small ones as large ones.
        let halvings = rng.u32(0..=most.ilog2());
        let size = rng.usize(0..=most >> halvings);
        let times = Times::random(rng, size);
        let ids = Ids::random(rng);
        let common = *pick(rng, &[0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0]);
        let ours = *pick(rng, &[0.0, 0.1, 0.5, 1.0]);
        // Whether what is missing is missing in one piece.
        let in_runs = rng.bool();
        let keys: BTreeSet<_> = (0..size)
            .map(|n| TimeKey {
                ts: Ts::new(times.next(rng, n)).unwrap(),
                id: ids.next(rng),
            })
            .collect();
        let mut pair = Self {
            ours: Vec::new(),
            theirs: Vec::new(),
        };
        let mut on = (true, true);
        for key in keys {
            if !in_runs || rng.u32(..100) == 0 {
                on = match (rng.f64() < common, rng.f64() < ours) {
                    (true, _) => (true, true),
                    (false, ours) => (ours, !ours),
                };
            }
            if on.0 {
                pair.ours.push(key);
            }
            if on.1 {
                pair.theirs.push(key);
            }
        }
        pair
    }

    /// A recorded pair from `shared/data/<folder>` beside the workspace.
    pub(crate) fn recorded(folder: &str) -> Option<Self> {
        let folder = data()?.join(folder);
        let read = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            let mut keys: Vec<_> = text.lines().map(parse).collect();
            keys.sort_unstable();
            keys
        };
        Some(Self {
            ours: read("client.csv"),
            theirs: read("server.csv"),
        })
    }

    /// The pair, and the pair with the sides exchanged.
    pub(crate) fn both_ways(self) -> [Self; 2] {
        let exchanged = Self {
            ours: self.theirs.clone(),
            theirs: self.ours.clone(),
        };
        [self, exchanged]
    }

    /// Ids that the first side has and the second lacks, and the other way round, each ascending.
    pub(crate) fn difference(&self) -> [Vec<OpId>; 2] {
        let [ours, theirs] = [&self.ours, &self.theirs].map(|keys| {
            let ids: BTreeSet<_> = keys.iter().map(|key| key.id).collect();
            ids
        });
        [&ours - &theirs, &theirs - &ours].map(|ids| ids.into_iter().collect())
    }
}

/// Where recorded data is: the directory that `SYNC_SHARED_DATA` names, else `shared/data` beside the
/// workspace. `None` where there is none.
pub(crate) fn data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("SYNC_SHARED_DATA").map_or_else(|| beside.into(), PathBuf::from);
    folder.exists().then_some(folder)
}

pub(crate) fn view(keys: &[TimeKey]) -> View {
    Index::from_sorted(keys.iter().copied()).unwrap().snapshot()
}

pub(crate) fn key(ts: u64, id: [u8; 32]) -> TimeKey {
    TimeKey {
        ts: Ts::new(ts).unwrap(),
        id: OpId::new(id),
    }
}

fn parse(line: &str) -> TimeKey {
    let (ts, id) = line.trim().split_once(',').unwrap();
    TimeKey {
        ts: ts.parse().unwrap(),
        id: id.parse().unwrap(),
    }
}

pub(crate) fn pick<'t, T>(rng: &mut Rng, choices: &'t [T]) -> &'t T {
    &choices[rng.usize(..choices.len())]
}

enum Times {
    Same(u64),
    Spread(u64),
    /// Bursts at these times, this long each.
    Bursts(Vec<u64>, u64),
    /// One key after the other, this far apart.
    Steps(u64),
}

impl Times {
    fn random(rng: &mut Rng, size: usize) -> Self {
        match rng.u32(..5) {
            0 => Self::Same(rng.u64(..1 << 53)),
            1 => Self::Spread(1 << 53),
            2 => Self::Spread(size as u64 / 3 + 1),
            3 => {
                let bursts = (0..=rng.usize(..8)).map(|_| 1_700_000_000 + rng.u64(..1 << 24));
                Self::Bursts(bursts.collect(), rng.u64(1..300))
            }
            _ => Self::Steps(rng.u64(1..1_000)),
        }
    }

    fn next(&self, rng: &mut Rng, n: usize) -> u64 {
        match self {
            Self::Same(ts) => *ts,
            Self::Spread(most) => rng.u64(..most),
            Self::Bursts(starts, length) => pick(rng, starts) + rng.u64(..length),
            Self::Steps(step) => n as u64 * step,
        }
    }
}

struct Ids {
    /// So many first bytes are the same.
    same: usize,
}

impl Ids {
    fn random(rng: &mut Rng) -> Self {
        Self {
            same: *pick(rng, &[0, 0, 0, 1, 20, 28]),
        }
    }

    fn next(&self, rng: &mut Rng) -> OpId {
        let mut id = [0xee; 32];
        rng.fill(&mut id[self.same..]);
        OpId::new(id)
    }
}
