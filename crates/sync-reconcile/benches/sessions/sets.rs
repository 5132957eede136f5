//! The sets that sessions are about.

use fastrand::Rng;
use sync_core::{OpId, TimeKey, Ts};

pub(crate) struct Sets {
    pub(crate) all: Vec<TimeKey>,
    /// Every second key, by chance.
    pub(crate) half: Vec<TimeKey>,
    /// The older half.
    pub(crate) oldest: Vec<TimeKey>,
    /// All but 50 keys, and all but 50 others.
    pub(crate) differing: [Vec<TimeKey>; 2],
}

impl Sets {
    pub(crate) fn generate(count: usize) -> Self {
        let mut rng = Rng::with_seed(1);
        let all: Vec<_> = sorted(&mut rng, count).collect();
        let half = all.iter().filter(|_| rng.bool()).copied().collect();
        let mut missing = rng.choose_multiple(0..count, 100);
        rng.shuffle(&mut missing);
        let differing = [&missing[..50], &missing[50..]].map(|missing| {
            let mut missing = missing.to_vec();
            missing.sort_unstable();
            let mut keys = all.clone();
            for at in missing.into_iter().rev() {
                keys.remove(at);
            }
            keys
        });
        Self {
            half,
            oldest: all[..count / 2].to_vec(),
            differing,
            all,
        }
    }
}

/// Four keys a second, in their order.
pub(crate) fn sorted(rng: &mut Rng, count: usize) -> impl Iterator<Item = TimeKey> {
    (0..count.div_ceil(4))
        .flat_map(move |second| {
            let mut keys = [0; 4].map(|_| key(1_700_000_000 + second as u64, rng));
            keys.sort_unstable();
            keys
        })
        .take(count)
}

/// Keys in no order.
pub(crate) fn random(rng: &mut Rng, count: usize) -> impl Iterator<Item = TimeKey> {
    let seconds = count as u64 / 4;
    (0..count).map(move |_| {
        let ts = 1_700_000_000 + rng.u64(..=seconds);
        key(ts, rng)
    })
}

fn key(ts: u64, rng: &mut Rng) -> TimeKey {
    let mut id = [0; 32];
    rng.fill(&mut id);
    TimeKey {
        ts: Ts::new(ts).unwrap(),
        id: OpId::new(id),
    }
}
