//! Nodes of the tree, and the changes to them.
//!
//! A node is a slice behind an `Arc`. Leaves are never changed in place: one more key is a new slice
//! of exactly that length, so that a leaf that is half full costs half. The entries of inner nodes
//! are changed in place as long as no snapshot shares them.

use std::sync::Arc;

use sync_core::TimeKey;

use crate::Aggregate;

/// The most keys in a leaf.
pub(crate) const LEAF: usize = 32;
/// The most children of an inner node.
const FANOUT: usize = 32;

/// A subtree. All leaves of a tree are at the same depth.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Leaf(Arc<[TimeKey]>),
    Inner(Arc<[Child]>),
}

/// What an inner node knows about a subtree, which is never empty.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    /// Everything in the children of this node up to the end of this one. A sum over all that come
    /// before would read the whole node at each look-up; this way a change writes to half of it.
    pub(crate) upto: Aggregate,
    pub(crate) min: TimeKey,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn empty() -> Self {
        Self::Leaf(Arc::from([]))
    }

    pub(crate) fn leaf(keys: &[TimeKey]) -> Self {
        Self::Leaf(Arc::from(keys))
    }

    /// The tree over leaves in ascending order. The nodes of a level are filled equally.
    pub(crate) fn above(mut level: Vec<Self>) -> Self {
        while level.len() > 1 {
            let size = level.len().div_ceil(level.len().div_ceil(FANOUT));
            let mut parents = Vec::with_capacity(level.len().div_ceil(size));
            let mut nodes = level.into_iter().peekable();
            while nodes.peek().is_some() {
                parents.push(Self::over(nodes.by_ref().take(size)));
            }
            level = parents;
        }
        level.pop().unwrap_or_else(Self::empty)
    }

    /// An inner node over nodes that are not empty.
    pub(crate) fn over(nodes: impl Iterator<Item = Self>) -> Self {
        let mut upto = Aggregate::EMPTY;
        let children = nodes.filter_map(|node| {
            upto += node.aggregate();
            let min = node.min()?;
            Some(Child { upto, min, node })
        });
        Self::Inner(children.collect())
    }

    fn min(&self) -> Option<TimeKey> {
        match self {
            Self::Leaf(keys) => keys.first().copied(),
            Self::Inner(children) => children.first().map(|child| child.min),
        }
    }

    /// Everything in the subtree; costs as much as a leaf is long, and nothing for an inner node.
    pub(crate) fn aggregate(&self) -> Aggregate {
        match self {
            Self::Leaf(keys) => keys.iter().map(|key| &key.id).collect(),
            Self::Inner(children) => children.last().map_or(Aggregate::EMPTY, |last| last.upto),
        }
    }

    /// Whether `key` is there.
    pub(crate) fn contains(&self, key: &TimeKey) -> bool {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(keys) => return keys.binary_search(key).is_ok(),
                Self::Inner(children) => match children.get(child_of(children, key)) {
                    Some(child) => node = &child.node,
                    None => return false,
                },
            }
        }
    }

    /// The keys from `position` to the end of its leaf; none at the end of the tree.
    pub(crate) fn leaf_from(&self, mut position: usize) -> &[TimeKey] {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(keys) => return keys.get(position..).unwrap_or_default(),
                Self::Inner(children) => {
                    let (before, child) = child_at(children, position);
                    let Some(child) = child else {
                        return &[];
                    };
                    position -= before.count();
                    node = &child.node;
                }
            }
        }
    }

    /// The key at `position`.
    pub(crate) fn nth(&self, position: usize) -> Option<&TimeKey> {
        self.leaf_from(position).first()
    }

    /// Adds `key`, which is not there yet. A node that was full comes back as two: this one, and the
    /// one to its right.
    pub(crate) fn insert(&mut self, key: TimeKey) -> Option<Self> {
        match self {
            Self::Leaf(keys) => {
                let at = keys.partition_point(|other| *other < key);
                insert_at(keys, at, key, LEAF).map(Self::Leaf)
            }
            Self::Inner(children) => {
                let at = child_of(children, &key);
                let entries = Arc::make_mut(children).get_mut(at..).unwrap_or_default();
                for child in &mut *entries {
                    child.upto += &key.id;
                }
                let child = entries.first_mut()?;
                child.min = child.min.min(key);
                let node = child.node.insert(key)?;
                let upto = child.upto;
                child.upto -= node.aggregate();
                let min = node.min()?;
                let mut right = insert_at(children, at + 1, Child { upto, min, node }, FANOUT)?;
                let left = children.last().map_or(Aggregate::EMPTY, |last| last.upto);
                for child in Arc::make_mut(&mut right) {
                    child.upto -= left;
                }
                Some(Self::Inner(right))
            }
        }
    }

    /// Takes out `key`, which is there. The node may be left too small, or empty.
    pub(crate) fn remove(&mut self, key: &TimeKey) {
        match self {
            Self::Leaf(keys) => {
                let at = keys.partition_point(|other| other < key);
                *keys = replace(keys, at, 1, []);
            }
            Self::Inner(children) => {
                let at = child_of(children, key);
                let entries = Arc::make_mut(children).get_mut(at..).unwrap_or_default();
                for child in &mut *entries {
                    child.upto -= &key.id;
                }
                let Some(child) = entries.first_mut() else {
                    return;
                };
                child.node.remove(key);
                match child.node.min() {
                    None => *children = replace(children, at, 1, []),
                    Some(min) => {
                        child.min = min;
                        if child.node.is_small() {
                            join(children, at);
                        }
                    }
                }
            }
        }
    }

    /// The node without levels that have nothing to choose from.
    pub(crate) fn shrunk(mut self) -> Self {
        loop {
            match self {
                Self::Inner(children) => match &*children {
                    [] => return Self::empty(),
                    [only] => self = only.node.clone(),
                    _ => return Self::Inner(children),
                },
                leaf @ Self::Leaf(_) => return leaf,
            }
        }
    }

    /// Under a quarter of what fits. Not a half, so that a key that comes and goes does not join and
    /// split the same nodes again and again.
    fn is_small(&self) -> bool {
        match self {
            Self::Leaf(keys) => keys.len() < LEAF / 4,
            Self::Inner(children) => children.len() < FANOUT / 4,
        }
    }

    /// The entries of two neighbours in one node, or shared equally by two.
    fn joined(&self, right: &Self) -> Vec<Self> {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                let keys = [&**left, right].concat();
                let parts = parts(&keys, LEAF);
                parts.map(|part| Self::Leaf(Arc::from(part))).collect()
            }
            (Self::Inner(left), Self::Inner(right)) => {
                let children = [&**left, right].concat();
                let parts = parts(&children, FANOUT);
                let nodes = parts.map(|part| part.iter().map(|child| child.node.clone()));
                nodes.map(Self::over).collect()
            }
            (Self::Leaf(_), Self::Inner(_)) | (Self::Inner(_), Self::Leaf(_)) => Vec::new(),
        }
    }
}

