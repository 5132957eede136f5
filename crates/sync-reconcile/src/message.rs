//! One message and the answer to it, for either role.
//!
//! Without a frame limit the answer has the bytes that every implementation of version 1 sends. With one,
//! it ends before it is full: its last range then covers everything that is left, from the bound that was
//! written last. A fingerprint that began at another bound could match although the keys in between were
//! never compared, and differences there would never be found.
//!
//! Some peers make this mistake. The keys they leave out are lost if our side of that range is empty and
//! we send it as a fingerprint. We send an empty range as a list without ids, which settles it at once, so
//! such peers lose nothing in a session with us.

use sync_core::TimeKey;

use crate::cursor::Cursor;
use crate::difference::Difference;
use crate::options::{Options, Usage};
use crate::wire::{self, Body, Bound, Range, Ranges, Writer};
use crate::{Aggregate, ErrorKind, Result, View};

/// Into how many ranges one is split.
const SPLIT: usize = 16;
/// Ranges with fewer keys are sent as their ids.
const SMALL: usize = 2 * SPLIT;

/// The bytes of a skip, and of a mode with its fingerprint or the count of an empty list.
const SKIP: usize = wire::MAX_BOUND + 1;
const FINGERPRINT: usize = 1 + 16;
/// Kept free for a skip that is still to be written and the ranges that are left, see [`MessageBuilder::leave`].
const RESERVE: usize = 2 * (SKIP + wire::MAX_BOUND + FINGERPRINT);

/// The share of fingerprints that differ counts from this many on.
const SAMPLE: u32 = 32;

/// Whether a range was covered, or the message is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coverage {
    Whole,
    Part,
}

/// The message being written, and the view that it is about.
///
/// A position in the view is the aggregate of everything before it, see [`Cursor`].
pub(crate) struct MessageBuilder<'b> {
    view: &'b View,
    cursor: Cursor<'b>,
    options: &'b Options,
    usage: &'b mut Usage,
    writer: Writer,
    /// The position up to which the message covers the view.
    covered: Aggregate,
    /// A skip that is written once something follows it, and its position.
    skip: Option<(Bound, Aggregate)>,
    estimate: AnswerEstimate,
}

/// How long the answer to this message may become.
///
/// When most fingerprints of a message differ, so will most of those in the answer, and the peer's next
/// message has no room for all the answers they call for. A shorter message saves both sides work and
/// bytes.
#[derive(Default)]
struct AnswerEstimate {
    compared: u32,
    different: u32,
    /// Bytes.
    expected: f64,
}

impl<'b> MessageBuilder<'b> {
    pub(crate) fn new(view: &'b View, options: &'b Options, usage: &'b mut Usage) -> Self {
        let mut cursor = view.cursor();
        let covered = cursor.seek(view.span().start);
        Self {
            view,
            cursor,
            options,
            usage,
            writer: Writer::new(),
            covered,
            skip: None,
            estimate: AnswerEstimate::default(),
        }
    }

    /// The first message of a session.
    pub(crate) fn open(mut self) -> Result<Vec<u8>> {
        let start = self.covered;
        let end = self.cursor.seek(self.view.span().end);
        self.split(start, end, Bound::END)?;
        Ok(self.writer.into_bytes())
    }

