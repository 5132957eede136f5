use sync_core::TimeKey;

use crate::node::Node;
use crate::{IndexBuilder, Result, View};

/// A set of keys in the order of (ts, id), with the count and the sum of the ids below each node.
///
/// A B+tree. Changes cost O(log n), and so do the queries of a [`View`]. Nodes are shared with snapshots
/// and copied when they change, so a snapshot costs O(1), does not change, and never makes a writer wait.
/// A key takes a little more than its own 40 bytes.
#[derive(Clone, Debug)]
pub struct Index {
    root: Node,
    len: usize,
}

impl Index {
    /// An empty set.
    pub fn new() -> Self {
        Self {
            root: Node::empty(),
            len: 0,
        }
    }

    /// The set of keys that come in strictly ascending order, as `scan_keys` of a store returns them.
    /// O(n).
    ///
    /// Fails with [`Unsorted`](crate::ErrorKind::Unsorted) at the first key that is not above the one
    /// before it.
    pub fn from_sorted(keys: impl IntoIterator<Item = TimeKey>) -> Result<Self> {
        Self::try_from_sorted(keys.into_iter().map(Ok))
    }

    /// The set of keys that come in strictly ascending order from something that may fail. O(n).
    ///
    /// Fails with the first error of the source, or with [`Unsorted`](crate::ErrorKind::Unsorted) at the
    /// first key that is not above the one before it.
    pub fn try_from_sorted<E: From<crate::Error>>(
        keys: impl IntoIterator<Item = Result<TimeKey, E>>,
    ) -> Result<Self, E> {
        let mut builder = IndexBuilder::new();
        for key in keys {
            builder.push(key?)?;
        }
        Ok(builder.finish())
    }

    /// A tree of `len` keys.
    pub(crate) const fn over(root: Node, len: usize) -> Self {
        Self { root, len }
    }

    /// The number of keys.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `key` is in the set. O(log n).
    pub fn contains(&self, key: &TimeKey) -> bool {
        self.root.contains(key)
    }

    /// Adds `key`; says whether it was not there yet. O(log n), and the nodes on the way are copied
    /// where a snapshot shares them.
    pub fn insert(&mut self, key: TimeKey) -> bool {
        // Looked up first, so that no node is copied for a key that is there.
        if self.root.contains(&key) {
            return false;
        }
        if let Some(right) = self.root.insert(key) {
            let left = std::mem::replace(&mut self.root, Node::empty());
            self.root = Node::over([left, right].into_iter());
        }
        self.len += 1;
        true
    }

    /// Removes `key`; says whether it was there. O(log n), as [`insert`](Self::insert).
    pub fn remove(&mut self, key: &TimeKey) -> bool {
        if !self.root.contains(key) {
            return false;
        }
        self.root.remove(key);
        let root = std::mem::replace(&mut self.root, Node::empty());
        self.root = root.shrunk();
        self.len -= 1;
        true
    }

    /// The whole set as it is now. O(1): nothing is copied until the index changes.
    pub fn snapshot(&self) -> View {
        View::new(self.root.clone(), self.len)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
