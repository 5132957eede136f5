//! Private servers, which end with the test that started them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sync_redis::redis::{Client, Cmd, Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The account that servers run as where the test runs as root.
const NOBODY: u32 = 65_534;

/// A server on loopback, with its data in a directory of its own.
pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Server {
    /// Starts a server that keeps nothing on its disk, but for what the arguments say.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        if is_root() {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut server = Self {
            child: None,
            port: free_port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            directory,
        };
        server.run();
        server
    }

    /// Starts the server again, with its data and on its port.
    pub(crate) fn run(&mut self) {
        let directory = self.directory.path();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .unwrap();
        let mut command = Command::new(program());
        command
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(self.port.to_string())
            .args(["--save", "", "--dir"])
            .arg(directory)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        self.child = Some(command.spawn().unwrap());
        let answered = eventually(|| {
            match self.ask::<String>(&sync_redis::redis::cmd("PING")) {
                Ok(answer) => answer == "PONG",
                // It answers, and asks for a password.
                Err(error) => error.code() == Some("NOAUTH"),
            }
        });
        assert!(answered, "{}", self.log());
    }

    /// Ends the server's process without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A connection of the test's own.
    pub(crate) fn connection(&self) -> RedisResult<Connection> {
        Client::open(self.url())?.get_connection()
    }

    pub(crate) fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query(&mut self.connection()?)
    }

    /// Runs a command, given as words.
    pub(crate) fn run_command(&self, words: &str) {
        let mut parts = words.split(' ');
        let mut command = sync_redis::redis::cmd(parts.next().unwrap());
        parts.for_each(|part| {
            command.arg(part);
        });
        command.exec(&mut self.connection().unwrap()).unwrap();
    }

    /// A line of what the server says about itself.
    pub(crate) fn info(&self, field: &str) -> String {
        let info: String = self.ask(&sync_redis::redis::cmd("INFO")).unwrap();
        let prefix = format!("{field}:");
        let line = info.lines().find_map(|line| line.strip_prefix(&*prefix));
        line.unwrap_or_default().to_owned()
    }

    /// Makes the server follow another one, and waits until it has what that has.
    pub(crate) fn follow(&self, primary: &Self) {
        self.run_command(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
        let followed = eventually(|| {
            self.info("master_link_status") == "up"
                && self.info("slave_repl_offset") == primary.info("master_repl_offset")
        });
        assert!(followed, "{}", self.log());
    }

    /// Lets the server, a replica, hear nothing more from its primary, and keep what it has.
    pub(crate) fn cut_off(&self) {
        self.run_command(&format!("REPLICAOF 127.0.0.1 {}", free_port()));
        assert!(eventually(|| self.info("master_link_status") == "down"));
    }

    pub(crate) fn promote(&self) {
        self.run_command("REPLICAOF NO ONE");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks until it is so. Whether it was in time.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn program() -> PathBuf {
    let folder = std::env::var_os("SYNC_TEST_REDIS_BIN").unwrap_or_else(|| {
        panic!(
            "SYNC_TEST_REDIS_BIN names no folder with valkey-server or redis-server: run \
             `cargo xtask services up redis`, then `eval \"$(cargo xtask services env)\"`"
        )
    });
    let folder = PathBuf::from(folder);
    let names = ["valkey-server", "redis-server"];
    let mut programs = names.iter().map(|name| folder.join(name));
    programs
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("{} has no server", folder.display()))
}

/// A port without a listener, which another process is not likely to take at once.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // A node of a cluster listens on another one, 10,000 above.
        if port < 55_000 {
            return port;
        }
        let low = fastrand::u16(20_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, low)).is_ok()
            && TcpStream::connect((Ipv4Addr::LOCALHOST, low)).is_err()
        {
            return low;
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
