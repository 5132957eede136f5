//! A Gatekeeper over HTTP, well-behaved and not.

mod bodies;
mod failures;
mod large;
mod requests;
mod server;

use std::time::Duration;

use sync_core::SyncOrder;
use sync_hydrate::{ChangesPage, Source as _, SourceError};
use sync_mdip::GatekeeperSource;
use sync_mdip::gatekeeper::GatekeeperConfig;

use self::server::Server;

/// A configuration for `server` that does not wait long before it asks again.
fn config(server: &Server) -> GatekeeperConfig {
    let mut config = GatekeeperConfig::new(server.url().parse().unwrap());
    config.attempts = 3;
    config.backoff = Duration::from_millis(1);
    config.backoff_cap = Duration::from_millis(20);
    config.timeout = Duration::from_mins(1);
    config
}

fn source(server: &Server) -> GatekeeperSource {
    GatekeeperSource::new(config(server)).unwrap()
}

/// A page of at most `limit` rows from the beginning.
fn changes(source: &GatekeeperSource, limit: u32) -> Result<ChangesPage, SourceError> {
    pollster::block_on(source.changes(SyncOrder::ZERO, limit))
}
