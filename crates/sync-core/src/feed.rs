//! The feed's cursor rules, its merge and its pages: what every backend shares.
//!
//! Pure functions. A backend reads its space and its entries in one snapshot and passes both here.

use crate::read::Budget;
use crate::{Epoch, ErrorKind, FeedCursor, FeedEntry, FeedPage, Limit, Seq, Stats};

/// A feed cursor that was accepted: the part of the history that its reader has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The history; `None` where the space does not exist.
    epoch: Option<Epoch>,
    /// The floor when the reader began.
    floor: Seq,
    /// The newest seq that the reader has seen.
    after: Seq,
    /// The newest seq.
    head: Seq,
}

impl Span {
    /// The newest seq that the reader has seen: entries above it are asked for.
    pub const fn after(&self) -> Seq {
        self.after
    }

    /// Whether the reader has seen everything, so that no entry needs to be looked for.
    pub fn is_at_head(&self) -> bool {
        self.head <= self.after
    }
}

/// Checks the cursor of a reader against a space; `None` or stats without epoch mean that the
/// space does not exist.
///
/// The error is one of [`WrongEpoch`](ErrorKind::WrongEpoch), [`AheadOfLog`](ErrorKind::AheadOfLog)
/// and [`Pruned`](ErrorKind::Pruned).
pub fn position(space: Option<&Stats>, after: FeedCursor) -> Result<Span, ErrorKind> {
    let space = space.copied().unwrap_or_default();
    let span = |floor, after| Span {
        epoch: space.epoch,
        floor,
        after,
        head: space.head,
    };
    let FeedCursor::After { epoch, floor, seq } = after else {
        return Ok(span(space.floor, Seq::ZERO));
    };
    if space.epoch != Some(epoch) {
        Err(ErrorKind::WrongEpoch {
            current: space.epoch,
        })
    } else if seq > space.head {
        Err(ErrorKind::AheadOfLog { head: space.head })
    } else if seq < space.floor && space.floor > floor {
        Err(ErrorKind::Pruned { floor: space.floor })
    } else {
        Ok(span(floor, seq))
    }
}

/// Whether the feed would answer anything but an empty page, where `entry_after` says whether an
/// entry exists above the cursor's seq. A refusal of the cursor is an answer too.
pub fn would_answer(space: Option<&Stats>, after: FeedCursor, entry_after: bool) -> bool {
    match position(space, after) {
        Ok(span) => entry_after && !span.is_at_head(),
        Err(_) => true,
    }
}

/// Merges live rows and tombstones, each by rising seq, up to the limit. The flag says whether
/// entries are left.
pub fn merge<E>(
    live: impl IntoIterator<Item = Result<FeedEntry, E>>,
    dead: impl IntoIterator<Item = Result<FeedEntry, E>>,
    limit: Limit,
) -> Result<(Vec<FeedEntry>, bool), E> {
    let (mut live, mut dead) = (live.into_iter(), dead.into_iter());
    let mut next_live = live.next().transpose()?;
    let mut next_dead = dead.next().transpose()?;
    let mut entries = Vec::new();
    let mut budget = Budget::new(limit.max_bytes());
    loop {
        let first_is_live = match (&next_live, &next_dead) {
            (Some(live), Some(dead)) => live.seq < dead.seq,
            (live, _) => live.is_some(),
        };
        let next = if first_is_live {
            &mut next_live
        } else {
            &mut next_dead
        };
        let Some(entry) = next.take() else {
            return Ok((entries, false));
        };
        if entries.len() == limit.max_rows() || !budget.takes(entry.weight()) {
            return Ok((entries, true));
        }
        entries.push(entry);
        if first_is_live {
            next_live = live.next().transpose()?;
        } else {
            next_dead = dead.next().transpose()?;
        }
    }
}

/// The page that a reader gets: with `more` its cursor goes behind the last entry, otherwise to
/// the head. In a space that does not exist the reader stays at the beginning.
pub fn page(span: Span, entries: Vec<FeedEntry>, more: bool) -> FeedPage {
    let last = entries.last().map_or(span.after, |entry| entry.seq);
    let next = match span.epoch {
        Some(epoch) => FeedCursor::After {
            epoch,
            floor: span.floor,
            seq: if more { last } else { span.head },
        },
        None => FeedCursor::Beginning,
    };
    FeedPage {
        entries,
        next,
        more,
    }
}

#[cfg(test)]
mod tests;
