use std::time::{Duration, Instant};

use sync_core::{Error, ErrorKind, Result, Retry};

use crate::database::Database;
use crate::error::{TOO_LARGE, code, is_conflict, is_transient};
use crate::{NAME, orphans};

/// The first pause is at most this long, and every further one up to twice as long as the last.
const PAUSE: Duration = Duration::from_millis(2);
/// No pause is longer: whoever waits longest must not wait longer than others between two attempts.
const LONGEST: Duration = Duration::from_millis(24);
/// How long conflicts last before somebody looks for a transaction that nobody will end.
const SUSPICION: Duration = Duration::from_millis(300);

/// How often the server may give up a transaction that nobody else is in the way of.
const EVICTIONS: u32 = 6;
const CACHE: &str = "the server's cache cannot hold the page; send smaller ones, or give it more \
                     (--wiredTigerCacheSizeGB)";

/// How long a transaction that the server gave up is tried again.
///
/// Writers of other processes do not queue: the server refuses at once what another transaction has
/// written, and whoever tries first after its end is next. Random pauses share that out.
pub(crate) struct Patience<'d> {
    database: &'d Database,
    began: Instant,
    pause: Duration,
    looked: Instant,
    evicted: u32,
}

impl<'d> Patience<'d> {
    pub(crate) fn new(database: &'d Database) -> Self {
        let began = Instant::now();
        Self {
            database,
            began,
            pause: PAUSE,
            looked: began,
            evicted: 0,
        }
    }

    /// Pauses where the transaction that ended with `error` is to be tried again whole; otherwise
    /// the error is final.
    ///
    /// `locked` says whether the transaction had the space's document: nobody else writes what it
    /// goes on to write, so that a conflict is the server's word for a cache that cannot hold it.
    pub(crate) async fn after(&mut self, error: Error, locked: bool) -> Result<()> {
        if code(&error) == Some(TOO_LARGE) {
            return Err(error.with_message(CACHE));
        }
        self.evicted += u32::from(locked && is_conflict(&error));
        if self.evicted == EVICTIONS {
            return Err(Error::new(ErrorKind::Full)
                .with_retry(Retry::Never)
                .with_message(CACHE)
                .with_source(error)
                .of_backend(NAME));
        }
        if !is_transient(&error) || self.began.elapsed() >= self.database.busy_timeout {
            return Err(error);
        }
        if is_conflict(&error) && self.looked.elapsed() >= SUSPICION {
            orphans::end(self.database).await;
            self.looked = Instant::now();
        }
        tokio::time::sleep(self.pause.mul_f64(fastrand::f64())).await;
        self.pause = (2 * self.pause).min(LONGEST);
        Ok(())
    }
}
