//! The program that `suite!` makes: its tests, and the processes that some of them start.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use crate::calls::Calls;
use crate::case::{self, Case, Outcome};
use crate::cases::CASES;
use crate::failure::Verdict;
use crate::harness::Harness;
use crate::process;
use crate::report;

/// How often a case that measures time is tried before it fails: another program may have taken
/// the processor.
const ATTEMPTS: u32 = 3;
/// How often a case that takes long says so.
const NOTICE: Duration = Duration::from_mins(1);

/// Makes the program of a test target: one test for every case, or several suites of such tests.
///
/// Takes the type of a [`Harness`](crate::Harness), or several types with a name for each, which is
/// the first part of the names of its tests:
///
/// ```text
/// sync_conformance::suite!(MyHarness);
/// sync_conformance::suite! { durable: Durable, fast: Fast }
/// ```
///
/// It is the `main` of the target, which therefore needs `harness = false` in `Cargo.toml`.
#[macro_export]
macro_rules! suite {
    ($harness:ty) => {
        $crate::suite! { @main $crate::Program::default().suite::<$harness>("") }
    };
    ($($name:ident: $harness:ty),+ $(,)?) => {
        $crate::suite! {
            @main $crate::Program::default()$(.suite::<$harness>(stringify!($name)))+
        }
    };
    (@main $program:expr) => {
        fn main() -> ::std::process::ExitCode {
            $program.run()
        }

        // Compiled only where the target still has Rust's own test harness, which runs no `main`.
        #[test]
        fn the_suite_needs_its_own_harness() {
            panic!("{}", $crate::NEEDS_HARNESS_FALSE);
        }
    };
}

#[doc(hidden)]
pub const NEEDS_HARNESS_FALSE: &str = "no case has run: the test target of `suite!` needs\n\n    \
     [[test]]\n    name = \"…\"\n    harness = false\n\nin Cargo.toml";

/// What a process does that a case started.
type Task = fn() -> Verdict;

/// A test program: suites, tests beside them, and tasks of processes.
#[doc(hidden)]
#[derive(Default)]
pub struct Program {
    tests: Vec<Trial>,
    /// Tests that measure time.
    alone: Vec<Trial>,
    /// By the name of a suite, what a process does that one of its cases started.
    workers: Vec<(&'static str, Task)>,
}

impl Program {
    /// Adds every case against a harness.
    #[must_use]
    pub fn suite<H: Harness>(mut self, name: &'static str) -> Self {
        for case in CASES {
            let test = match name {
                "" => case.test_name(),
                name => format!("{name}::{}", case.test_name()),
            };
            let trial =
                Trial::ignorable_test(test.clone(), move || completion::<H>(name, case, &test));
            if case.measures_time() {
                self.alone.push(trial);
            } else {
                self.tests.push(trial);
            }
        }
        self.worker::<H>(name)
    }

    /// Adds the entry point of the processes that cases of this suite start.
    #[must_use]
    pub fn worker<H: Harness>(mut self, suite: &'static str) -> Self {
        self.workers.push((suite, process::work::<H>));
        self
    }

