//! Servers of a test's own: on loopback, on a free port, with data that is removed with them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use sync_postgres::tokio_postgres::Config;
use sync_postgres::{PostgresConfig, Tls};
use tempfile::TempDir;

use crate::server::Direct;

const BIN: &str = "SYNC_TEST_POSTGRES_BIN";
const PATIENCE: Duration = Duration::from_mins(1);
pub(crate) const PASSWORD: &str = "correct horse";

/// A server that ends with the value, also where a test panics.
pub(crate) struct Cluster {
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Cluster {
    /// A new server with nothing in it.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::unborn();
        let password = cluster.folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        give_away(&password);
        let mut command = program("initdb");
        command
            .arg("--pgdata")
            .arg(cluster.data())
            .arg("--pwfile")
            .arg(&password)
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C"]);
        finish(command);
        cluster.resume();
        cluster
    }

    fn unborn() -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self {
            folder,
            port: free.local_addr().unwrap().port(),
            running: None,
        }
    }

    /// A standby of this server, caught up.
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self::unborn();
        let mut command = program("pg_basebackup");
        command
            .arg("--pgdata")
            .arg(standby.data())
            .args([
                "--host=127.0.0.1",
                "--username=postgres",
                "--write-recovery-conf",
            ])
            .arg(format!("--port={}", self.port))
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"])
            .env("PGPASSWORD", PASSWORD);
        finish(command);
        standby.resume();
        standby
    }

    /// Starts the server again, and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut command = program("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=16MB",
            "dynamic_shared_memory_type=mmap",
            "wal_keep_size=256MB",
            &format!("port={}", self.port),
        ] {
            command.args(["-c", setting]);
        }
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        let begun = Instant::now();
        while let Err(error) = Direct::open_on(&self.server()).and_then(|d| d.run("SELECT 1")) {
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not answer: {error:?}\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn crash(&mut self) {
        if let Some(mut child) = self.running.take() {
            let kill = format!("kill -QUIT {}", child.id());
            let told = Command::new("sh").args(["-c", &kill]).status();
            if !told.is_ok_and(|status| status.success()) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }

    /// The driver's configuration for this server.
    pub(crate) fn server(&self) -> Config {
        let mut server = Config::new();
        server
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .password(PASSWORD)
            .dbname("postgres")
            .connect_timeout(Duration::from_secs(2));
        server
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        PostgresConfig::new(self.server()).tls(Tls::Disable)
    }

    pub(crate) fn direct(&self) -> Direct {
        Direct::open_on(&self.server()).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Waits until `done` answers true.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A program of the server's, run by an account that is not root.
fn program(name: &str) -> Command {
    let Ok(folder) = env::var(BIN) else {
        panic!(
            "{BIN} is not set: it names the folder with postgres, initdb and pg_basebackup, and \
             `cargo xtask services env` sets it for the server that `services up` started"
        );
    };
    let mut command = Command::new(Path::new(&folder).join(name));
    command.stdin(Stdio::null());
    if let Some((uid, gid)) = other_account() {
        command.uid(uid).gid(gid);
    }
    command
}

fn finish(mut command: Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

fn give_away(path: &Path) {
    if let Some((uid, gid)) = other_account() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// As root: the account without rights, because the server refuses to run as root.
fn other_account() -> Option<(u32, u32)> {
    let root = fs::metadata("/proc/self").ok()?.uid() == 0;
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let nobody = accounts.lines().find(|line| line.starts_with("nobody:"))?;
    let mut ids = nobody.split(':').skip(2).map(|id| id.parse().ok());
    let account = (ids.next()??, ids.next()??);
    root.then_some(account)
}
