mod follow;
mod options;
mod report;

use std::time::{Instant, SystemTime};

use sync_hydrate::{HydrateConfig, Hydrator, Phase, Source, Start, Status};

use crate::failure::Result;
use crate::progress::{Bar, Step};
use crate::report::Report;
use crate::session::Session;
use crate::settings::{HydrateArgs, Settings};

use self::options::{From, Options};

pub(crate) async fn run(args: HydrateArgs, settings: &Settings) -> Result<Report> {
    let options = Options::resolve(args, &settings.hydrate)?;
    match &options.from {
        From::Gatekeeper(url) => {
            let source = options.gatekeeper(url)?;
            fill(
                Session::open(settings).await?,
                source,
                &options,
                Start::Snapshot,
            )
            .await
        }
        From::Capture(files) => {
            let source = options.capture(files)?;
            let start = if source.has_snapshot() {
                Start::Snapshot
            } else {
                Start::Log
            };
            fill(Session::open(settings).await?, source, &options, start).await
        }
    }
}

/// Fills the session's space from the source. A new space begins at `start`, unless the options name
/// another beginning.
async fn fill<So: Source>(
    session: Session,
    source: So,
    options: &Options,
    start: Start,
) -> Result<Report> {
    let config = HydrateConfig {
        page_limit: options.page_limit,
        start: match options.changes_only {
            Some(true) => Start::Log,
            Some(false) => Start::Snapshot,
            None => start,
        },
        include_private: options.include_local,
        accept_shrunk_source: options.accept_shrunk_source,
        ..HydrateConfig::default()
    };
    let began = Instant::now();
    let mut hydrator = Hydrator::new(session.store, source, config);
    let mut bar = Bar::new(options.progress_every);
    if let Some(interval) = options.follow {
        follow::follow(&mut hydrator, interval, &mut bar).await?;
    } else {
        let observe = |progress: &sync_hydrate::Progress| bar.at(step(progress));
        hydrator.run(SystemTime::now, observe).await?;
    }
    drop(bar);
    let status = Status::load(hydrator.store()).await?;
    report::report(
        &session.space,
        status.as_ref(),
        hydrator.progress(),
        began.elapsed(),
    )
}

fn step(progress: &sync_hydrate::Progress) -> Step {
    let part = match (progress.cursor, progress.checkpoint) {
        (Some(cursor), Some(checkpoint)) if progress.phase != Phase::Snapshot => {
            Some((cursor.value(), checkpoint.value()))
        }
        _ => None,
    };
    Step {
        phase: progress.phase.name(),
        part,
        count: progress.records,
    }
}
