//! Transactions, tried again where the server gave one up.

use std::time::{Duration, Instant};

use sync_core::{Error, ErrorKind, Result, Retry, SpaceName};
use sync_kit::backoff::{Backoff, Policy};

use crate::database::Database;
use crate::error::{TOO_LARGE, code, is_conflict, is_transient};
use crate::orphans;
use crate::transaction::Transaction;

/// The first pause is at most this long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// No pause is longer, so that the writer that waits longest tries as often as a new one.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// How long conflicts last before the writer looks for the transaction of a process that has died.
const SUSPICION: Duration = Duration::from_millis(300);
/// How often the server may evict a transaction from its cache before the page counts as too large.
const EVICTIONS: u32 = 6;
const CACHE: &str = "the server's cache cannot hold the page; send smaller ones, or give it more \
                     (--wiredTigerCacheSizeGB)";

/// What one transaction does to a space. It is done again from its beginning after an attempt that
/// the server gave up.
pub(crate) trait Work: Sync {
    type Answer: Send + 'static;

    fn attempt(
        &self,
        transaction: &mut Transaction<'_>,
        space: &SpaceName,
    ) -> impl Future<Output = Result<Attempt<Self::Answer>>> + Send;
}

/// How the work in a transaction ended.
pub(crate) enum Attempt<Answer> {
    /// With writes to commit.
    Wrote(Answer),
    /// Without anything to commit.
    Unchanged(Answer),
}

/// Does `work` in a transaction, and again where it is given up, for at most the configured time.
pub(crate) async fn transact<W: Work>(
    database: &Database,
    space: &SpaceName,
    work: &W,
) -> Result<W::Answer> {
    let mut attempts = Attempts::new(database);
    loop {
        let mut transaction = Transaction::begin(database).await?;
        let attempt = work.attempt(&mut transaction, space).await;
        let has_space = transaction.has_space;
        let answer = match attempt {
            Ok(Attempt::Wrote(answer)) => transaction.commit().await.map(|()| answer),
            Ok(Attempt::Unchanged(answer)) => {
                transaction.abort().await;
                Ok(answer)
            }
            Err(error) => {
                transaction.abort().await;
                Err(error)
            }
        };
        match answer {
            Err(error) => attempts.pause_after(error, has_space).await?,
            answer => return answer,
        }
    }
}

/// The attempts of one call.
///
/// Writers of other processes do not queue: the server refuses at once what another transaction has
/// written, and the writer that tries first after the other's end is next. Random pauses share that
/// out.
struct Attempts<'d> {
    database: &'d Database,
    backoff: Backoff,
    /// When orphans were looked for last, or the first attempt began.
    looked: Instant,
    evictions: u32,
}

impl<'d> Attempts<'d> {
    fn new(database: &'d Database) -> Self {
        let policy = Policy {
            deadline: database.busy_timeout,
            first: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
        };
        Self {
            database,
            backoff: Backoff::new(policy),
            looked: Instant::now(),
            evictions: 0,
        }
    }

    /// Pauses before the next attempt, or answers why there is none.
    ///
    /// `has_space` says whether the transaction had written the space's document: no other writes
    /// what it goes on to write, so that a conflict is the server's word for a cache that cannot
    /// hold it.
    async fn pause_after(&mut self, error: Error, has_space: bool) -> Result<()> {
        if code(&error) == Some(TOO_LARGE) {
            return Err(error.with_message(CACHE));
        }
        self.evictions += u32::from(has_space && is_conflict(&error));
        if self.evictions == EVICTIONS {
            return Err(Error::new(ErrorKind::Full)
                .with_retry(Retry::Never)
                .with_message(CACHE)
                .with_source(error));
        }
        if !is_transient(&error) {
            return Err(error);
        }
        let Some(pause) = self.backoff.pause() else {
            return Err(error);
        };
        if is_conflict(&error) && self.looked.elapsed() >= SUSPICION {
            orphans::end(self.database).await;
            self.looked = Instant::now();
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
