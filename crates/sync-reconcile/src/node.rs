//! Nodes of the tree, and the changes to them.
//!
//! A node is a slice behind an `Arc`. Leaves are never changed in place: one more key is a new slice
//! of exactly that length, so that a leaf that is half full costs half. The entries of inner nodes
//! are changed in place as long as no snapshot shares them.

use std::sync::Arc;

use sync_core::TimeKey;

use crate::Aggregate;

/// The most keys in a leaf.
const LEAF: usize = 64;
/// The most children of an inner node.
const FANOUT: usize = 24;

/// A subtree. All leaves of a tree are at the same depth.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Leaf(Arc<[TimeKey]>),
    Inner(Arc<[Child]>),
}

/// What an inner node knows about a subtree, which is never empty.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) aggregate: Aggregate,
    pub(crate) min: TimeKey,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn empty() -> Self {
        Self::Leaf(Arc::from([]))
    }

    /// The tree over strictly ascending keys, full but for the last nodes of each level.
    pub(crate) fn build(keys: impl Iterator<Item = TimeKey>) -> Self {
        let mut keys = keys.peekable();
        let mut level = Vec::new();
        let mut leaf = Vec::with_capacity(LEAF);
        while keys.peek().is_some() {
            leaf.extend(keys.by_ref().take(LEAF));
            level.extend(Child::new(Self::Leaf(Arc::from(leaf.as_slice()))));
            leaf.clear();
        }
        while level.len() > 1 {
            let size = level.len().div_ceil(level.len().div_ceil(FANOUT));
            let mut parents = Vec::with_capacity(level.len().div_ceil(size));
            let mut children = level.into_iter().peekable();
            while children.peek().is_some() {
                let group = children.by_ref().take(size).collect();
                parents.extend(Child::new(Self::Inner(group)));
            }
            level = parents;
        }
        level.pop().map_or_else(Self::empty, |root| root.node)
    }

    fn min(&self) -> Option<TimeKey> {
        match self {
            Self::Leaf(keys) => keys.first().copied(),
            Self::Inner(children) => children.first().map(|child| child.min),
        }
    }

    /// Everything in the subtree; costs as much as the node itself is long.
    pub(crate) fn aggregate(&self) -> Aggregate {
        match self {
            Self::Leaf(keys) => keys.iter().map(|key| &key.id).collect(),
            Self::Inner(children) => children
                .iter()
                .fold(Aggregate::EMPTY, |sum, child| sum + child.aggregate),
        }
    }

    /// The leaf that `key` is in, if it is anywhere.
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

    /// The key at `position`.
    pub(crate) fn nth(&self, mut position: usize) -> Option<&TimeKey> {
        let mut node = self;
        'levels: loop {
            match node {
                Self::Leaf(keys) => return keys.get(position),
                Self::Inner(children) => {
                    for child in children.iter() {
                        let count = child.aggregate.count();
                        if position < count {
                            node = &child.node;
                            continue 'levels;
                        }
                        position -= count;
                    }
                    return None;
                }
            }
        }
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
                let child = Arc::make_mut(children).get_mut(at)?;
                child.aggregate += &key.id;
                child.min = child.min.min(key);
                let right = Child::new(child.node.insert(key)?)?;
                child.aggregate -= right.aggregate;
                insert_at(children, at + 1, right, FANOUT).map(Self::Inner)
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
                let Some(child) = Arc::make_mut(children).get_mut(at) else {
                    return;
                };
                child.node.remove(key);
                child.aggregate -= &key.id;
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
    fn joined(&self, right: &Self) -> Option<[Option<Child>; 2]> {
        let parts = match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                concat(left, right, LEAF).map(|part| part.map(Self::Leaf))
            }
            (Self::Inner(left), Self::Inner(right)) => {
                concat(left, right, FANOUT).map(|part| part.map(Self::Inner))
            }
            _ => return None,
        };
        Some(parts.map(|part| part.and_then(Child::new)))
    }
}

impl Child {
    /// The entry for a node, unless it is empty.
    pub(crate) fn new(node: Node) -> Option<Self> {
        Some(Self {
            aggregate: node.aggregate(),
            min: node.min()?,
            node,
        })
    }
}

/// The child that `key` is in or belongs into.
fn child_of(children: &[Child], key: &TimeKey) -> usize {
    let above = children.partition_point(|child| child.min <= *key);
    above.saturating_sub(1)
}

/// Joins the child at `at` with a neighbour, if it has one.
fn join(children: &mut Arc<[Child]>, at: usize) {
    let at = at.min(children.len().saturating_sub(2));
    if let [left, right, ..] = children.get(at..).unwrap_or_default()
        && let Some(joined) = left.node.joined(&right.node)
    {
        *children = replace(children, at, 2, joined.into_iter().flatten());
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

/// Two slices in one, or in two equal ones where one would have more than `most` entries.
fn concat<T: Clone>(left: &[T], right: &[T], most: usize) -> [Option<Arc<[T]>>; 2] {
    let all = [left, right].concat();
    if all.len() <= most {
        return [Some(Arc::from(all)), None];
    }
    let (left, right) = all.split_at(all.len() / 2);
    [Some(Arc::from(left)), Some(Arc::from(right))]
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
                    let depths = children.iter().map(|child| {
                        assert_eq!(Some(child.min), child.node.min());
                        assert_eq!(child.aggregate, child.node.aggregate());
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
