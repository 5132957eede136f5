//! Positions in a tree, with the aggregate of everything before them.

use sync_core::TimeKey;

use crate::Aggregate;
use crate::node::{Child, Node};

/// A place in a tree that moves, cheaply if not far.
///
/// A position is given as the aggregate of all keys before it, so the position itself is the
/// aggregate's count, and what lies between two positions is their difference.
pub(crate) struct Cursor<'n> {
    root: &'n Node,
    leaf: &'n [TimeKey],
    /// Everything before the leaf.
    before: Aggregate,
    /// Everything before the place, which is in the leaf or at its end.
    place: Aggregate,
}

impl<'n> Cursor<'n> {
    /// At the first key.
    pub(crate) fn new(root: &'n Node) -> Self {
        let mut cursor = Self {
            root,
            leaf: &[],
            before: Aggregate::EMPTY,
            place: Aggregate::EMPTY,
        };
        cursor.descend_to(0);
        cursor
    }

    /// Moves to the key at `position`, or to the end.
    pub(crate) fn seek(&mut self, position: usize) -> Aggregate {
        let offset = position.checked_sub(self.before.count());
        if offset.is_none_or(|offset| offset > self.leaf.len()) {
            self.descend_to(position);
        }
        self.move_in_leaf(position.saturating_sub(self.before.count()))
    }

    /// Moves to the first key that is not `below`, or to the end. Whatever is `below` comes first.
    pub(crate) fn seek_by(&mut self, below: impl Fn(&TimeKey) -> bool) -> Aggregate {
        let is_here = match self.leaf {
            [first, .., last] => below(first) && !below(last),
            _ => false,
        };
        if !is_here {
            self.descend_by(&below);
        }
        self.move_in_leaf(self.leaf.partition_point(below))
    }

    /// The keys before and at the place.
    pub(crate) fn around(&self) -> [Option<&'n TimeKey>; 2] {
        let position = self.place.count();
        let first = self.before.count();
        let key = |position: usize| {
            let here = position.checked_sub(first);
            here.and_then(|offset| self.leaf.get(offset))
                .or_else(|| self.root.nth(position))
        };
        [position.checked_sub(1).and_then(key), key(position)]
    }

    /// The keys from the place to the end of its leaf; none only at the very end.
    pub(crate) fn rest_of_leaf(&mut self) -> &'n [TimeKey] {
        let position = self.place.count();
        if position - self.before.count() == self.leaf.len() {
            self.descend_to(position);
            self.move_in_leaf(position.saturating_sub(self.before.count()));
        }
        let offset = self.place.count() - self.before.count();
        self.leaf.get(offset..).unwrap_or_default()
    }

    /// To the start of the leaf that has the key at `position`, or of the last one.
    fn descend_to(&mut self, position: usize) {
        self.descend(|before, children| {
            for (at, child) in children.iter().enumerate() {
                let next = *before + child.aggregate;
                if position < next.count() || at + 1 == children.len() {
                    return at;
                }
                *before = next;
            }
            0
        });
    }

    /// To the start of the last leaf whose first key is `below`, or of the first one.
    fn descend_by(&mut self, below: &impl Fn(&TimeKey) -> bool) {
        self.descend(|before, children| {
            let at = children.partition_point(|child| below(&child.min));
            let at = at.saturating_sub(1);
            for child in children.iter().take(at) {
                *before += child.aggregate;
            }
            at
        });
    }

    /// Follows the children that `choose` names; it adds what it leaves to the left.
    fn descend(&mut self, choose: impl Fn(&mut Aggregate, &[Child]) -> usize) {
        let mut before = Aggregate::EMPTY;
        let mut node = self.root;
        self.leaf = loop {
            match node {
                Node::Leaf(keys) => break keys,
                Node::Inner(children) => match children.get(choose(&mut before, children)) {
                    Some(child) => node = &child.node,
                    None => break &[],
                },
            }
        };
        self.before = before;
        self.place = before;
    }

    /// To the key at `offset` of this leaf, or to its end.
    fn move_in_leaf(&mut self, offset: usize) -> Aggregate {
        let mut from = self.place.count() - self.before.count();
        if offset < from {
            from = 0;
            self.place = self.before;
        }
        for key in self.leaf.iter().take(offset).skip(from) {
            self.place += &key.id;
        }
        self.place
    }
}
