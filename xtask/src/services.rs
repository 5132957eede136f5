//! `cargo xtask services`: databases for tests, and the same for other commands that need them.
//!
//! A run is what one command started. It is recorded under `target/services/runs` before it is
//! there, and stopped when the command ends, is interrupted, or, if it was killed, by the next one.

mod account;
mod actions;
mod ask;
mod cluster;
mod compose;
mod containers;
mod edition;
mod external;
mod fetch;
mod home;
mod local;
mod pooler;
mod process;
mod programs;
mod provider;
mod run;
mod server;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod workdir;

use std::ffi::OsStr;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args as ClapArgs, Subcommand};

use crate::backend::BackendName;
use crate::workspace::{Package, Workspace};

use edition::Edition;
use fetch::Release;
use home::Home;
use local::Program;
use provider::{Answer, Choice, Provider, choose};
use run::{Run, Running};
use server::Server;

pub(crate) use ask::PROGRAM as SERVERS_PROGRAM;
pub(crate) use home::{memory, name_of};

/// How long a server that was started earlier may take to take a connection.
const ANSWER: Duration = Duration::from_secs(5);

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
    /// A release to use, one per server. Fetched are postgres-18, postgres-16, valkey-9, redis-6.2
    /// and mongodb-6; others have to be in PATH, like postgres-15. `-pgbouncer` behind one of
    /// PostgreSQL puts a pooler in front, `-durable` waits for the disk, `-cluster` behind one of
    /// Redis or Valkey makes three nodes
    #[arg(long = "release", value_name = "NAME", value_parser = Edition::parse)]
    editions: Vec<Edition>,
}

impl Options {
    fn edition(&self, server: Server) -> Option<&Edition> {
        self.editions
            .iter()
            .find(|edition| edition.server == server)
    }

    /// The providers to try for a server, in this order.
    fn order(&self, server: Server) -> Result<&'static [Provider]> {
        let Some(edition) = self.edition(server) else {
            return Ok(self.provider.order());
        };
        let Some(choice) = edition.choice(self.provider) else {
            bail!(
                "{}: a release is in PATH or, if it is pinned, fetched, and --provider asks for \
                 another place",
                edition.name
            );
        };
        Ok(choice.order())
    }

    /// That each release is asked for once, and of one of these servers.
    fn check(&self, servers: &[Server]) -> Result<()> {
        for edition in &self.editions {
            let (name, server) = (&edition.name, edition.server);
            ensure!(
                servers.contains(&server),
                "--release {name}: nothing here needs {server}"
            );
            let rivals = self.editions.iter().filter(|other| other.server == server);
            ensure!(
                rivals.count() == 1,
                "--release {name}: there is one server of {server}, and another release is asked for"
            );
        }
        Ok(())
    }
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let home = Home::of(workspace)?;
    run::sweep(&home)?;
    match &args.action {
        Action::Up { servers, options } => actions::up(&home, servers, options),
        Action::Down { servers } => actions::down(&home, servers),
        Action::Status => actions::status(&home),
        Action::Env { servers } => actions::print_environment(&home, servers),
    }
}

/// Servers that answer. Those that were started for this are stopped when it goes.
pub(crate) struct Services {
    run: Option<Arc<Run>>,
    servers: Vec<Running>,
    /// Where the programs of these servers lie, as far as they were looked for.
    programs: Vec<(Server, PathBuf)>,
}

impl Services {
    /// A server for each backend that needs one. If none does, no file is read or written.
    /// `program` is [`SERVERS_PROGRAM`], if a build has left it already.
    pub(crate) fn ensure(
        workspace: &Workspace,
        backends: &[BackendName],
        options: &Options,
        program: Option<&Path>,
    ) -> Result<Self> {
        let servers: Vec<_> = backends.iter().copied().filter_map(Server::of).collect();
        options.check(&servers)?;
        if servers.is_empty() {
            return Ok(Self {
                run: None,
                servers: Vec::new(),
                programs: Vec::new(),
            });
        }
        let home = Home::of(workspace)?.with_servers_program(program);
        run::sweep(&home)?;
        Self::start(&home, &servers, options)
    }

