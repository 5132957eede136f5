//! The dump format: NDJSON, one record a line. `docs/dump-format.md` describes it; this module is
//! the one place that writes and reads it.

mod lines;
mod record;
mod write;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::failure::{Failure, Result};

pub(crate) use lines::{Line, Lines};
pub(crate) use record::{Record, Tombstone, parse};
pub(crate) use write::{PayloadForm, Writer};

/// The name in a complete dump's header.
pub(crate) const FORMAT: &str = "sync-dump";
/// The version in a complete dump's header.
pub(crate) const VERSION: u64 = 1;
/// State under keys with this prefix speaks of one store's own seqs and clock: no dump takes it
/// along.
pub(crate) const LOCAL_STATE: &str = "node.";

/// The longest line that is read. A payload of 1 MiB in base64, and all else a record may hold,
/// stays below it.
pub(crate) const LINE_BYTES: usize = 2 << 20;

/// How many records a dump holds, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) tombstones: u64,
    pub(crate) state: u64,
}

/// The lines of the file at `path`, or of standard input where it is `-`.
pub(crate) fn open(path: &Path) -> Result<Lines> {
    if path.as_os_str() == "-" {
        return Ok(Lines::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::io(path.display(), error))?;
    Ok(Lines::new(BufReader::new(file)))
}
