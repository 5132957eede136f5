use std::fmt;
use std::str::FromStr;

use crate::{Epoch, Error, OpId, Result, Seq, SyncOrder, Ts};

/// Where a reader of the [feed](crate::SyncStore::feed) stands.
///
/// Its text form (`Display`, `FromStr`) is what a reader keeps between runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FeedCursor {
    /// Before the first entry of whatever history there is. Always accepted.
    #[default]
    Beginning,
    /// After the entry `seq` of `epoch`.
    After {
        /// The history the cursor belongs to.
        epoch: Epoch,
        /// The floor when the reader began: what was pruned before cannot have been missed.
        floor: Seq,
        /// The newest seq the reader has seen.
        seq: Seq,
    },
}

/// A place in the order of [`scan_time`](crate::SyncStore::scan_time): by ts, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeKey {
    /// The claimed time.
    pub ts: Ts,
    /// The id; compared as unsigned bytes.
    pub id: OpId,
}

/// A place in the order of [`scan_order`](crate::SyncStore::scan_order): by sync order, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// The sync order.
    pub sync_order: SyncOrder,
    /// The id; compared as unsigned bytes.
    pub id: OpId,
}

impl FeedCursor {
    /// The newest seq the reader has seen; 0 at the beginning.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Beginning => Seq::ZERO,
            Self::After { seq, .. } => *seq,
        }
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::After { epoch, floor, seq } => write!(f, "{epoch}:{floor}:{seq}"),
        }
    }
}

impl FromStr for FeedCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "beginning" {
            return Ok(Self::Beginning);
        }
        let mut parts = text.split(':');
        let (Some(epoch), Some(floor), Some(seq), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::invalid(
                "feed cursor",
                "expected EPOCH:FLOOR:SEQ or beginning".into(),
            ));
        };
        Ok(Self::After {
            epoch: epoch.parse()?,
            floor: floor.parse()?,
            seq: seq.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = FeedCursor::After {
            epoch: Epoch::new([0xab; 16]),
            floor: Seq::new(3).unwrap(),
            seq: Seq::MAX,
        };
        assert_eq!(cursor.to_string().parse::<FeedCursor>().unwrap(), cursor);
        assert_eq!(
            "beginning".parse::<FeedCursor>().unwrap(),
            FeedCursor::Beginning
        );
        for bad in ["", "x", "00:1", &format!("{}:1:2:3", Epoch::new([0; 16]))] {
            assert!(bad.parse::<FeedCursor>().is_err(), "{bad:?}");
        }
    }
}
