use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sync_mdip_simulator::Log;

use crate::node::Node;
use crate::upstream::{gatekeeper, log};

/// The longest anything here may take; a run that hangs ends the test.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that runs until it is told to end.
pub(crate) struct Daemon {
    child: Child,
    /// The lines of its standard error.
    said: Receiver<String>,
}

impl Daemon {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = lines(child.stderr.take().unwrap());
        Self { child, said }
    }

    /// Waits for a line that contains `part`, and answers it.
    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> String {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let line = self.said.recv_timeout(left).expect("it says nothing more");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Asks it to end, and answers its exit code and standard output.
    pub(crate) fn end(mut self, signal: &str) -> (i32, String) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        let mut out = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), out)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of one that has ended there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

fn follow(node: &Node, url: &str) -> Daemon {
    let mut command = node.command(&["hydrate", "--follow", "--interval", "1s", "--json"]);
    command.args(["--from", url, "--attempts", "1", "--progress-every", "0s"]);
    Daemon::start(command)
}

/// Waits until the space holds so many rows.
#[track_caller]
fn await_rows(node: &Node, rows: u64) {
    let began = Instant::now();
    let store = node.store("default");
    loop {
        let stats = pollster::block_on(sync_store::SyncStore::stats(&store)).unwrap();
        if stats.total == rows && stats.ordered == rows {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{stats:?} instead of {rows} rows"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// The public operations that are there in the end.
fn public(log: &Log) -> u64 {
    let public = |did: &&str| {
        let create = log.history(did).first().unwrap().operation();
        let create: Value = serde_json::from_str(create).unwrap();
        create["mdip"]["registry"] != "local"
    };
    let dids = log.dids().filter(public);
    dids.map(|did| log.history(did).len() as u64).sum()
}

#[test]
fn what_is_followed_is_kept_current_through_failures_until_it_is_asked_to_end() {
    let gatekeeper = gatekeeper(log(200));
    let rows = gatekeeper.change(|log| public(log));
    for signal in ["-TERM", "-INT"] {
        let node = Node::new();
        let daemon = follow(&node, gatekeeper.url());
        let before = gatekeeper.change(|log| public(log));
        await_rows(&node, before);
        gatekeeper.change(|log| {
            let did = log.create("hyperswarm");
            log.update(&did).unwrap();
        });
        await_rows(&node, before + 2);

        gatekeeper.fail_next(2);
        let said = daemon.says("next attempt is in 1 s");
        assert!(said.contains("source failed"), "{said}");
        daemon.says("next attempt is in 2 s");
        gatekeeper.change(|log| log.create("TBTC"));
        await_rows(&node, before + 3);

        let (code, out) = daemon.end(signal);
        assert_eq!(code, 0, "{out}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["phase"], "current");
        assert_eq!(report["unordered"], 0);
        node.run(&["verify"]).ok();
    }
    assert_eq!(gatekeeper.change(|log| public(log)), rows + 6);
}

#[test]
fn what_is_followed_is_left_when_it_can_never_go_on() {
    let gatekeeper = gatekeeper(log(200));
    let node = Node::new();
    let daemon = follow(&node, gatekeeper.url());
    await_rows(&node, gatekeeper.change(|log| public(log)));
    gatekeeper.change(Log::reset);
    let mut out = String::new();
    let mut daemon = daemon;
    let mut stdout = daemon.child.stdout.take().unwrap();
    stdout.read_to_string(&mut out).unwrap();
    assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["error"]["kind"], "sourceShrank");
}

#[test]
fn a_generated_log_is_served_until_the_end_is_asked_for() {
    let node = Node::new();
    let command = |address: &str| {
        let mut command = node.bare();
        command.args([
            "generate",
            "--operations",
            "100",
            "--json",
            "--serve",
            address,
        ]);
        command
    };
    let daemon = Daemon::start(command("127.0.0.1:0"));
    let line = daemon.says("serving 100 operations at http://127.0.0.1:");
    assert!(line.contains("for trying things out"), "{line}");
    let url = line
        .split(' ')
        .find(|word| word.starts_with("http://"))
        .unwrap();
    node.run(&["hydrate", "--from", url]).ok();
    let (code, out) = daemon.end("-TERM");
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&document["operations"], &document["url"]),
        (&100.into(), &url.into())
    );
    assert!(document["requests"].as_u64().unwrap() > 2, "{document}");

    let (kind, message) = crate::node::finish(command("0.0.0.0:0")).error(2);
    assert_eq!(kind, "usage");
    assert!(message.contains("loopback"), "{message}");
}
