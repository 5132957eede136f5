//! Other processes: the test program starts itself again with a task.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::calls::Calls;
use crate::cases;
use crate::failure::{Failure, Verdict};
use crate::harness::{Database, Harness};
use crate::rig::{Db, Run};

/// The suite whose worker the process is; absent in the process that a person started.
const SUITE: &str = "SYNC_CONFORMANCE_SUITE";
/// Which task a worker has.
const TASK: &str = "SYNC_CONFORMANCE_WORKER";
/// By what the worker finds its database.
const LOCATOR: &str = "SYNC_CONFORMANCE_LOCATOR";
/// The task's argument.
const ARGUMENT: &str = "SYNC_CONFORMANCE_ARGUMENT";
/// Marks the lines a worker says, among those that its backend may print.
const SAYS: &str = "worker says: ";

/// A process that works on a database of this one.
pub(crate) struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a process that does `task` with `argument` on the database.
    pub(crate) fn start<H: Harness>(
        db: &Db<'_, H>,
        task: &'static str,
        argument: impl AsRef<OsStr>,
    ) -> Verdict<Self> {
        let Some(suite) = db.run.suite else {
            return Err(Failure::new(
                "the case starts processes and can only run inside `suite!`",
            ));
        };
        let Some(locator) = db.database.locator() else {
            return Err(Failure::new("declares processes and has no locator"));
        };
        let mut child = Command::new(env::current_exe()?)
            .env(SUITE, suite)
            .env(TASK, task)
            .env(LOCATOR, locator)
            .env(ARGUMENT, argument)
            .env_remove(crate::report::TABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::new("the worker has no output"));
        };
        let lines = BufReader::new(stdout).lines();
        Ok(Self { child, lines })
    }

    /// The next line the worker says, or `None` after the last.
    pub(crate) fn hear(&mut self) -> Verdict<Option<String>> {
        for line in self.lines.by_ref() {
            if let Some((_, said)) = line?.split_once(SAYS) {
                return Ok(Some(said.to_owned()));
            }
        }
        Ok(None)
    }

    /// Ends the worker abruptly: `SIGKILL`, without any of its destructors.
    pub(crate) fn kill(mut self) -> Verdict {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until the worker has ended, and answers the rest of what it said and how it ended.
    pub(crate) fn end(mut self) -> Verdict<(Vec<String>, ExitStatus, String)> {
        let mut said = Vec::new();
        while let Some(line) = self.hear()? {
            said.push(line);
        }
        let mut complaint = Vec::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_end(&mut complaint)?;
        }
        let status = self.child.wait()?;
        Ok((
            said,
            status,
            String::from_utf8_lossy(&complaint).into_owned(),
        ))
    }

    /// Waits for a worker that must succeed.
    pub(crate) fn succeed(self) -> Verdict<Vec<String>> {
        let (said, status, complaint) = self.end()?;
        if status.success() {
            Ok(said)
        } else {
            Err(Failure::new(format!(
                "the worker failed: {status}: {complaint}"
            )))
        }
    }
}

/// A case that fails half way leaves no process behind.
impl Drop for Worker {
    fn drop(&mut self) {
        // Neither fails for a reason that anybody could do something about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says a line to the process that started this one.
pub(crate) fn say(line: &str) {
    println!("{SAYS}{line}");
}

/// The suite whose worker this process is, where it is one.
pub(crate) fn suite() -> Option<String> {
    env::var(SUITE).ok()
}

/// Does the task of this process.
pub(crate) fn work<H: Harness>() -> Verdict {
    let read = |name| env::var(name).map_err(|_| Failure::new(format!("{name} is not set")));
    let (task, locator, argument) = (read(TASK)?, read(LOCATOR)?, read(ARGUMENT)?);
    let harness = H::default();
    let db = Db {
        database: harness.attach(&locator)?,
        run: Run {
            harness: &harness,
            calls: &Calls::default(),
            suite: None,
        },
    };
    cases::work(&task, &db, &argument)
}
