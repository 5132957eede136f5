//! The difference that an initiator has found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;
use sync_core::OpId;

use crate::Aggregate;
use crate::message::Keys;
use crate::wire::Bound;

/// Up to this many ids on both sides are compared one by one, with the matches as bits of a number.
const FEW: usize = u32::BITS as usize;

/// Ids that one side has and the other lacks, each reported once.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) have: Vec<OpId>,
    pub(crate) need: Vec<OpId>,
    /// Our set without what the peer lacks and with what we lack: the peer's set.
    pub(crate) theirs: Aggregate,
    /// Ranges whose ids were compared, disjoint: from, to.
    compared: BTreeMap<Bound, Bound>,
    /// The ids of `have` and `need` that were entered so far because a range was compared again.
    reported: [Reported; 2],
    /// A peer chooses the ids, but sees neither the seeds, which are new for each session, nor a hash,
    /// so it cannot prepare ids that collide. The standard hasher costs more for each id compared.
    hash: RandomState,
}

/// The first so many ids of a list.
#[derive(Debug)]
struct Reported {
    ids: HashSet<OpId, RandomState>,
    count: usize,
}

impl Difference {
    pub(crate) fn new(ours: Aggregate) -> Self {
        let hash = RandomState::default();
        Self {
            have: Vec::new(),
            need: Vec::new(),
            theirs: ours,
            compared: BTreeMap::new(),
            reported: [(); 2].map(|()| Reported {
                ids: HashSet::with_hasher(hash.clone()),
                count: 0,
            }),
            hash,
        }
    }

    /// Compares all ids of both sides in a range.
    ///
    /// A peer that cuts its messages may send a range that was compared before; ids that it repeats are not
    /// reported again.
    pub(crate) fn compare(&mut self, range: Range<Bound>, ours: Keys<'_>, theirs: &[[u8; 32]]) {
        let (have, need) = (self.have.len(), self.need.len());
        let again = self.is_compared(&range);
        self.add_compared(range);

        if theirs.is_empty() {
            ours.for_each(|key| self.have.push(key.id));
        } else if ours.len() == 0 {
            self.need.extend(theirs.iter().copied().map(OpId::new));
        } else if ours.len().max(theirs.len()) <= FEW {
            self.compare_few(ours, theirs);
        } else {
            self.compare_many(ours, theirs);
        }

        if again {
            let [reported_have, reported_need] = &mut self.reported;
            reported_have.keep_new(&mut self.have, have);
            reported_need.keep_new(&mut self.need, need);
        }
        for id in self.have.iter().skip(have) {
            self.theirs -= id;
        }
        for id in self.need.iter().skip(need) {
            self.theirs += id;
        }
    }

    fn compare_few(&mut self, ours: Keys<'_>, theirs: &[[u8; 32]]) {
        let mut matched: u32 = 0;
        // Both lists have the order of the keys, so that the next match usually comes next.
        let mut next = 0;
        ours.for_each(|key| {
            let id = key.id.as_bytes();
            let (before, after) = theirs.split_at(next.min(theirs.len()));
            let found = after.iter().position(|other| other == id);
            let found = found.map(|at| at + before.len());
            match found.or_else(|| before.iter().position(|other| other == id)) {
                Some(at) => {
                    matched |= 1 << at;
                    next = at + 1;
                }
                None => self.have.push(key.id),
            }
        });
        for (at, id) in theirs.iter().enumerate() {
            if matched & 1 << at == 0 {
                self.need.push(OpId::new(*id));
            }
        }
    }

    /// With a table of the shorter list.
    fn compare_many(&mut self, ours: Keys<'_>, theirs: &[[u8; 32]]) {
        if ours.len() <= theirs.len() {
            let mut table = HashMap::with_capacity_and_hasher(ours.len(), self.hash.clone());
            let mut order = Vec::with_capacity(ours.len());
            ours.for_each(|key| {
                table.insert(key.id, false);
                order.push(key.id);
            });
            for id in theirs {
                match table.get_mut(&OpId::new(*id)) {
                    Some(matched) => *matched = true,
                    None => self.need.push(OpId::new(*id)),
                }
            }
            order.retain(|id| table.get(id) == Some(&false));
            self.have.append(&mut order);
        } else {
            let ids = theirs.iter().map(|id| (OpId::new(*id), false));
            let mut table = HashMap::with_capacity_and_hasher(theirs.len(), self.hash.clone());
            table.extend(ids);
            ours.for_each(|key| match table.get_mut(&key.id) {
                Some(matched) => *matched = true,
                None => self.have.push(key.id),
            });
            let ids = theirs.iter().map(|id| OpId::new(*id));
            self.need
                .extend(ids.filter(|id| table.get(id) == Some(&false)));
        }
    }

    /// Whether any part of the range was compared before.
    fn is_compared(&self, range: &Range<Bound>) -> bool {
        let before = self.compared.range(..range.end).next_back();
        before.is_some_and(|(_, to)| *to > range.start)
    }

    fn add_compared(&mut self, range: Range<Bound>) {
        let Range { mut start, mut end } = range;
        // Ranges that touch become one, so that there are few.
        while let Some((&from, &to)) = self.compared.range(..=end).next_back()
            && to >= start
        {
            self.compared.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.compared.insert(start, end);
    }
}

impl Reported {
    /// Drops from `ids`, from index `from` on, the ids that are before that index.
    fn keep_new(&mut self, ids: &mut Vec<OpId>, from: usize) {
        let new = ids.split_off(from);
        self.ids.extend(ids.iter().skip(self.count));
        ids.extend(new.into_iter().filter(|id| self.ids.insert(*id)));
        self.count = ids.len();
    }
}
