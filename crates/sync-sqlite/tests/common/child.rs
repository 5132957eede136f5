//! Child processes: the test's own program, told by the environment what to do.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

const ROLE: &str = "SYNC_SQLITE_TEST_ROLE";
const FILE: &str = "SYNC_SQLITE_TEST_FILE";
const ARGUMENT: &str = "SYNC_SQLITE_TEST_ARGUMENT";

/// A child that will run the test `entry` as `role`, on `file`.
///
/// The harness runs the test alone in the child and passes its output on.
pub(crate) fn child(entry: &str, role: &str, file: &Path, argument: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([entry, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, file)
        .env(ARGUMENT, argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Inside a child: its role, file and argument.
pub(crate) fn called_as() -> Option<(String, std::path::PathBuf, String)> {
    let role = env::var(ROLE).ok()?;
    let file = env::var_os(FILE).unwrap();
    Some((role, file.into(), env::var(ARGUMENT).unwrap()))
}
