use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sync_tests::databases::Database;

/// The program, pointed at a space of a database.
pub(crate) struct Node<'d> {
    database: &'d Database,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    output: Output,
}

impl<'d> Node<'d> {
    pub(crate) fn on(database: &'d Database) -> Self {
        Self { database }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.feed(arguments, "")
    }

    /// Runs with `input` on standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        finish(self.command(arguments), input)
    }

    /// Runs until it has ended, or until it is killed after `moment`.
    pub(crate) fn killed_after(&self, arguments: &[&str], moment: Duration) {
        let mut child = self.command(arguments).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .env("SYNC_NODE_STORE", self.database.url())
            .env("SYNC_NODE_SPACE", self.database.space().as_str());
        command
    }
}

/// A run without a store.
pub(crate) fn bare(arguments: &[&str]) -> Ran {
    finish(program(arguments), "")
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-node"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNC_NODE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finish(mut command: Command, input: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that stops reading early closes the pipe; that is its business.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran { output }
}

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    /// Standard output of a run that was done.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.output.status.success(), "{self:?}");
        String::from_utf8(self.output.stdout).unwrap()
    }
}