    /// Adds a test that fails by a panic.
    #[must_use]
    pub fn test(mut self, name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Self {
        self.tests.push(Trial::test(name, || {
            catch_unwind(AssertUnwindSafe(test))
                .map_err(|panic| Failed::from(case::message_of(&*panic)))
        }));
        self
    }

    /// Runs the task of this process, or the tests that its arguments select: first those that may
    /// run at once, then those that measure time, one after the other.
    pub fn run(self) -> ExitCode {
        if let Some(suite) = process::suite() {
            return self.work(&suite);
        }
        let Self {
            tests, mut alone, ..
        } = self;
        let arguments = Arguments::from_args();
        if arguments.list {
            let all = tests.into_iter().chain(alone).collect();
            return libtest_mimic::run(&arguments, all).exit_code();
        }
        alone.retain(|trial| !arguments.is_filtered_out(trial));
        let selected = |trial: &Trial| !arguments.is_filtered_out(trial);
        let mut failed = false;
        if alone.is_empty() || tests.iter().any(selected) {
            failed |= failed_in(libtest_mimic::run(&arguments, tests));
        }
        if !alone.is_empty() {
            let one_by_one = Arguments {
                test_threads: Some(1),
                ..arguments
            };
            failed |= failed_in(libtest_mimic::run(&one_by_one, alone));
        }
        if failed {
            // As Rust's own test harness has it.
            ExitCode::from(101)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn work(self, suite: &str) -> ExitCode {
        let entry = self.workers.iter().find(|(name, _)| *name == suite);
        let ended = match entry {
            Some((_, task)) => task().map_err(|failure| failure.to_string()),
            None => Err(format!("no suite is called {suite:?}")),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        }
    }
}

fn failed_in(conclusion: Conclusion) -> bool {
    conclusion.has_failed()
}

/// Runs a case, reports it, and answers how its test ends.
fn completion<H: Harness>(
    suite: &'static str,
    case: &'static Case,
    test: &str,
) -> Result<Completion, Failed> {
    let begun = Instant::now();
    let column = H::default().name().to_owned();
    let mut outcome = bounded::<H>(suite, case);
    let attempts = if case.measures_time() { ATTEMPTS } else { 1 };
    for attempt in 1..attempts {
        let Outcome::Failed(message) = &outcome else {
            break;
        };
        eprintln!("{case}, attempt {attempt} of {attempts}: {message}");
        outcome = bounded::<H>(suite, case);
    }
    report::append(&column, case, &outcome, begun.elapsed())
        .map_err(|error| Failed::from(format!("the line of the table was not written: {error}")))?;
    match outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Unsupported(power) => Ok(Completion::ignored_with(format!(
            "n/a, unsupported: no power {power}"
        ))),
        Outcome::Failed(message) => Err(Failed::from(explained(&column, case, test, &message))),
    }
}

/// Runs a case on a thread of its own, which is left behind where it takes too long.
fn bounded<H: Harness>(suite: &'static str, case: &'static Case) -> Outcome {
    let (done, ended) = mpsc::channel();
    let calls = Arc::new(Calls::default());
    let limit = H::default().time_limit();
    let begun = Instant::now();
    let running = thread::Builder::new().name(case.name.to_owned()).spawn({
        let calls = Arc::clone(&calls);
        move || {
            let outcome = case::run(&H::default(), case, &calls, Some(suite));
            // The receiver is gone where the case took too long.
            let _ = done.send(outcome);
        }
    });
    if let Err(error) = running {
        return Outcome::Failed(format!("the machine, not the backend: {error}"));
    }
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match ended.recv_timeout(left.min(NOTICE)) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => {
                return Outcome::Failed(
                    "the thread of the case ended without an answer".to_owned(),
                );
            }
            Err(RecvTimeoutError::Timeout) if begun.elapsed() >= limit => {
                return Outcome::Failed(too_slow(&calls, limit));
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = begun.elapsed().as_secs();
                eprintln!("{case} has been running for {seconds} s: {calls}");
            }
        }
    }
}

fn too_slow(calls: &Calls, limit: Duration) -> String {
    let usual = match calls.slowest() {
        Some("feed" | "scan_time" | "scan_keys" | "scan_order" | "scan_object" | "list") => {
            "a page that costs more the further the walk has come: no index for its order, a cursor \
             that is skipped to instead of looked up, or a whole space read for a page of it"
        }
        Some("apply") => {
            "a page that costs more the larger the space is (a count instead of a counter, a look-up \
             without an index), or one statement and one sync to disk for each operation"
        }
        Some("changed") => {
            "a call that is not woken: notifications that do not arrive, and no poll behind them"
        }
        Some("prune" | "sweep") => {
            "a piece that begins at the beginning instead of where the last one ended"
        }
        Some("stats" | "open" | "known" | "get" | "load" | "load_many") => {
            "a look-up that reads the whole space instead of an index or a counter"
        }
        _ => "a lock that nothing releases",
    };
    format!(
        "not ended after {} s, and left running: {calls}. What usually is the cause: {usual}. A \
         backend that is slow by its nature says so in `Harness::time_limit`",
        limit.as_secs()
    )
}

/// A failure as a person needs it who sees the suite for the first time.
fn explained(column: &str, case: &Case, test: &str, message: &str) -> String {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let mut told = format!(
        "{column}: case {case}: {message}\n\n  the promise   {promise}\n  documented    {about}\n  \
         the case      `cases::{group}::{name}` of sync-conformance; the line above asked\n  \
         run it alone  cargo test --test TARGET -- --exact {test}\n",
        promise = case.sentence(),
        about = case.documentation(),
        group = case.group,
        name = case.name,
    );
    if !TOLD.swap(true, Ordering::Relaxed) {
        told.push_str(
            "\n  Where to go from here: the documentation of the method lists its behaviours, and \
             the case\n  holds the store to one of them. A case is a plain program that calls the \
             store and compares;\n  read it from the top down to the line that asked. \
             `sync_conformance::model::Model` is a naive\n  store that keeps every promise, to \
             compare with. `Harness` and the suite's README say how the\n  suite reaches a backend.\n",
        );
    }
    told
}

#[cfg(test)]
mod tests {
    use sync_core::{Backend, Migrated, Result as StoreResult};
    use sync_memory::{MemoryBackend, MemoryConfig};

