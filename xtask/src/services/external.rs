//! Servers that somebody else runs, named by URLs in the environment.

use std::env;

use anyhow::{Context as _, Result};

use super::provider::{Answer, Provider};
use super::run::Running;
use super::server::Server;
use super::wire;

/// The server whose URL the environment holds. One that does not answer is an error: whoever named
/// it wants that one and no other.
pub(super) fn find(server: Server) -> Result<Answer<Running>> {
    let variable = server.variable();
    let url = env::var(variable).unwrap_or_default();
    if url.is_empty() {
        return Ok(Answer::No(format!("{variable} is not set")));
    }
    let address = address(server, &url);
    let version = match &address {
        Some(address) => answer(server, address, is_encrypted(&url))
            .with_context(|| format!("{variable}: no answer from {address}"))?,
        // A socket in a folder, or a name that has to be looked up: the tests will see.
        None => None,
    };
    Ok(Answer::Yes(Running {
        server,
        provider: Provider::Env,
        version,
        address,
        url,
        programs: None,
    }))
}

fn answer(server: Server, address: &str, encrypted: bool) -> Result<Option<String>> {
    if encrypted {
        return wire::connect(address).map(|_| None);
    }
    Ok(wire::probe(server, address, None)?.version)
}

/// Host and port of the first server that a URL names; none where it names none of that kind.
pub(super) fn address(server: Server, url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme.contains('+') {
        return None;
    }
    let hosts = rest.split(['/', '?', '#']).next()?;
    let hosts = hosts.rsplit_once('@').map_or(hosts, |(_, hosts)| hosts);
    let host = hosts.split(',').next().filter(|host| !host.is_empty())?;
    // The path of a socket, with its slashes escaped.
    if host.contains('%') {
        return None;
    }
    // The colons of an IPv6 address stand in brackets.
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    Some(if has_port {
        host.to_owned()
    } else {
        format!("{host}:{}", server.default_port())
    })
}

/// Whether the URL asks for TLS, in any of the three drivers' ways.
pub(super) fn is_encrypted(url: &str) -> bool {
    let options = url.split_once('?').map_or("", |(_, options)| options);
    url.starts_with("rediss:")
        || url.starts_with("valkeys:")
        || options.split('&').any(|option| {
            matches!(option, "tls=true" | "ssl=true")
                || option.starts_with("sslmode=require")
                || option.starts_with("sslmode=verify")
        })
}
