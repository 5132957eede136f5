use sync_core::TimeKey;

use crate::node::{LEAF, Node};
use crate::{Error, ErrorKind, Index, Result};

/// Makes an [`Index`] from keys that come in ascending order, page by page: O(n), without a look-up
/// and without a list of all keys beside the tree.
///
/// ```
/// use sync_core::{OpId, TimeKey, Ts};
/// use sync_reconcile::IndexBuilder;
///
/// # fn main() -> sync_reconcile::Result<()> {
/// let key = |n: u8| TimeKey { ts: Ts::new(n.into()).unwrap(), id: OpId::new([n; 32]) };
/// let mut builder = IndexBuilder::new();
/// for page in [[1, 2, 3], [4, 5, 6]] {
///     builder.extend(page.map(key))?;
/// }
/// assert_eq!(builder.finish().len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct IndexBuilder {
    /// Full leaves.
    leaves: Vec<Node>,
    /// The keys of the leaf that comes next.
    leaf: Vec<TimeKey>,
    len: usize,
}

impl IndexBuilder {
    /// No keys yet.
    pub const fn new() -> Self {
        Self {
            leaves: Vec::new(),
            leaf: Vec::new(),
            len: 0,
        }
    }

    /// Adds a key.
    ///
    /// Fails with [`ErrorKind::Unsorted`] where it is not above the one before it. It is then left out.
    pub fn push(&mut self, key: TimeKey) -> Result<()> {
        if self.last().is_some_and(|last| last >= key) {
            return Err(Error::new(ErrorKind::Unsorted { index: self.len }));
        }
        if self.leaf.len() == LEAF {
            self.cut();
        }
        self.leaf.push(key);
        self.len += 1;
        Ok(())
    }

    /// Adds keys in their order, up to the first that [`push`](Self::push) refuses.
    pub fn extend(&mut self, keys: impl IntoIterator<Item = TimeKey>) -> Result<()> {
        keys.into_iter().try_for_each(|key| self.push(key))
    }

    /// The index of the keys.
    pub fn finish(mut self) -> Index {
        if !self.leaf.is_empty() {
            self.cut();
        }
        Index::over(Node::above(self.leaves), self.len)
    }

    /// Ends the leaf. The next one starts empty.
    fn cut(&mut self) {
        self.leaves.push(Node::leaf(&self.leaf));
        self.leaf.clear();
    }

    fn last(&self) -> Option<TimeKey> {
        // A leaf is cut when the next key comes, so that it is empty only at the beginning.
        self.leaf.last().copied()
    }
}
