//! Runs tests: each in a process of its own, several at once, and those that measure time alone.
//!
//! `cargo test` runs one test program after the other, so that a program whose tests wait for a
//! server or a timer holds up all others. Here a test that waits leaves the processor to the next
//! one, whatever program that is in.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::load::{Jobs, LOOK, Load};
use super::outcome::{Finished, Verdict};
use super::programs::Program;
use super::tally::Tally;
use super::times::Times;

/// A test that takes longer is killed and has failed. The slowest takes about two minutes on a busy
/// machine.
const LIMIT: Duration = Duration::from_mins(20);

/// How often a running test is looked at: soon after its start, and later.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(16);

/// A component of a test's path that says: it measures time, run nothing beside it.
pub(super) const ALONE: &str = "alone";

/// One process to run.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Names it in lines and in the file of times: package, program, test.
    label: String,
    alone: bool,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    Test {
        program: Arc<Program>,
        name: String,
    },
    /// The examples in the documentation, which rustdoc compiles and runs.
    Examples {
        arguments: Vec<String>,
    },
}

impl Task {
    /// The tests of a program.
    pub(super) fn all_of(program: Program) -> Result<Vec<Self>> {
        let program = Arc::new(program);
        let names = program.tests()?.into_iter();
        let tasks = names.map(|name| Self {
            label: format!("{} {} {name}", program.package, program.target),
            alone: name.split("::").any(|part| part == ALONE),
            work: Work::Test {
                program: Arc::clone(&program),
                name,
            },
        });
        Ok(tasks.collect())
    }

    /// The examples of the crates that these arguments of `cargo test` select.
    pub(crate) fn examples(arguments: &[String]) -> Self {
        Self {
            label: "examples in the documentation".to_owned(),
            alone: false,
            work: Work::Examples {
                arguments: arguments.to_owned(),
            },
        }
    }

    /// The test's own name: its path in the program.
    pub(crate) fn name(&self) -> &str {
        match &self.work {
            Work::Test { name, .. } => name,
            Work::Examples { .. } => &self.label,
        }
    }

    /// Package, program and name.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    fn command(&self) -> Command {
        match &self.work {
            Work::Test { program, name } => {
                let mut command = program.command();
                command.args(["--exact", name, "--nocapture"]);
                command
            }
            Work::Examples { arguments } => {
                let mut command = Command::new("cargo");
                command.args(["test", "--doc", "--no-fail-fast"]);
                command.args(arguments);
                command
            }
        }
    }

    /// What the process has shown by its end and by its closing lines.
    fn judge(&self, status: Option<ExitStatus>, log: &str) -> (Verdict, Tally) {
        let tally = Tally::of(log);
        let ran = match self.work {
            Work::Test { .. } => tally.ran() == 1,
            Work::Examples { .. } => tally.ran() > 0,
        };
        let verdict = match status {
            None => Verdict::Failed(format!("killed after {} s", LIMIT.as_secs())),
            Some(status) if !status.success() => Verdict::Failed(status.to_string()),
            Some(_) if !ran => Verdict::Failed("its program did not run it".to_owned()),
            Some(_) => Verdict::of_log(log),
        };
        (verdict, tally)
    }
}

/// How tasks are run.
pub(super) struct Runner<'a> {
    pub(super) jobs: Jobs,
    /// What tests find in their environment.
    pub(super) environment: Vec<(&'static str, &'a OsStr)>,
    /// Where the output of each running test goes, and stays if it fails.
    pub(super) logs: PathBuf,
}