    /// The answer to a message. An initiator passes its `difference`, to which lists of ids are added; a
    /// responder answers lists with its own.
    pub(crate) fn answer(
        mut self,
        mut ranges: Ranges<'_>,
        mut difference: Option<&mut Difference>,
    ) -> Result<Vec<u8>> {
        let mut lower = self.covered;
        let mut from = Bound::START;
        while let Some(range) = ranges.next() {
            let range = self.count(range?)?;
            let to = range.upper;
            let upper = if to == from { lower } else { self.find(&to) };
            let coverage = match range.body {
                Body::Skip => self.skip(to, upper),
                Body::Fingerprint(theirs) => {
                    let differs = (upper - lower).fingerprint() != theirs;
                    self.estimate.compared(differs);
                    if differs && to == from {
                        return Err(ErrorKind::KeysInEmptyRange.into());
                    } else if differs {
                        self.split(lower, upper, to)?
                    } else {
                        self.skip(to, upper)
                    }
                }
                Body::Ids(theirs) => {
                    if !theirs.is_empty() && to == from {
                        return Err(ErrorKind::KeysInEmptyRange.into());
                    }
                    match difference.as_deref_mut() {
                        Some(difference) => {
                            let ours = Keys::new(self.view, lower, upper);
                            difference.compare(from..to, ours, theirs);
                            self.skip(to, upper)
                        }
                        None => self.list(lower, upper, to)?,
                    }
                }
            };
            if coverage == Coverage::Part {
                self.leave(to, ranges)?;
                break;
            }
            (lower, from) = (upper, to);
        }
        Ok(self.writer.into_bytes())
    }

    fn count<'m>(&mut self, range: Range<'m>) -> Result<Range<'m>> {
        let ids = match range.body {
            Body::Ids(ids) => ids.len(),
            Body::Skip | Body::Fingerprint(_) => 0,
        };
        self.usage.range(ids, self.options)?;
        Ok(range)
    }

    /// The position of a bound within the view.
    fn find(&mut self, bound: &Bound) -> Aggregate {
        let span = self.view.span();
        if bound.is_end() {
            return self.cursor.seek(span.end);
        }
        let at = self.cursor.seek_by(|key| bound.is_above(key));
        let position = at.count().clamp(span.start, span.end);
        self.cursor.seek(position)
    }

    fn skip(&mut self, to: Bound, upper: Aggregate) -> Coverage {
        self.skip = Some((to, upper));
        Coverage::Whole
    }

    /// Answers a range whose fingerprints differ: with its ids, or the fingerprints of its parts.
    fn split(&mut self, lower: Aggregate, upper: Aggregate, to: Bound) -> Result<Coverage> {
        let count = (upper - lower).count();
        if count < SMALL {
            return self.list_whole(lower, upper, to);
        }
        let (size, larger) = (count / SPLIT, count % SPLIT);
        let mut from = lower;
        for part in 0..SPLIT {
            let size = size + usize::from(part < larger);
            if !self.has_room(FINGERPRINT) || !self.is_worth(size) {
                return Ok(Coverage::Part);
            }
            let (next, bound) = if part + 1 == SPLIT {
                (upper, to)
            } else {
                let next = self.cursor.seek(from.count() + size);
                let bound = match self.cursor.around() {
                    [Some(below), Some(key)] => Bound::between(below, key),
                    _ => to,
                };
                (next, bound)
            };
            self.usage.range(0, self.options)?;
            self.write_skip();
            let fingerprint = (next - from).fingerprint();
            self.writer.fingerprint(&bound, fingerprint);
            self.covered = next;
            from = next;
        }
        Ok(Coverage::Whole)
    }

    /// All of our ids, or as many as there is room for.
    fn list(&mut self, lower: Aggregate, upper: Aggregate, to: Bound) -> Result<Coverage> {
        let count = (upper - lower).count();
        let room = self.room().saturating_sub(wire::MAX_COUNT) / wire::ID;
        if count <= room {
            return self.list_whole(lower, upper, to);
        }
        let upper = self.cursor.seek(lower.count() + room);
        if room > 0
            && let [_, Some(next)] = self.cursor.around()
        {
            let bound = Bound::at(next);
            self.write_ids(lower, upper, bound)?;
        }
        Ok(Coverage::Part)
    }

    fn list_whole(&mut self, lower: Aggregate, upper: Aggregate, to: Bound) -> Result<Coverage> {
        let count = (upper - lower).count();
        if !self.has_room(wire::MAX_COUNT + count * wire::ID) {
            return Ok(Coverage::Part);
        }
        self.write_ids(lower, upper, to)?;
        Ok(Coverage::Whole)
    }

    fn write_ids(&mut self, lower: Aggregate, upper: Aggregate, to: Bound) -> Result<()> {
        let count = (upper - lower).count();
        self.usage.range(count, self.options)?;
        self.write_skip();
        self.writer.ids(&to, count);
        let keys = Keys::new(self.view, lower, upper);
        keys.for_each(|key| self.writer.id(key.id.as_bytes()));
        self.covered = upper;
        Ok(())
    }

    fn write_skip(&mut self) {
        if let Some((bound, at)) = self.skip.take() {
            self.writer.skip(&bound);
            self.covered = at;
        }
    }

    /// Leaves the rest of the peer's message to later rounds: one range from the bound that was written
    /// last to the first range that the peer skips, and one for the ranges after that.
    ///
    /// A range that the peer skips is settled. One range over it would make both sides compare it again.
    fn leave(&mut self, mut to: Bound, rest: Ranges<'_>) -> Result<()> {
        let mut gap = None;
        let mut behind = None;
        for range in rest {
            let Range { upper, body } = self.count(range?)?;
            match (body, gap) {
                (Body::Skip, _) if behind.is_none() => gap = Some(upper),
                (Body::Skip, _) => {}
                (_, None) => to = upper,
                (_, Some(_)) => behind = Some(upper),
            }
        }
        self.write_skip();
        self.leave_range(&to)?;
        if let (Some(gap), Some(behind)) = (gap, behind) {
            let at = self.find(&gap);
            self.skip(gap, at);
            self.write_skip();
            self.leave_range(&behind)?;
        }
        Ok(())
    }

    fn leave_range(&mut self, to: &Bound) -> Result<()> {
        let at = self.find(to);
        let left = at - self.covered;
        self.usage.range(0, self.options)?;
        if left.count() == 0 {
            self.writer.ids(to, 0);
        } else {
            self.writer.fingerprint(to, left.fingerprint());
        }
        self.covered = at;
        Ok(())
    }

    /// How much longer the message may become, besides a bound and the ranges at its end.
    fn room(&self) -> usize {
        self.options.frame.map_or(usize::MAX, |limit| {
            limit.saturating_sub(self.writer.len() + RESERVE + wire::MAX_BOUND)
        })
    }

    fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.room()
    }

    /// Whether the peer will have room to answer the fingerprint of `count` keys.
    fn is_worth(&mut self, count: usize) -> bool {
        let Some(limit) = self.options.frame else {
            return true;
        };
        self.estimate.expect(count) <= lossy(limit)
    }
}

