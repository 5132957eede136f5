use std::time::{Duration, Instant, SystemTime};

use sync_hydrate::{Advance, BackfillStep, Hydrator, Source};
use sync_store::AnyStore;

use super::step;
use crate::failure::{Failure, Result};
use crate::progress::{Bar, note};
use crate::stop::Stop;

/// The pauses after failures: the first, doubled by each failure up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_mins(1);

/// Keeps the space current until the end is asked for.
///
/// An error that may pass is reported and the step is tried again; any other error ends it.
pub(super) async fn follow<So: Source>(
    hydrator: &mut Hydrator<AnyStore, So>,
    interval: Duration,
    bar: &mut Bar,
) -> Result<()> {
    let stop = Stop::on_signals()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let wait = match stop.unless(round(hydrator, interval, bar)).await {
            None => return Ok(()),
            Some(Ok(left)) => {
                pause = FIRST_PAUSE;
                left
            }
            Some(Err(error)) if error.is_retryable() => {
                bar.clear();
                let failure = Failure::from(error).to_line();
                note(&format!(
                    "{failure}; the next attempt is in {} s",
                    pause.as_secs()
                ));
                let wait = pause;
                pause = LAST_PAUSE.min(pause * 2);
                wait
            }
            Some(Err(error)) => return Err(error.into()),
        };
        if stop.wait(wait) {
            return Ok(());
        }
    }
}

/// Reads to the tip, and backfills until the next poll is due; answers the time that is left until
/// then.
async fn round<So: Source>(
    hydrator: &mut Hydrator<AnyStore, So>,
    interval: Duration,
    bar: &mut Bar,
) -> sync_hydrate::Result<Duration> {
    let mut next = Instant::now() + interval;
    loop {
        let advance = hydrator.advance(SystemTime::now()).await?;
        bar.at(step(hydrator.progress()));
        if matches!(advance, Advance::Snapshot | Advance::Changes) {
            next = Instant::now() + interval;
            continue;
        }
        while Instant::now() < next
            && hydrator.backfill(SystemTime::now()).await? != BackfillStep::Done
        {
            bar.at(step(hydrator.progress()));
        }
        if advance == Advance::AtTip {
            bar.at(step(hydrator.progress()));
            return Ok(next.saturating_duration_since(Instant::now()));
        }
    }
}
