use std::ops::{Bound, Range, RangeBounds};
use std::slice;

use sync_core::{TimeKey, TimeRange};

use crate::cursor::Cursor;
use crate::node::Node;
use crate::{Aggregate, Fingerprint};

/// Consecutive keys of an [`Index`](crate::Index) as it was when the snapshot was taken.
///
/// A view is small, cheap to clone, and never changes; a session keeps its own. Narrower views show
/// part of it: [`range`](Self::range), [`after`](Self::after), [`first`](Self::first). Positions are
/// counted from the first key of the view.
#[derive(Clone, Debug)]
pub struct View {
    root: Node,
    start: usize,
    end: usize,
}

/// The keys of a view in their order; see [`View::iter`].
#[derive(Debug)]
pub struct Iter<'v> {
    root: &'v Node,
    keys: slice::Iter<'v, TimeKey>,
    next: usize,
    end: usize,
}

impl View {
    pub(crate) fn new(root: Node, len: usize) -> Self {
        Self {
            root,
            start: 0,
            end: len,
        }
    }

    /// The number of keys.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is no key.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// The keys within bounds. O(log n).
    #[must_use]
    pub fn range(&self, range: impl RangeBounds<TimeKey>) -> Self {
        let Range { start, end } = self.positions(range);
        Self {
            root: self.root.clone(),
            start,
            end,
        }
    }

    /// The keys with a ts within both ends, as a window of peers names them. O(log n).
    #[must_use]
    pub fn times(&self, times: TimeRange) -> Self {
        let start = self.rank(|key| key.ts < times.from);
        let end = self.rank(|key| key.ts <= times.to).max(start);
        Self {
            root: self.root.clone(),
            start,
            end,
        }
    }

    /// The keys after `key`, which need not be there itself. O(log n).
    #[must_use]
    pub fn after(&self, key: TimeKey) -> Self {
        self.range((Bound::Excluded(key), Bound::Unbounded))
    }

    /// The first `count` keys, or all where there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self {
            root: self.root.clone(),
            start: self.start,
            end: self.end.min(self.start.saturating_add(count)),
        }
    }

    /// How many keys are within bounds. O(log n).
    pub fn count(&self, range: impl RangeBounds<TimeKey>) -> usize {
        self.positions(range).len()
    }

    /// Number and sum of the keys of this view. O(log n).
    pub fn aggregate(&self) -> Aggregate {
        self.between(self.start..self.end)
    }

    /// The fingerprint of the keys within bounds. O(log n).
    pub fn fingerprint(&self, range: impl RangeBounds<TimeKey>) -> Fingerprint {
        self.between(self.positions(range)).fingerprint()
    }

    /// The position of the first key that is not below `key`, or [`len`](Self::len). O(log n).
    pub fn lower_bound(&self, key: &TimeKey) -> usize {
        self.rank(|other| other < key) - self.start
    }

    /// The key at `position`. O(log n).
    pub fn nth(&self, position: usize) -> Option<TimeKey> {
        let position = self.start.checked_add(position)?;
        let inside = position < self.end;
        inside.then(|| self.root.nth(position).copied()).flatten()
    }

    /// The keys in their order. Each step is O(1), and O(log n) where a leaf begins.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            root: &self.root,
            keys: [].iter(),
            next: self.start,
            end: self.end,
        }
    }

    /// Calls `each` with the keys between two positions of the whole tree, leaf by leaf.
    pub(crate) fn leaves(&self, positions: Range<usize>, mut each: impl FnMut(&[TimeKey])) {
        let Range { mut start, end } = positions;
        while start < end {
            let keys = self.root.leaf_from(start);
            let keys = keys.get(..end - start).unwrap_or(keys);
            if keys.is_empty() {
                return;
            }
            each(keys);
            start += keys.len();
        }
    }

    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.root)
    }

    /// The positions in the whole tree that the view shows.
    pub(crate) const fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    fn positions(&self, range: impl RangeBounds<TimeKey>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(first) => self.rank(|key| key < first),
            Bound::Excluded(last) => self.rank(|key| key <= last),
            Bound::Unbounded => self.start,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => self.rank(|key| key <= last),
            Bound::Excluded(end) => self.rank(|key| key < end),
            Bound::Unbounded => self.end,
        };
        start..end.max(start)
    }

    /// The position in the tree of the first key that is not `below`, within the view.
    fn rank(&self, below: impl Fn(&TimeKey) -> bool) -> usize {
        let place = self.cursor().seek_by(below);
        place.count().clamp(self.start, self.end)
    }

    fn between(&self, positions: Range<usize>) -> Aggregate {
        let mut cursor = self.cursor();
        let before = cursor.seek(positions.start);
        cursor.seek(positions.end) - before
    }
}

impl<'v> IntoIterator for &'v View {
    type Item = TimeKey;
    type IntoIter = Iter<'v>;

    fn into_iter(self) -> Iter<'v> {
        self.iter()
    }
}

impl Iterator for Iter<'_> {
    type Item = TimeKey;

    fn next(&mut self) -> Option<TimeKey> {
        if let Some(key) = self.keys.next() {
            return Some(*key);
        }
        if self.next >= self.end {
            return None;
        }
        let keys = self.root.leaf_from(self.next);
        let keys = keys.get(..self.end - self.next).unwrap_or(keys);
        self.next += keys.len();
        self.keys = keys.iter();
        self.keys.next().copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.keys.len() + self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
