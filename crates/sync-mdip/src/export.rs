//! Answers of a Gatekeeper's index export, `POST /api/v1/index/export`.
//!
//! An answer is split into raw records while it is read, and each record is parsed alone, so that a bad
//! record is one [`InvalidRecord`](sync_hydrate::InvalidRecord) and the rest of its page is kept. Parts of
//! an answer that a page does not need are skipped, not stored.

mod members;
mod page;
mod records;
mod rows;
mod scan;
mod split;

#[cfg(feature = "gatekeeper")]
pub(crate) use self::page::next;
pub(crate) use self::page::{Changes, changes, first_seq, snapshot};
#[cfg(feature = "gatekeeper")]
pub(crate) use self::records::invalid;
pub(crate) use self::scan::Stop;
#[cfg(feature = "gatekeeper")]
pub(crate) use self::split::Head;
pub(crate) use self::split::{Answer, Header, head, split};

/// The two modes of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Snapshot,
    Changes,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
        }
    }
}

/// Text of another party, made safe for a message: at most 80 characters, without control characters.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown = text
        .chars()
        .take(LONGEST)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect::<String>();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