impl AnswerEstimate {
    fn compared(&mut self, differs: bool) {
        self.compared = self.compared.saturating_add(1);
        self.different += u32::from(differs && self.compared < u32::MAX);
    }

    /// Adds the answer to the fingerprint of `count` keys; returns all that is expected so far.
    fn expect(&mut self, count: usize) -> f64 {
        let bytes = if count < SMALL {
            wire::MAX_COUNT + count * wire::ID
        } else {
            SPLIT * (FINGERPRINT + wire::MAX_BOUND / 4)
        };
        let share = f64::from(self.different) / f64::from(self.compared.max(1));
        if self.compared >= SAMPLE {
            // A part differs less often than its whole: hardly ever where differences are rare, as often
            // where they are everywhere.
            self.expected += lossy(bytes) * share.powi(3);
        }
        self.expected
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no more digits"
)]
fn lossy(bytes: usize) -> f64 {
    bytes as f64
}

/// The keys between two positions of a view.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'v> {
    view: &'v View,
    from: usize,
    to: usize,
}

impl<'v> Keys<'v> {
    fn new(view: &'v View, lower: Aggregate, upper: Aggregate) -> Self {
        Self {
            view,
            from: lower.count(),
            to: upper.count(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    pub(crate) fn for_each(self, mut each: impl FnMut(&TimeKey)) {
        self.view.leaves(self.from..self.to, |keys| {
            for key in keys {
                each(key);
            }
        });
    }
}
