//! Which head the log had at which time.
//!
//! A tombstone carries the claimed time of its row and its seq, but not the time at which it was
//! written. So each `prune` notes the time and the head in state. Every entry at or below a noted head
//! is at least as old as the note.

use std::time::{SystemTime, UNIX_EPOCH};

use sync_store::{Bytes, ErrorKind, Page, Seq, StateKey, SyncState, SyncStore};

use crate::duration::Seconds;
use crate::failure::{Failure, Result};
use crate::session::Session;

/// The state key of the marks. Dumps leave it out, because it is about this store's own seqs.
const KEY: &str = "node.marks";
/// The most marks kept; above it every second one goes. About 25 KB of the 64 KiB a value may have.
const MOST: usize = 1_000;
/// How many attempts to write them are made while other processes write them.
const ATTEMPTS: u32 = 10;

/// A time and the head at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) time: u64,
    pub(crate) head: Seq,
}

/// The marks of a space, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(Vec<Mark>);

/// The time now.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Marks {
    /// Adds a mark to those of the space, and answers them all.
    pub(crate) async fn note(session: &Session, mark: Mark) -> Result<Self> {
        let key = StateKey::new(KEY)?;
        for _ in 0..ATTEMPTS {
            let stored = session.store.load(&key).await?;
            let mut marks = Self::read(stored.as_deref())?;
            marks.add(mark);
            let page = Page::new()
                .expect(key.clone(), stored)
                .set(key.clone(), marks.write()?);
            match session.store.apply(page).await {
                Ok(_) => return Ok(marks),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::moved(format!(
            "another process wrote state {KEY} during each of {ATTEMPTS} attempts"
        )))
    }

    /// The newest mark at or before `time`.
    pub(crate) fn newest_at(&self, time: u64) -> Option<Mark> {
        let old = self.0.iter().filter(|mark| mark.time <= time);
        old.max_by_key(|mark| mark.head).copied()
    }

    /// The oldest mark.
    pub(crate) fn oldest(&self) -> Option<Mark> {
        self.0.first().copied()
    }

    fn add(&mut self, mark: Mark) {
        // Of marks at one head the oldest tells most.
        if self.0.last().is_none_or(|last| last.head != mark.head) {
            self.0.push(mark);
        }
        if self.0.len() > MOST {
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    fn read(value: Option<&[u8]>) -> Result<Self> {
        let Some(value) = value else {
            return Ok(Self::default());
        };
        let broken = || Failure::refused(format!("state {KEY} does not hold marks"));
        let pairs: Vec<(u64, u64)> = serde_json::from_slice(value).map_err(|_| broken())?;
        let mark = |(time, head)| {
            Some(Mark {
                time,
                head: Seq::new(head)?,
            })
        };
        pairs
            .into_iter()
            .map(mark)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(broken)
    }

    fn write(&self) -> Result<Bytes> {
        let pairs: Vec<_> = self
            .0
            .iter()
            .map(|mark| (mark.time, mark.head.value()))
            .collect();
        let json = serde_json::to_vec(&pairs)
            .map_err(|error| Failure::io("writing the marks", error.into()))?;
        Ok(json.into())
    }
}

/// `time` as a distance from now, for a person.
pub(crate) fn ago(time: u64) -> Seconds {
    let seconds = now().saturating_sub(time);
    let unit = match seconds {
        86_400.. => 86_400,
        3_600.. => 3_600,
        60.. => 60,
        _ => 1,
    };
    Seconds(seconds / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(time: u64, head: u64) -> Mark {
        Mark {
            time,
            head: Seq::new(head).unwrap(),
        }
    }

    #[test]
    fn the_newest_mark_that_is_old_enough_is_found() {
        let marks = Marks(vec![mark(10, 5), mark(20, 9), mark(30, 12)]);
        assert_eq!(marks.newest_at(9), None);
        assert_eq!(marks.newest_at(10), Some(mark(10, 5)));
        assert_eq!(marks.newest_at(29), Some(mark(20, 9)));
        assert_eq!(marks.newest_at(99), Some(mark(30, 12)));
    }

    #[test]
    fn marks_survive_their_text_form_and_anything_else_is_refused() {
        let marks = Marks(vec![mark(10, 5), mark(20, 9)]);
        let text = marks.write().unwrap();
        assert_eq!(Marks::read(Some(&text)).unwrap(), marks);
        assert_eq!(Marks::read(None).unwrap(), Marks::default());
        for bad in ["", "x", "[1]", "[[1,9007199254740992]]", "[[-1,1]]"] {
            assert!(Marks::read(Some(bad.as_bytes())).is_err(), "{bad}");
        }
    }

    #[test]
    fn marks_stay_bounded_and_keep_the_oldest() {
        let mut marks = Marks::default();
        for n in 0..100_000 {
            marks.add(mark(1_700_000_000 + n, 9_007_199_254_000_000 + n));
            assert!(marks.0.len() <= MOST);
        }
        assert!(marks.write().unwrap().len() < sync_store::limits::STATE_VALUE_BYTES);
        assert_eq!(marks.oldest().unwrap().time, 1_700_000_000);
    }

    #[test]
    fn of_marks_at_one_head_the_oldest_is_kept() {
        let mut marks = Marks::default();
        marks.add(mark(10, 5));
        marks.add(mark(20, 5));
        assert_eq!(marks.0, [mark(10, 5)]);
    }
}