    /// Looks for the programs of these servers, fetching those that this machine lacks, for tests
    /// that start servers of their own. Answers which programs no provider has, and how to get them.
    pub(crate) fn find_programs(&mut self, workspace: &Workspace) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for running in &self.servers {
            let home = Home::of(workspace)?;
            match programs::find(running.server, &home, running.programs.as_deref())? {
                Ok(folder) => self.programs.push((running.server, folder)),
                Err(reason) => missing.push(reason),
            }
        }
        Ok(missing)
    }

    /// The variables that tell tests where the servers are, and their programs.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let servers = self
            .servers
            .iter()
            .map(|running| (running.server.variable(), running.url.as_ref()));
        let programs = self
            .programs
            .iter()
            .map(|(server, folder)| (server.programs_variable(), folder.as_os_str()));
        servers.chain(programs)
    }

    /// What the server of a backend is, where there is one: `PostgreSQL 18.4`.
    pub(crate) fn version(&self, backend: BackendName) -> Option<&str> {
        let server = Server::of(backend)?;
        let running = self.servers.iter().find(|found| found.server == server)?;
        running.version.as_deref()
    }

    fn start(home: &Home, servers: &[Server], options: &Options) -> Result<Self> {
        let run = Arc::new(Run::begin(home)?);
        let mut services = Self {
            run: Some(Arc::clone(&run)),
            servers: Vec::new(),
            programs: Vec::new(),
        };
        ctrlc::set_handler(move || {
            eprintln!("\ninterrupted: stopping what was started");
            if let Err(error) = run.interrupt() {
                eprintln!("error: {error:#}");
            }
            std::process::exit(INTERRUPTED);
        })?;
        for &server in servers {
            services.add(home, server, options)?;
        }
        Ok(services)
    }

    fn add(&mut self, home: &Home, server: Server, options: &Options) -> Result<()> {
        let run = self.run.as_ref().context("a run")?;
        let order = options.order(server)?;
        let (running, reasons) = choose(order, |provider| {
            provide(home, run, server, provider, options)
        })?;
        let running =
            running.with_context(|| nowhere(server, options.edition(server), &reasons))?;
        for reason in reasons {
            eprintln!("{server}: not {reason}");
        }
        if !matches!(running.provider, Provider::Env | Provider::Up) {
            run.add(running.clone())?;
        }
        eprintln!("{}, {}", describe(&running), running.provider);
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

/// The arguments of a cargo command that let it build [`SERVERS_PROGRAM`] too, for the backends among
/// these packages that need a server: together with their tests, so that no driver is compiled twice.
pub(crate) fn build_servers_program(packages: &[&Package]) -> Vec<String> {
    let names: Vec<_> = packages.iter().map(|package| &*package.name).collect();
    let backends = BackendName::ALL.into_iter();
    let needed = backends.filter(|backend| names.contains(&&*backend.package_name()));
    ask::build(needed.filter_map(Server::of))
}

/// A server from this provider, started if need be; or the reason why it has none.
fn provide(
    home: &Home,
    run: &Run,
    server: Server,
    provider: Provider,
    options: &Options,
) -> Result<Answer<Running>> {
    let edition = options.edition(server);
    let program = match provider {
        Provider::Env => return external::find(server, home),
        Provider::Up => return find_up(home, server),
        Provider::Compose => return compose::start(home.root(), run, server),
        Provider::Containers => return containers::start(home.root(), run, server),
        Provider::Path => Program::in_path(server, edition, home),
        Provider::Fetched => {
            let pinned = edition.and_then(|edition| edition.pinned);
            match pinned.or_else(|| Release::default_of(server)) {
                Some(release) => Program::fetched(release, home)?,
                None => Err("no release is pinned".to_owned()),
            }
        }
    };
    let setup = edition.map(|edition| edition.setup).unwrap_or_default();
    program
        .map(|program| program.start(run, home, setup, provider))
        .map_or_else(|reason| Ok(Err(reason)), |started| started.map(Ok))
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
                Ok(()) => return Ok(Ok(running)),
                Err(error) => reason = format!("{} does not answer: {error:#}", place(&running)),
            }
        }
    }
    Ok(Err(reason))
}

/// That it takes connections.
fn answers(running: &Running) -> Result<()> {
    let address = running.address.as_deref().context("no address")?;
    let address = address.to_socket_addrs()?.next().context("no address")?;
    TcpStream::connect_timeout(&address, ANSWER)?;
    Ok(())
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
fn nowhere(server: Server, edition: Option<&Edition>, reasons: &[String]) -> String {
    let reasons = reasons.join("\n  ");
    let variable = server.variable();
    let programs = server.programs().join(" or ");
    if let Some(Edition { release, .. }) = edition {
        return format!(
            "there is no {release}:\n  {reasons}\nput the folder with its {programs} into PATH; \
             `--help` names the releases that are fetched"
        );
    }
    format!(
        "there is no server for {server}:\n  {reasons}\none of these gives one: set {variable} to \
         the URL of a server that tests may fill; start a container engine with docker compose; \
         put {programs} into PATH; install Python with pip, and the program is fetched"
    )
}
