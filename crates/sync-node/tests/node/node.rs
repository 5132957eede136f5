use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pollster::block_on;
use serde_json::Value;
use sync_store::{AnyStore, OpId, Operation, Page, SpaceName, StateKey, SyncOrder, SyncStore, Ts};
use tempfile::TempDir;

/// A directory, a migrated database in it, and the program pointed at it.
pub(crate) struct Node {
    directory: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Node {
    pub(crate) fn new() -> Self {
        let node = Self::unmigrated();
        node.run(&["migrate"]).ok();
        node
    }

    pub(crate) fn unmigrated() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The database's URL. No test crashes the machine, so none waits for the disk.
    pub(crate) fn url(&self) -> String {
        format!(
            "sqlite:{}?durability=normal",
            self.path("sync.db").display()
        )
    }

    /// The program in the directory, without a store and without the environment's settings.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-node"));
        let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("SYNC_NODE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.current_dir(self.directory()).stdin(Stdio::null());
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare();
        command.env("SYNC_NODE_STORE", self.url()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments))
    }

    /// Runs with `input` on standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        // A program that stops reading early closes the pipe; that is its business.
        let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
        let ran = Ran::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        ran
    }

    /// The store, as another process would open it.
    pub(crate) fn store(&self, space: &str) -> AnyStore {
        let space = SpaceName::new(space).unwrap();
        block_on(async {
            let backend = sync_store::connect(&self.url()).await.unwrap();
            backend.open(&space).await.unwrap()
        })
    }

    /// Applies pages to the default space.
    pub(crate) fn apply(&self, pages: impl IntoIterator<Item = Page>) {
        let store = self.store("default");
        for page in pages {
            let _ = block_on(store.apply(page)).unwrap();
        }
    }

    /// The complete dump of the default space.
    pub(crate) fn everything(&self) -> String {
        self.run(&["dump", "--all"]).ok()
    }

    /// How many rows, tombstones and state entries the default space has.
    pub(crate) fn holds(&self) -> (u64, u64, usize) {
        let status = self.run(&["status", "--space", "default", "--json"]).json();
        let space = &status["spaces"][0];
        let count = |name: &str| space[name].as_u64().unwrap();
        let state = space["state"].as_array().unwrap().len();
        (count("rows"), count("tombstones"), state)
    }
}

impl Ran {
    fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output of a run that was done.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Standard error of a run that ended with `code` and printed nothing.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        self.err
    }

    /// The one document of a run that was done, and said nothing else.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        self.document()
    }

    /// The one document of a run, however it ended.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        assert!(
            self.out.ends_with('\n') && !self.err.contains("error"),
            "{self:?}"
        );
        serde_json::from_str(&self.out).unwrap()
    }

    /// The error's kind and message of a run with `--json` that ended with `code`.
    #[track_caller]
    pub(crate) fn error(self, code: i32) -> (String, String) {
        assert_eq!(self.code, code, "{self:?}");
        let document = self.document();
        let error = &document["error"];
        assert_eq!(document.as_object().unwrap().len(), 1);
        assert_eq!(error["retry"], if code == 3 { "later" } else { "never" });
        assert!(error["causes"].is_array());
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }
}

pub(crate) fn finish(mut command: Command) -> Ran {
    Ran::of(command.output().unwrap())
}

pub(crate) fn id(n: u8) -> OpId {
    OpId::new([n; 32])
}

pub(crate) fn hex(n: u8) -> String {
    id(n).to_string()
}

pub(crate) fn ts(n: u64) -> Ts {
    Ts::new(n).unwrap()
}

pub(crate) fn order(n: u64) -> SyncOrder {
    SyncOrder::new(n).unwrap()
}

pub(crate) fn key(key: &str) -> StateKey {
    StateKey::new(key).unwrap()
}

/// An operation whose ts and payload follow from `n`.
pub(crate) fn op(n: u8) -> Operation {
    Operation::new(id(n), ts(1_000 + u64::from(n)), format!("payload {n}"))
}

/// The line of `op(n)` in a dump, with its newline.
pub(crate) fn line(n: u8) -> String {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::STANDARD.encode(format!("payload {n}"));
    format!(
        "{{\"id\":\"{}\",\"ts\":{},\"object\":null,\"syncOrder\":null,\"payload\":\"{payload}\"}}\n",
        hex(n),
        1_000 + u64::from(n)
    )
}
