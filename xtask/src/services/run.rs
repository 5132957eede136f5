//! The servers that one command started, and a record of them on disk. The record is written
//! before the thing it names is made, so that everything that a killed command leaves can be found.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::compose::Project;
use super::containers::Containers;
use super::home::Home;
use super::process::Identity;
use super::provider::Provider;
use super::server::Server;

const RECORD: &str = "run.json";

/// How long a program may take to remove what it started, once its standard input has ended.
const FAREWELL: Duration = Duration::from_secs(30);

/// How often a process that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A server that answers.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(super) server: Server,
    pub(super) provider: Provider,
    /// `PostgreSQL 18.4`, where known.
    pub(super) version: Option<String>,
    /// Host and port.
    pub(super) address: Option<String>,
    /// May hold a password: for the environment of tests, not for messages.
    pub(super) url: String,
    /// Where its programs and their companions lie, if it was started from programs.
    #[serde(default)]
    pub(super) programs: Option<PathBuf>,
}

/// What has to go when a server is stopped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holding {
    /// A server, or a command that prepares one.
    Process(Identity),
    /// The pooler in front of a server.
    Pooler(Identity),
    /// What ends when its standard input does.
    Program(Identity),
    Project(Project),
    Containers(Containers),
    Folder(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Record {
    owner: Identity,
    /// The servers stay when their owner ends.
    kept: bool,
    holdings: Vec<(Server, Holding)>,
    servers: Vec<Running>,
}

pub(super) struct Run {
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    record: Record,
    children: Vec<Child>,
    /// No process may be started any more.
    closed: bool,
    /// Ctrl-C was pressed: another thread ends this process.
    interrupted: bool,
}

impl Run {
    /// A run of this process that holds nothing yet.
    pub(super) fn begin(home: &Home) -> Result<Self> {
        let _lock = home.lock()?;
        let run = Self {
            folder: home.new_run()?,
            state: Mutex::new(State {
                record: Record {
                    owner: Identity::own()?,
                    kept: false,
                    holdings: Vec::new(),
                    servers: Vec::new(),
                },
                children: Vec::new(),
                closed: false,
                interrupted: false,
            }),
        };
        fs::create_dir(&run.folder).with_context(|| run.folder.display().to_string())?;
        run.save(&run.state().record)?;
        Ok(run)
    }

    /// A run that another process has begun; none if it is gone by now.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let record = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            state: Mutex::new(State {
                record,
                children: Vec::new(),
                closed: true,
                interrupted: false,
            }),
        }))
    }

    /// A name for what belongs to a server of this run.
    pub(super) fn name_for(&self, server: Server) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        format!("{}-{server}", name.to_string_lossy())
    }

    /// Whether its servers are to stay without the command that started them.
    pub(super) fn is_kept(&self) -> bool {
        self.state().record.kept
    }

    /// The process that stops these servers when it ends, if it still runs.
    pub(super) fn owner(&self) -> Option<i32> {
        let owner = self.state().record.owner.clone();
        owner.is_running().then(|| owner.pid())
    }

    pub(super) fn servers(&self) -> Vec<Running> {
        self.state().record.servers.clone()
    }

    /// Leaves the servers running when this process ends.
    pub(super) fn keep(&self) -> Result<()> {
        let mut state = self.state();
        state.record.kept = true;
        self.save(&state.record)
    }

    /// Makes a folder that goes with the run.
    pub(super) fn create_folder(&self, server: Server, home: &Home) -> Result<PathBuf> {
        let folder = home.data(&self.name_for(server));
        let mut state = self.state();
        self.hold_in(&mut state, server, Holding::Folder(folder.clone()))?;
        // Under the lock: a stop of the run must not miss what is made here.
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o700)))
            .with_context(|| folder.display().to_string())?;
        home.account.give(&folder)?;
        Ok(folder)
    }

    /// Records a thing before it is made.
    pub(super) fn hold(&self, server: Server, holding: Holding) -> Result<()> {
        self.hold_in(&mut self.state(), server, holding)
    }

    /// What a process of this run prints, if it was started with a pipe.
    pub(super) fn take_output(&self, pid: u32) -> Result<ChildStdout> {
        let mut state = self.state();
        let child = state.children.iter_mut().find(|child| child.id() == pid);
        let output = child.and_then(|child| child.stdout.take());
        output.context("a process without a pipe")
    }

    /// Starts a process in a group of its own, which Ctrl-C at the terminal does not reach.
    /// `holding` says how it is stopped.
    pub(super) fn spawn(
        &self,
        server: Server,
        holding: fn(Identity) -> Holding,
        command: &mut Command,
    ) -> Result<u32> {
        let mut state = self.state();
        ensure_open(&state)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().context(program)?;
        let pid = child.id();
        // One that has ended already leaves nothing to stop.
        if let Some(identity) = Identity::of(pid) {
            state.record.holdings.push((server, holding(identity)));
        }
        state.children.push(child);
        self.save(&state.record)?;
        Ok(pid)
    }

    /// How a process of this run ended; none if it runs.
    pub(super) fn exit_status(&self, pid: u32) -> Result<Option<ExitStatus>> {
        let mut state = self.state();
        let child = state.children.iter_mut().find(|child| child.id() == pid);
        let child = child.context("a process of another run")?;
        Ok(child.try_wait()?)
    }

    /// Waits until a process of this run ends; none if it does not in time.
    pub(super) fn wait(&self, pid: u32, limit: Duration) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            let status = self.exit_status(pid)?;
            if status.is_some() || started.elapsed() > limit {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Notes a server that answers.
    pub(super) fn add(&self, running: Running) -> Result<()> {
        let mut state = self.state();
        ensure_open(&state)?;
        state.record.servers.push(running);
        self.save(&state.record)
    }

    /// Stops everything because the process is about to end.
    pub(super) fn interrupt(&self) -> Result<()> {
        self.state().interrupted = true;
        self.stop(&[])
    }

    /// Whether another thread stops this run and then ends the process.
    pub(super) fn is_interrupted(&self) -> bool {
        self.state().interrupted
    }

    /// Stops servers and removes what they leave; all of the run if `only` is empty.
    pub(super) fn stop(&self, only: &[Server]) -> Result<()> {
        let mut state = self.state();
        let chosen = |server: Server| only.is_empty() || only.contains(&server);
        state.closed |= only.is_empty();
        if only.is_empty() {
            // Programs that wait for it end.
            for child in &mut state.children {
                drop(child.stdin.take());
            }
        }
        let mut failed = None;
        let mut left = Vec::new();
        // What was made last goes first: a process before the folder it writes to.
        for (server, holding) in state.record.holdings.drain(..).rev() {
            if !chosen(server) {
                left.push((server, holding));
            } else if let Err(error) = holding.release(server) {
                failed = Some(error);
                left.push((server, holding));
            }
        }
        left.reverse();
        state.record.holdings = left;
        state
            .record
            .servers
            .retain(|running| !chosen(running.server));
        for child in &mut state.children {
            let _ = child.try_wait();
        }
        if state.record.holdings.is_empty() && (only.is_empty() || state.record.servers.is_empty())
        {
            remove(&self.folder)?;
        } else {
            self.save(&state.record)?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn hold_in(&self, state: &mut State, server: Server, holding: Holding) -> Result<()> {
        ensure_open(state)?;
        state.record.holdings.push((server, holding));
        self.save(&state.record)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the record in one step. Only its owner may read it: URLs hold passwords.
    fn save(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        let new = self.folder.join("run.json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| new.display().to_string())?;
        file.write_all(&text)?;
        fs::rename(&new, self.folder.join(RECORD))?;
        Ok(())
    }
}

impl Holding {
    fn release(&self, server: Server) -> Result<()> {
        match self {
            Self::Process(identity) => identity.stop(match server {
                // Its fast shutdown: sessions are ended instead of waited for.
                Server::Postgres => Signal::INT,
                Server::Redis | Server::Mongo => Signal::TERM,
            }),
            // Its other signals make it wait for its clients.
            Self::Pooler(identity) => identity.stop(Signal::TERM),
            Self::Program(identity) => identity.stop_after(FAREWELL, Signal::TERM),
            Self::Project(project) => project.down(),
            Self::Containers(containers) => containers.remove(),
            Self::Folder(folder) => remove(folder),
        }
    }
}

/// Stops what commands left that were killed before they could.
pub(super) fn sweep(home: &Home) -> Result<()> {
    let _lock = home.lock()?;
    for folder in home.runs()? {
        let Some(run) = Run::open(&folder)? else {
            // Killed before it wrote its record: it held nothing.
            remove(&folder)?;
            continue;
        };
        if !run.is_kept() && run.owner().is_none() {
            for running in run.servers() {
                eprintln!("{}: left by a killed command, stopped", running.server);
            }
            run.stop(&[])?;
        }
    }
    Ok(())
}

fn ensure_open(state: &State) -> Result<()> {
    if state.closed {
        bail!("interrupted");
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