impl Runner<'_> {
    /// Runs all tasks, the slowest of the last run first. Prints a line for each.
    pub(super) fn run(&self, tasks: Vec<Task>, times: &mut Times) -> Result<Vec<Finished>> {
        if self.logs.exists() {
            fs::remove_dir_all(&self.logs)?;
        }
        fs::create_dir_all(&self.logs).with_context(|| self.logs.display().to_string())?;
        let count = tasks.len();
        let (mut alone, mut together): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| task.alone);
        together.sort_by_key(|task| std::cmp::Reverse(times.expected(&task.label)));
        alone.sort_by(|a, b| a.label.cmp(&b.label));
        let mut finished = self.run_at_once(together, self.jobs)?;
        finished.extend(self.run_at_once(alone, Jobs::exactly(1))?);
        ensure!(
            finished.len() == count,
            "{} of {count} tests ran",
            finished.len()
        );
        for task in &finished {
            times.note(&task.label, task.took);
        }
        Ok(finished)
    }

    /// Runs tasks in this order, as many at once as `jobs` allows.
    fn run_at_once(&self, tasks: Vec<Task>, jobs: Jobs) -> Result<Vec<Finished>> {
        let mut waiting = VecDeque::from(tasks);
        let mut load = Load::default();
        let mut all = Vec::new();
        let (ended, endings) = mpsc::channel();
        thread::scope(|scope| {
            let mut running = 0;
            while running > 0 || !waiting.is_empty() {
                let free = running < jobs.at_least || running < jobs.at_most && load.is_idle();
                if free && let Some(task) = waiting.pop_front() {
                    let ended = ended.clone();
                    // It cannot fail: the receiver outlives the scope.
                    scope.spawn(move || drop(ended.send(self.run_one(&task))));
                    running += 1;
                    continue;
                }
                let ending = match endings.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    ending => ending?,
                };
                running -= 1;
                let finished = ending?;
                finished.print();
                all.push(finished);
            }
            Ok(all)
        })
    }

    fn run_one(&self, task: &Task) -> Result<Finished> {
        let path = self.logs.join(file_name(&task.label));
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let begun = Instant::now();
        let child = task
            .command()
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| task.label.clone())?;
        let status = wait(child)?;
        let took = begun.elapsed();
        let log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let (verdict, tally) = task.judge(status, &log);
        if !matches!(verdict, Verdict::Failed(_)) {
            fs::remove_file(&path)?;
        }
        Ok(Finished {
            label: task.label.clone(),
            took,
            verdict,
            tally,
            log,
        })
    }
}

/// How the process ended; none if it was killed because it took too long.
fn wait(mut child: Child) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    let mut pause = FIRST_POLL;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LAST_POLL);
    }
}

/// A file's name for a task: its label without what folders and shells read as their own.
fn file_name(label: &str) -> PathBuf {
    let name: String = label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '.'
            }
        })
        .collect();
    PathBuf::from(name + ".log")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;

    use super::*;

    const PASSED: &str = "test result: ok. 1 passed; 0 failed; 0 ignored";

    fn task() -> Task {
        Task {
            label: "sync-core sync_core a::b".to_owned(),
            alone: false,
            work: Work::Test {
                program: Arc::default(),
                name: "a::b".to_owned(),
            },
        }
    }

    fn verdict(status: Option<i32>, log: &str) -> Verdict {
        task().judge(status.map(ExitStatus::from_raw), log).0
    }

    #[test]
    fn a_test_passes_if_its_program_succeeds_and_says_that_it_ran() {
        assert_eq!(verdict(Some(0), PASSED), Verdict::Passed);
        for (status, log) in [
            (Some(0), "test result: ok. 0 passed; 0 failed; 0 ignored"),
            (Some(0), ""),
            (Some(256), PASSED),
            (None, PASSED),
        ] {
            let verdict = verdict(status, log);
            assert!(matches!(verdict, Verdict::Failed(_)), "{status:?} {log}");
        }
    }

    #[test]
    fn a_label_becomes_the_name_of_one_file() {
        assert_eq!(
            file_name("sync-core sync_core a::b/c"),
            Path::new("sync-core.sync_core.a..b.c.log")
        );
    }

    #[test]
    fn every_task_runs_and_what_fails_leaves_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let runner = Runner {
            jobs: Jobs::exactly(2),
            environment: Vec::new(),
            logs: folder.path().join("logs"),
        };
        let programs = ["true", "false", "true", "true", "true", "true"];
        let tasks = programs.map(|program| Task {
            label: program.to_owned(),
            work: Work::Test {
                program: Arc::new(Program::at(program)),
                name: "a::b".to_owned(),
            },
            ..task()
        });
        let mut times = Times::load(folder.path().join("times.tsv"));
        let finished = runner.run(tasks.to_vec(), &mut times).unwrap();
        assert_eq!(finished.len(), programs.len());
        // None is a test program, so none says that it ran the test.
        assert!(
            finished
                .iter()
                .all(|task| matches!(task.verdict, Verdict::Failed(_)))
        );
        assert!(folder.path().join("logs/false.log").is_file());
    }
}