    use super::*;
    use crate::harness::{Database, Power};

    #[derive(Default)]
    struct Plain;

    /// A store of which a call never ends.
    #[derive(Default)]
    struct Stuck;

    struct Memory(MemoryBackend);

    impl Harness for Plain {
        type Backend = MemoryBackend;
        type Database = Memory;

        fn powers(&self) -> &[Power] {
            &[]
        }

        fn fresh(&self) -> StoreResult<Memory> {
            Ok(Memory(MemoryBackend::new(MemoryConfig::new())))
        }
    }

    impl Harness for Stuck {
        type Backend = MemoryBackend;
        type Database = Memory;

        fn powers(&self) -> &[Power] {
            &[]
        }

        fn fresh(&self) -> StoreResult<Memory> {
            Plain.fresh()
        }

        fn time_limit(&self) -> Duration {
            Duration::from_millis(200)
        }

        fn block_on<F: Future>(&self, _future: F) -> F::Output {
            loop {
                thread::park();
            }
        }
    }

    impl Database for Memory {
        type Backend = MemoryBackend;

        async fn connect(&self) -> StoreResult<MemoryBackend> {
            Ok(self.0.clone())
        }

        async fn migrate(&self) -> StoreResult<Migrated> {
            MemoryBackend::migrate(&MemoryConfig::new()).await
        }
    }

    fn ended<H: Harness>(id: &str) -> Result<Completion, Failed> {
        let case = Case::find(id).unwrap();
        completion::<H>("", case, &case.test_name())
    }

    #[test]
    fn a_case_that_the_store_cannot_run_is_not_called_ok() {
        let Ok(Completion::Ignored { reason }) = ended::<Plain>("13b") else {
            panic!("13b needs a power that the harness lacks");
        };
        assert_eq!(reason.unwrap(), "n/a, unsupported: no power set-head");
        assert!(matches!(ended::<Plain>("16d"), Ok(Completion::Completed)));
    }

    #[test]
    fn a_case_that_takes_too_long_fails_and_says_where_it_was() {
        let Err(failed) = ended::<Stuck>("16d") else {
            panic!("a case passes on a store that never answers");
        };
        let message = failed.message().unwrap();
        for part in [
            "not ended after 0 s",
            "in connect for 0.",
            "`SyncStore::apply`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let calls = Calls::default();
        calls.during("feed", || {
            let told = too_slow(&calls, Duration::from_mins(10));
            assert!(told.contains("in feed for"), "{told}");
            assert!(told.contains("a cursor that is skipped to"), "{told}");
        });
    }

    #[test]
    fn a_failure_names_the_promise_its_documentation_and_its_source() {
        let case = Case::find("10e").unwrap();
        let text = explained("mine", case, &case.test_name(), "expected 1, found 2");
        for part in [
            "mine: case 10e an empty page has a stable cursor: expected 1, found 2",
            "trait.SyncStore.html#tymethod.feed",
            "`cases::feed::an_empty_page_has_a_stable_cursor`",
            "-- --exact an_empty_page_has_a_stable_cursor",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn cases_that_measure_time_are_a_group_of_their_own() {
        let alone: Vec<_> = CASES.iter().filter(|case| case.measures_time()).collect();
        assert!(!alone.is_empty());
        for case in CASES {
            let begins = case.test_name().starts_with("alone::");
            assert_eq!(begins, alone.contains(&case), "{case}");
        }
    }
}
