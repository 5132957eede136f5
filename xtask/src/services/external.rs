//! Servers that were not started here, named by URLs in the environment.

use std::env;

use anyhow::{Context as _, Result};

use super::ask::ask;
use super::home::Home;
use super::provider::{Answer, Provider};
use super::run::Running;
use super::server::Server;

/// The server whose URL the environment holds. One that does not answer is an error: a person who
/// names a server wants that one and no other.
pub(super) fn find(server: Server, home: &Home) -> Result<Answer<Running>> {
    let variable = server.variable();
    let url = env::var(variable).unwrap_or_default();
    if url.is_empty() {
        return Ok(Err(format!("{variable} is not set")));
    }
    let version = ask(home, server, &["version", server.name()], &[])
        .with_context(|| format!("{variable}: no answer"))?;
    Ok(Ok(Running {
        server,
        provider: Provider::Env,
        version: Some(version),
        address: None,
        url,
        programs: None,
    }))
}
