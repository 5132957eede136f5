//! Walks that begin again where the space changed under them.

use sync_store::{Error, ErrorKind};

use crate::failure::{Failure, Result};

/// How many attempts a walk gets.
pub(crate) const ATTEMPTS: u32 = 5;

/// The attempts that one walk has used.
#[derive(Default)]
pub(crate) struct Attempts(u32);

impl Attempts {
    /// Counts an attempt that failed because of `cause`. After the last one the command ends, and
    /// may succeed when it is run again.
    pub(crate) fn again(&mut self, cause: &str) -> Result<()> {
        self.0 += 1;
        if self.0 < ATTEMPTS {
            return Ok(());
        }
        Err(Failure::moved(format!(
            "{cause} during each of {ATTEMPTS} attempts"
        )))
    }
}

/// Whether the feed refused a cursor because a prune, a reset or a failover overtook its reader.
pub(crate) fn is_overtaken(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Pruned { .. } | ErrorKind::WrongEpoch { .. } | ErrorKind::AheadOfLog { .. }
    )
}
