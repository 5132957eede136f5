//! Replica sets of one's own: private servers, which go with the value.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use sync_mongo::mongodb;
use tempfile::TempDir;

use crate::server::Server;

const VARIABLE: &str = "SYNC_TEST_MONGO_BIN";
const READY: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
pub(crate) const NAME: &str = "faults";

/// A running `mongod`.
pub(crate) struct Mongod {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Mongod {
    /// Starts a server with `arguments` beside those that say where it is.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let account = account();
        give(folder.path(), account);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        let child = spawn(folder.path(), port, &arguments);
        let server = Self {
            child,
            port,
            folder,
            arguments,
        };
        server.wait_until_it_answers();
        server
    }

    /// Starts it again on the same data, after it has died.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.folder.path(), self.port, &self.arguments);
        self.wait_until_it_answers();
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection to this server and no other.
    pub(crate) fn direct(&self) -> Server {
        Server::new(format!(
            "mongodb://{}/?directConnection=true&serverSelectionTimeoutMS=2000",
            self.address()
        ))
    }

    /// Ends it without any warning.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it took back something that only it had.
    pub(crate) fn has_rolled_back(&self) -> bool {
        self.folder.path().join("data/rollback").is_dir()
    }

    fn wait_until_it_answers(&self) {
        let began = Instant::now();
        while self.direct().admin(doc! { "ping": 1 }).is_err() {
            assert!(began.elapsed() < READY, "no answer:\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        lines.join("\n")
    }
}

/// Also where a test panics.
impl Drop for Mongod {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A replica set.
pub(crate) struct ReplicaSet {
    pub(crate) members: Vec<Mongod>,
}

impl ReplicaSet {
    pub(crate) fn start(members: usize) -> Self {
        let arguments = ["--replSet", NAME];
        let members: Vec<_> = (0..members).map(|_| Mongod::start(&arguments)).collect();
        let hosts: Vec<_> = (0_i32..)
            .zip(&members)
            .map(|(id, member)| doc! { "_id": id, "host": member.address() })
            .collect();
        let settings = doc! { "electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 300 };
        let config = doc! { "_id": NAME, "members": hosts, "settings": settings };
        let first = members.first().expect("a member").direct();
        first
            .admin(doc! { "replSetInitiate": config })
            .expect("the set is initiated");
        let set = Self { members };
        set.wait_for_primary();
        set
    }

    /// The URL of a database on the set.
    pub(crate) fn url(&self, database: &str) -> String {
        let hosts: Vec<_> = self.members.iter().map(Mongod::address).collect();
        let hosts = hosts.join(",");
        format!(
            "mongodb://{hosts}/{database}?replicaSet={NAME}&serverSelectionTimeoutMS=2000\
             &heartbeatFrequencyMS=500"
        )
    }

    /// The index of the member that is the primary now.
    pub(crate) fn primary(&self) -> Option<usize> {
        self.members.iter().position(|member| {
            let hello = member.direct().admin(doc! { "hello": 1 });
            hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or_default())
        })
    }

    pub(crate) fn wait_for_primary(&self) -> usize {
        let began = Instant::now();
        loop {
            if let Some(primary) = self.primary() {
                return primary;
            }
            assert!(began.elapsed() < READY, "no primary");
            thread::sleep(POLL);
        }
    }

    /// Lets commands of one server fail.
    pub(crate) fn fail(&self, mode: Document, data: Document) {
        let point = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        self.configure(point);
    }

    pub(crate) fn fail_no_more(&self) {
        self.configure(doc! { "configureFailPoint": "failCommand", "mode": "off" });
    }

    fn configure(&self, point: Document) {
        let first = self.members.first().expect("a member").direct();
        first.admin(point).expect("the fail point is set");
    }
}

fn spawn(folder: &Path, port: u16, arguments: &[String]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    let data = folder.join("data");
    if !data.is_dir() {
        fs::create_dir(&data).expect("a folder");
    }
    give(&data, account());
    let mut command = Command::new(program());
    command
        .arg("--dbpath")
        .arg(&data)
        .args(["--bind_ip", "127.0.0.1", "--nounixsocket"])
        .args(["--port", &port.to_string()])
        .args(["--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"])
        .args(["--setParameter", "enableTestCommands=1"])
        .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    if let Some((uid, gid)) = account() {
        command.uid(uid).gid(gid);
    }
    command.spawn().expect("mongod starts")
}

fn program() -> PathBuf {
    let folder = env::var_os(VARIABLE).unwrap_or_else(|| {
        panic!(
            "{VARIABLE} names no folder with mongod; `eval \"$(cargo xtask services env)\"` sets it"
        )
    });
    PathBuf::from(folder).join("mongod")
}

/// Whom servers run as: root runs none.
fn account() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").expect("this process").uid();
    if own != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("the accounts");
    let line = accounts.lines().find(|line| line.starts_with("nobody:"));
    let mut ids = line?.split(':').skip(2).map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

fn give(path: &Path, account: Option<(u32, u32)>) {
    if let Some((uid, gid)) = account {
        chown(path, Some(uid), Some(gid)).expect("the folder is handed over");
    }
}

/// A file with the key that members of a set with passwords share.
pub(crate) fn key_file() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("key");
    fs::write(&path, "c2VjcmV0b2ZhdGVzdA==").expect("a key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("a key");
    give(&path, account());
    give(folder.path(), account());
    folder
}
