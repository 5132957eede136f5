//! `cargo xtask services`: databases for tests, and the same for other commands that need them.
//!
//! A run is what one command started. It is recorded under `target/services/runs` before it is
//! there, and stopped when the command ends, is interrupted, or, if it was killed, by the next one.

mod account;
mod bson;
mod compose;
mod external;
mod home;
mod local;
mod process;
mod provider;
mod run;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod wheel;
mod wire;

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use clap::{Args as ClapArgs, Subcommand};

use crate::backend::BackendName;
use crate::workspace::Workspace;

use compose::Compose;
use home::Home;
use local::Program;
use provider::{Answer, Choice, Chosen, Provider, choose};
use run::{Run, Running};
use server::Server;
use wheel::{RELEASES, Release};

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start servers that stay until `down`
    Up {
        /// The servers; all of them unless given
        servers: Vec<Server>,
        #[command(flatten)]
        options: Options,
    },
    /// Stop what `up` started and what killed commands left
    Down {
        /// The servers; all of them unless given
        servers: Vec<Server>,
    },
    /// Show the servers of this checkout and whether they answer
    Status,
    /// Print the lines that tell tests where the servers are: `eval "$(cargo xtask services env)"`
    Env {
        /// The servers; all that are up unless given
        servers: Vec<Server>,
    },
}

/// Where servers come from.
#[derive(ClapArgs, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Where servers come from
    #[arg(long, value_enum, default_value_t)]
    provider: Choice,
    /// A pinned release to fetch instead of looking elsewhere, one per server: postgres-16 …
    #[arg(long = "release", value_name = "NAME", value_parser = parse_release, conflicts_with = "provider")]
    releases: Vec<&'static Release>,
}

fn parse_release(name: &str) -> Result<&'static Release, String> {
    Release::find(name).ok_or_else(|| {
        let names: Vec<_> = RELEASES.iter().map(|release| release.name).collect();
        format!("expected {}", names.join(", "))
    })
}

impl Options {
    fn release(&self, server: Server) -> Option<&'static Release> {
        self.releases
            .iter()
            .copied()
            .find(|release| release.server == server)
    }

    /// What is tried for a server, in this order.
    fn order(&self, server: Server) -> Result<&'static [Provider]> {
        match self.release(server) {
            Some(_) => Choice::Fetched.order(),
            None => self.provider.order(),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let home = Home::of(workspace)?;
    run::sweep(&home)?;
    match &args.action {
        Action::Up { servers, options } => up(workspace, &home, or_all(servers), options),
        Action::Down { servers } => down(&home, servers),
        Action::Status => status(&home),
        Action::Env { servers } => print_environment(&home, servers),
    }
}

fn or_all(servers: &[Server]) -> &[Server] {
    if servers.is_empty() {
        &Server::ALL
    } else {
        servers
    }
}

