//! What `cargo xtask services` does: up, down, status, env.

use anyhow::{Result, bail, ensure};

use super::home::Home;
use super::programs;
use super::provider::{Choice, Provider};
use super::run::Run;
use super::server::Server;
use super::{Options, Services, answers, describe, external, find_up, place};

pub(super) fn up(home: &Home, servers: &[Server], options: &Options) -> Result<()> {
    let servers = or_all(servers);
    options.check(servers)?;
    ensure!(
        options.provider != Choice::Containers,
        "containers of `--provider containers` go with the command that starts them: `--provider \
         compose` keeps the same ones up"
    );
    let mut missing = Vec::new();
    for &server in servers {
        match find_up(home, server)? {
            Ok(running) if options.order(server)?.contains(&Provider::Up) => {
                eprintln!("{}", describe(&running));
            }
            Ok(running) => bail!(
                "{}, from {}: `cargo xtask services down {server}` stops it",
                describe(&running),
                running.provider
            ),
            Err(_) => missing.push(server),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let services = Services::start(home, &missing, options)?;
    services.keep()
}

pub(super) fn down(home: &Home, servers: &[Server]) -> Result<()> {
    for folder in home.runs()? {
        let Some(run) = Run::open(&folder)? else {
            continue;
        };
        let concerned = run
            .servers()
            .into_iter()
            .filter(|running| servers.is_empty() || servers.contains(&running.server));
        if run.is_kept() {
            for running in concerned {
                eprintln!(
                    "{}: stopping the server {}",
                    running.server,
                    place(&running)
                );
            }
            run.stop(servers)?;
        } else if let Some(owner) = run.owner() {
            for running in concerned {
                eprintln!("{}: process {owner} uses this one", describe(&running));
            }
        }
    }
    Ok(())
}

pub(super) fn status(home: &Home) -> Result<()> {
    let mut any = false;
    for folder in home.runs()? {
        let Some(run) = Run::open(&folder)? else {
            continue;
        };
        let until = match run.owner() {
            Some(owner) if !run.is_kept() => format!("until process {owner} ends"),
            _ => "until `services down`".to_owned(),
        };
        for running in run.servers() {
            any = true;
            let state = match answers(&running) {
                Ok(()) => "answers".to_owned(),
                Err(error) => format!("does not answer: {error:#}"),
            };
            println!(
                "{}, {}: {state}; {until}",
                describe(&running),
                running.provider
            );
        }
    }
    for server in Server::ALL {
        match external::find(server, home) {
            Ok(Err(_)) => continue,
            Ok(Ok(running)) => println!("{}, env: answers; not started here", describe(&running)),
            Err(error) => println!("{server}, env: does not answer: {error:#}"),
        }
        any = true;
    }
    if !any {
        println!("no server is up");
    }
    Ok(())
}

pub(super) fn print_environment(home: &Home, servers: &[Server]) -> Result<()> {
    for &server in or_all(servers) {
        match find_up(home, server)? {
            Ok(running) => {
                println!("{}", export(server.variable(), &running.url));
                match programs::find(server, home, running.programs.as_deref())? {
                    Ok(folder) => {
                        let folder = folder.to_string_lossy();
                        println!("{}", export(server.programs_variable(), &folder));
                    }
                    Err(reason) => eprintln!("{reason}"),
                }
            }
            Err(_) if servers.is_empty() => {}
            Err(reason) => {
                bail!("{server}: {reason}: `cargo xtask services up {server}` starts one")
            }
        }
    }
    Ok(())
}

/// A line for a shell, in which a value may hold anything.
pub(super) fn export(variable: &str, value: &str) -> String {
    format!("export {variable}='{}'", value.replace('\'', r"'\''"))
}

fn or_all(servers: &[Server]) -> &[Server] {
    if servers.is_empty() {
        &Server::ALL
    } else {
        servers
    }
}
