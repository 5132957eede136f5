//! Starts databases of `docker-compose.yml` through testcontainers: `containers postgres redis mongo`.
//!
//! For each that answers it prints the variable that tells tests where it is, and its URL. When its
//! standard input ends, or on Ctrl-C, it removes them and ends.

mod compose;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::{ContainerPort, Healthcheck, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::compose::Service;

/// How long an image may take to arrive and its container to become healthy.
const HEALTHY: Duration = Duration::from_mins(5);

/// The label of every container; its value names this run.
const LABEL: &str = "ordered-sync.run";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let Arguments { run, names } = Arguments::parse(std::env::args().skip(1))?;
    let outcome = tokio::select! {
        outcome = serve(&run, &names) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    // Whether or not all of them were there yet: a request on its way may have made one.
    remove(&run).await?;
    outcome
}

struct Arguments {
    run: String,
    names: Vec<String>,
}

impl Arguments {
    /// The names of services, and before them maybe what to call this run.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.peekable();
        let run = match arguments.next_if(|argument| argument == "--run") {
            Some(_) => arguments.next().context("--run: a name is expected")?,
            None => format!("by-hand-{}", std::process::id()),
        };
        let names: Vec<_> = arguments.collect();
        if names.is_empty() {
            bail!("which services of docker-compose.yml?");
        }
        Ok(Self { run, names })
    }
}

/// Starts the services and waits for ever, or says why one of them does not start.
async fn serve(run: &str, names: &[String]) -> Result<()> {
    let mut starting = JoinSet::new();
    for name in names {
        let service = compose::service(name)?;
        starting.spawn(start(run.to_owned(), name.clone(), service));
    }
    // They go when they are dropped.
    let mut running = Vec::new();
    while let Some(started) = starting.join_next().await {
        let (container, line) = started??;
        running.push(container);
        let mut output = std::io::stdout().lock();
        writeln!(output, "{line}")?;
        output.flush()?;
    }
    std::future::pending().await
}

async fn start(
    run: String,
    name: String,
    service: Service,
) -> Result<(ContainerAsync<GenericImage>, String)> {
    let port = service.port;
    let container = request(service)
        .with_label(LABEL, run)
        .start()
        .await
        .with_context(|| format!("{name} did not start"))?;
    let port = container.get_host_port_ipv4(port).await?;
    let line = line(&name, &format!("127.0.0.1:{port}"))?;
    Ok((container, line))
}

/// The container that `docker-compose.yml` describes.
fn request(service: Service) -> ContainerRequest<GenericImage> {
    let check = Healthcheck::cmd(service.check.command)
        .with_interval(service.check.interval)
        .with_timeout(service.check.timeout)
        .with_retries(service.check.retries);
    let port = format!("{}/tcp", service.port);
    let mut request = GenericImage::new(service.image, service.tag)
        .with_exposed_port(ContainerPort::Tcp(service.port))
        .with_wait_for(WaitFor::healthcheck())
        .with_cmd(service.command)
        .with_health_check(check)
        .with_startup_timeout(HEALTHY)
        // On loopback, because these servers take every client without a password.
        .with_host_config_modifier(move |config| {
            let here = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some("0".to_owned()),
            };
            config.publish_all_ports = Some(false);
            config.port_bindings = Some(HashMap::from([(port.clone(), Some(vec![here]))]));
        });
    for (name, value) in service.environment {
        request = request.with_env_var(name, value);
    }
    for folder in service.tmpfs {
        request = request.with_mount(Mount::tmpfs_mount(folder));
    }
    match service.shm_size {
        Some(bytes) => request.with_shm_size(bytes),
        None => request,
    }
}

/// The variable that tells tests where a server is.
fn line(name: &str, address: &str) -> Result<String> {
    Ok(match name {
        "postgres" => {
            format!("SYNC_TEST_POSTGRES_URL=postgres://postgres@{address}/postgres")
        }
        "redis" => format!("SYNC_TEST_REDIS_URL=redis://{address}"),
        // The member's own name for itself is that inside its container.
        "mongo" => format!("SYNC_TEST_MONGO_URL=mongodb://{address}/?directConnection=true"),
        other => bail!("no test asks for {other}"),
    })
}

/// Waits for the end of the standard input, or for a signal.
async fn asked_to_stop() -> Result<()> {
    let (sender, closed) = oneshot::channel();
    // Not a task: nothing can interrupt this, and the runtime would wait for it.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut ignored = [0; 256];
        while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
        sender.send(())
    });
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = closed => {}
        _ = terminated.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome?,
    }
    Ok(())
}

/// Removes every container of this run, with what it has stored.
async fn remove(run: &str) -> Result<()> {
    let docker = Docker::connect_with_defaults()?;
    let label = vec![format!("{LABEL}={run}")];
    let ours = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&HashMap::from([("label", label)]))
        .build();
    // The engine may still be at work on a request that was abandoned.
    let mut empty_looks = 0;
    while empty_looks < 2 {
        let containers = docker.list_containers(Some(ours.clone())).await?;
        empty_looks = if containers.is_empty() {
            empty_looks + 1
        } else {
            0
        };
        for id in containers.into_iter().filter_map(|found| found.id) {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
            // One that is being removed already is what was wanted: the next look tells.
            let _ = docker.remove_container(&id, Some(options.build())).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Result<Arguments> {
        Arguments::parse(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn a_run_has_a_name_and_services() {
        let named = arguments(&["--run", "a", "redis", "mongo"]).unwrap();
        assert_eq!((named.run.as_str(), named.names.len()), ("a", 2));
        assert_eq!(arguments(&["redis"]).unwrap().names, ["redis"]);
        assert!(arguments(&[]).is_err());
        assert!(arguments(&["--run"]).is_err());
    }

    #[test]
    fn every_server_that_tests_ask_for_has_a_variable() {
        for name in ["postgres", "redis", "mongo"] {
            let line = line(name, "h:1").unwrap();
            let (variable, url) = line.split_once('=').unwrap();
            assert_eq!(variable, format!("SYNC_TEST_{}_URL", name.to_uppercase()));
            assert!(url.contains("h:1"), "{url}");
        }
        assert!(line("oracle", "h:1").is_err());
    }
}