fn up(workspace: &Workspace, home: &Home, servers: &[Server], options: &Options) -> Result<()> {
    let mut missing = Vec::new();
    for &server in servers {
        match find_up(home, server)? {
            Answer::Yes(running) if options.order(server)?.contains(&Provider::Up) => {
                eprintln!("{}", describe(&running));
            }
            Answer::Yes(running) => bail!(
                "{}, from {}: `cargo xtask services down {server}` stops it",
                describe(&running),
                running.provider
            ),
            Answer::No(_) => missing.push(server),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let services = Services::start(workspace, home, &missing, options)?;
    services.keep()
}

fn down(home: &Home, servers: &[Server]) -> Result<()> {
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
                eprintln!("{}: stopping what is {}", running.server, place(&running));
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

fn status(home: &Home) -> Result<()> {
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
        if let Ok(Answer::Yes(running)) = external::find(server) {
            any = true;
            println!("{}, env: answers; somebody else's", describe(&running));
        }
    }
    if !any {
        println!("no server is up");
    }
    Ok(())
}

fn print_environment(home: &Home, servers: &[Server]) -> Result<()> {
    for &server in or_all(servers) {
        match find_up(home, server)? {
            Answer::Yes(running) => println!("{}", export(server.variable(), &running.url)),
            Answer::No(_) if servers.is_empty() => {}
            Answer::No(reason) => {
                bail!("{server}: {reason}: `cargo xtask services up {server}` starts one")
            }
        }
    }
    Ok(())
}

/// A line for a shell, in which a value may hold anything.
fn export(variable: &str, value: &str) -> String {
    format!("export {variable}='{}'", value.replace('\'', r"'\''"))
}

/// Servers that answer. Those that were started for this are stopped when it goes.
pub(crate) struct Services {
    run: Option<Arc<Run>>,
    servers: Vec<Running>,
}

impl Services {
    /// A server for each backend that needs one. If none does, nothing is looked at or written.
    pub(crate) fn ensure(
        workspace: &Workspace,
        backends: &[BackendName],
        options: &Options,
    ) -> Result<Self> {
        options.provider.order()?;
        let servers: Vec<_> = backends.iter().copied().filter_map(Server::of).collect();
        if servers.is_empty() {
            return Ok(Self {
                run: None,
                servers: Vec::new(),
            });
        }
        let home = Home::of(workspace)?;
        run::sweep(&home)?;
        Self::start(workspace, &home, &servers, options)
    }

    /// The variables that tell tests where the servers are.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.servers
            .iter()
            .map(|running| (running.server.variable(), running.url.as_str()))
    }

    /// What the server of a backend is, where there is one: `PostgreSQL 18.4`.
    pub(crate) fn version(&self, backend: BackendName) -> Option<&str> {
        let server = Server::of(backend)?;
        let running = self.servers.iter().find(|found| found.server == server)?;
        running.version.as_deref()
    }

    fn start(
        workspace: &Workspace,
        home: &Home,
        servers: &[Server],
        options: &Options,
    ) -> Result<Self> {
        let run = Arc::new(Run::begin(home)?);
        let mut services = Self {
            run: Some(Arc::clone(&run)),
            servers: Vec::new(),
        };
        ctrlc::set_handler(move || {
            eprintln!("\ninterrupted: stopping what was started");
            if let Err(error) = run.interrupt() {
                eprintln!("error: {error:#}");
            }
            std::process::exit(INTERRUPTED);
        })?;
        for &server in servers {
            services.add(workspace, home, server, options)?;
        }
        Ok(services)
    }

    fn add(
        &mut self,
        workspace: &Workspace,
        home: &Home,
        server: Server,
        options: &Options,
    ) -> Result<()> {
        let run = self.run.as_ref().context("a run")?;
        let order = options.order(server)?;
        let chosen = choose(order, |provider| {
            offer(workspace, home, server, provider, options)
        })?;
        let Chosen {
            provider,
            offer,
            passed_over,
        } = match chosen {
            Ok(chosen) => chosen,
            Err(reasons) => bail!("{}", nowhere(server, &reasons)),
        };
        for reason in passed_over {
            eprintln!("{server}: not {reason}");
        }
        let running = match offer {
            Offer::Running(running) => running,
            Offer::Compose(compose) => compose.start(run, server)?,
            Offer::Program(program) => program.start(run, home, server, provider)?,
        };
        if !matches!(provider, Provider::Env | Provider::Up) {
            run.add(running.clone())?;
        }
        eprintln!("{}, {provider}", describe(&running));
        self.servers.push(running);
        Ok(())
    }

    /// Leaves the servers running.
    fn keep(mut self) -> Result<()> {
        match self.run.take() {
            Some(run) if run.servers().is_empty() => run.stop(&[]),
            Some(run) => run.keep(),
            None => Ok(()),
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let Some(run) = &self.run else {
            return;
        };
        if let Err(error) = run.stop(&[]) {
            eprintln!("error: {error:#}");
        }
        // What failed because its server was stopped is not the news.
        while run.is_interrupted() {
            thread::park();
        }
    }
}

/// What a provider has.
enum Offer {
    Running(Running),
    Compose(Compose),
    Program(Program),
}

fn offer(
    workspace: &Workspace,
    home: &Home,
    server: Server,
    provider: Provider,
    options: &Options,
) -> Result<Answer<Offer>> {
    Ok(match provider {
        Provider::Env => external::find(server)?.map(Offer::Running),
        Provider::Up => find_up(home, server)?.map(Offer::Running),
        Provider::Compose => Compose::find(workspace.root(), server)?.map(Offer::Compose),
        Provider::Path => Program::in_path(server, home).map(Offer::Program),
        Provider::Fetched => {
            let release = options.release(server);
            match release.or_else(|| Release::default_of(server)) {
                Some(release) => Program::fetched(release, home)?.map(Offer::Program),
                None => Answer::No("no release is pinned".to_owned()),
            }
        }
    })
}

/// The server that an earlier `up` of this checkout started.
fn find_up(home: &Home, server: Server) -> Result<Answer<Running>> {
    let mut reason = "`services up` has not started one".to_owned();
    for folder in home.runs()? {
        let Some(run) = Run::open(&folder)?.filter(Run::is_kept) else {
            continue;
        };
        for running in run.servers() {
            if running.server != server {
                continue;
            }
            match answers(&running) {
                Ok(()) => return Ok(Answer::Yes(running)),
                Err(error) => reason = format!("{} does not answer: {error:#}", place(&running)),
            }
        }
    }
    Ok(Answer::No(reason))
}

fn answers(running: &Running) -> Result<()> {
    let address = running.address.as_deref().context("no address")?;
    wire::probe(running.server, address, None).map(|_| ())
}

/// `postgres: PostgreSQL 18.4 at 127.0.0.1:41234`, never the URL.
fn describe(running: &Running) -> String {
    let version = running.version.as_deref().unwrap_or("unknown version");
    format!("{}: {version} {}", running.server, place(running))
}

fn place(running: &Running) -> String {
    match &running.address {
        Some(address) => format!("at {address}"),
        None => format!("where {} says", running.server.variable()),
    }
}

/// Why there is no server, and how to get one.
fn nowhere(server: Server, reasons: &[String]) -> String {
    let reasons = reasons.join("\n  ");
    let variable = server.variable();
    let programs = server.programs().join(" or ");
    format!(
        "there is no server for {server}:\n  {reasons}\none of these gives one: set {variable} to \
         the URL of a server that tests may fill; start a container engine with docker compose; \
         put {programs} into PATH; install Python with pip, and the program is fetched"
    )
}