/// The child that `key` is in or belongs into.
fn child_of(children: &[Child], key: &TimeKey) -> usize {
    let above = children.partition_point(|child| child.min <= *key);
    above.saturating_sub(1)
}

/// The child with the key at `position`, or the last one, and everything before it.
pub(crate) fn child_at(children: &[Child], position: usize) -> (Aggregate, Option<&Child>) {
    let at = children.partition_point(|child| child.upto.count() <= position);
    let at = at.min(children.len().saturating_sub(1));
    (before(children, at), children.get(at))
}

/// Everything in the children before the one at `at`.
pub(crate) fn before(children: &[Child], at: usize) -> Aggregate {
    let last = at.checked_sub(1).and_then(|at| children.get(at));
    last.map_or(Aggregate::EMPTY, |last| last.upto)
}

/// Joins the child at `at` with a neighbour, if it has one.
fn join(children: &mut Arc<[Child]>, at: usize) {
    let at = at.min(children.len().saturating_sub(2));
    if let [left, right, ..] = children.get(at..).unwrap_or_default() {
        let mut upto = before(children, at);
        let joined = left.node.joined(&right.node).into_iter();
        let joined: Vec<_> = joined
            .filter_map(|node| {
                upto += node.aggregate();
                let min = node.min()?;
                Some(Child { upto, min, node })
            })
            .collect();
        *children = replace(children, at, 2, joined);
    }
}

/// Inserts one entry. A node of `most` entries is cut in two, and the right part is returned: in the
/// middle, or, where the entry comes last, before it, so that a log that only grows fills its nodes.
fn insert_at<T: Clone>(
    entries: &mut Arc<[T]>,
    at: usize,
    entry: T,
    most: usize,
) -> Option<Arc<[T]>> {
    let len = entries.len();
    if len < most {
        *entries = replace(entries, at, 0, [entry]);
        return None;
    }
    let cut = if at == len { len } else { len / 2 };
    let (left, right) = entries.split_at(cut);
    let (left, right) = if at < cut {
        (replace(left, at, 0, [entry]), Arc::from(right))
    } else {
        (Arc::from(left), replace(right, at - cut, 0, [entry]))
    };
    *entries = left;
    Some(right)
}

/// A copy of `entries` with others in place of the `count` from `at` on.
fn replace<T: Clone>(
    entries: &[T],
    at: usize,
    count: usize,
    others: impl IntoIterator<Item = T>,
) -> Arc<[T]> {
    let (left, rest) = entries.split_at(at.min(entries.len()));
    let mut all = Vec::with_capacity(entries.len() + 1);
    all.extend_from_slice(left);
    all.extend(others);
    all.extend_from_slice(rest.get(count..).unwrap_or_default());
    Arc::from(all)
}

/// The entries of two nodes as they fit into one, or into two of the same length.
fn parts<T>(entries: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let halves = entries.len().div_ceil(2);
    entries.chunks(if entries.len() <= most { most } else { halves })
}

#[cfg(test)]
mod check {
    use super::*;

    impl Node {
        /// Checks every promise of the tree below this node; returns its depth.
        pub(crate) fn check(&self) -> usize {
            match self {
                Self::Leaf(keys) => {
                    assert!(keys.len() <= LEAF);
                    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
                    1
                }
                Self::Inner(children) => {
                    assert!((1..=FANOUT).contains(&children.len()));
                    let mut upto = Aggregate::EMPTY;
                    let depths = children.iter().map(|child| {
                        assert_eq!(Some(child.min), child.node.min());
                        upto += child.node.aggregate();
                        assert_eq!(child.upto, upto);
                        child.node.check()
                    });
                    let depths: Vec<_> = depths.collect();
                    assert!(depths.iter().all(|depth| *depth == depths[0]));
                    assert!(children.windows(2).all(|pair| pair[0].min < pair[1].min));
                    depths[0] + 1
                }
            }
        }
    }
}
