//! Positions in a tree, with the aggregate of everything before them.

use sync_core::TimeKey;

use crate::Aggregate;
use crate::node::{Child, Node, before, child_at};

/// A place in a tree that moves, cheaply if not far.
///
/// A position is given as the aggregate of all keys before it, so the position itself is the
/// aggregate's count, and what lies between two positions is their difference.
pub(crate) struct Cursor<'n> {
    root: &'n Node,
    leaf: &'n [TimeKey],
    /// Everything before the leaf, and up to its end.
    before: Aggregate,
    upto: Aggregate,
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
            upto: Aggregate::EMPTY,
            place: Aggregate::EMPTY,
        };
        cursor.descend_to(0);
        cursor
    }

    /// Moves to the key at `position`, or to the end.
    pub(crate) fn seek(&mut self, position: usize) -> Aggregate {
        if !(self.before.count()..=self.upto.count()).contains(&position) {
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
        // One after the other, which the memory is faster at than at jumps.
        let offset = self.leaf.iter().position(|key| !below(key));
        self.move_in_leaf(offset.unwrap_or(self.leaf.len()))
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

    /// To the start of the leaf that has the key at `position`, or of the last one.
    fn descend_to(&mut self, position: usize) {
        self.descend(|left, children| {
            let position = position - left.count();
            child_at(children, position)
        });
    }

    /// To the start of the last leaf whose first key is `below`, or of the first one.
    fn descend_by(&mut self, below: &impl Fn(&TimeKey) -> bool) {
        self.descend(|_, children| {
            let at = children.partition_point(|child| below(&child.min));
            let at = at.saturating_sub(1);
            (before(children, at), children.get(at))
        });
    }

    /// Follows the children that `choose` names, each with everything before it in its node.
    fn descend(
        &mut self,
        choose: impl Fn(&Aggregate, &'n [Child]) -> (Aggregate, Option<&'n Child>),
    ) {
        let mut left = Aggregate::EMPTY;
        let mut upto = None;
        let mut node = self.root;
        self.leaf = loop {
            match node {
                Node::Leaf(keys) => break keys,
                Node::Inner(children) => {
                    let (before, Some(child)) = choose(&left, children) else {
                        break &[];
                    };
                    upto = Some(left + child.upto);
                    left += before;
                    node = &child.node;
                }
            }
        };
        self.upto = upto.unwrap_or_else(|| node.aggregate());
        self.before = left;
        self.place = left;
    }

    /// To the key at `offset` of this leaf, or to its end: from where the place is, or from either
    /// end of the leaf, whatever is nearest.
    fn move_in_leaf(&mut self, offset: usize) -> Aggregate {
        let offset = offset.min(self.leaf.len());
        let mut from = self.place.count() - self.before.count();
        let nearest = offset.min(self.leaf.len() - offset);
        if nearest < from.abs_diff(offset) {
            (from, self.place) = if nearest == offset {
                (0, self.before)
            } else {
                (self.leaf.len(), self.upto)
            };
        }
        for key in self.leaf.get(from..offset).unwrap_or_default() {
            self.place += &key.id;
        }
        for key in self.leaf.get(offset..from).unwrap_or_default() {
            self.place -= &key.id;
        }
        self.place
    }
}
