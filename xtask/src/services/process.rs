//! Processes that outlive the command that started them, recognised again before they are stopped.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// How long a server may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How often a process that was told to stop is looked at.
const POLL: Duration = Duration::from_millis(10);

/// One process. A number alone is given again to another one; together with when the process
/// started it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pid: i32,
    birth: String,
}

impl Identity {
    /// The running process of this number. One that has ended, and only waits to be noticed by its
    /// parent, is not running.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let birth = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(boot) => {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                format!("{} {}", start_of_stat(&stat)?, boot.trim())
            }
            Err(_) => start_by_ps(pid)?,
        };
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, birth })
    }

    /// This process.
    pub(super) fn own() -> Result<Self> {
        Self::of(std::process::id()).context("this process is not in the process table")
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn is_running(&self) -> bool {
        u32::try_from(self.pid)
            .ok()
            .and_then(Self::of)
            .is_some_and(|found| found == *self)
    }

    /// Gives the process time to end by itself, then stops it and the group that it leads.
    pub(super) fn stop_after(&self, limit: Duration, gently: Signal) -> Result<()> {
        if self.ends_within(limit) {
            return Ok(());
        }
        self.stop(gently)
    }

    /// Stops the process and the group that it leads: gently, then without asking.
    pub(super) fn stop(&self, gently: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        // A process that ends between the look and the signal is what was wanted.
        if self.is_running() {
            let _ = kill_process_group(pid, gently);
        }
        if self.ends_within(GRACE) {
            return Ok(());
        }
        let _ = kill_process_group(pid, Signal::KILL);
        if self.ends_within(GRACE) {
            return Ok(());
        }
        bail!("process {} does not end", self.pid)
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > limit {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }
}

/// When the process of this line of `/proc/<pid>/stat` started, in ticks since the machine did.
/// The second field is the program's name in brackets and may hold anything, brackets included.
pub(super) fn start_of_stat(stat: &str) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // State is the third field and the start the twenty-second.
    (state != "Z" && state != "X")
        .then(|| fields.nth(18))
        .flatten()
}

/// The same where there is no `/proc`.
fn start_by_ps(pid: u32) -> Option<String> {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let (state, start) = line.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| start.trim().to_owned())
}
