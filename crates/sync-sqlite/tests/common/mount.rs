//! Children with a file system of their own.

use std::env;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Runs `child` in a mount namespace of its own, in which `dir` is an empty file system of `size`.
/// `None` where this machine does not allow that.
pub(crate) fn on_a_file_system(child: &Command, dir: &Path, size: &str) -> Option<ExitStatus> {
    let isolated = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script]).arg(dir).arg(size);
        command
    };
    let mount = "mount -t tmpfs -o size=\"$1\" tmpfs \"$0\"";
    let allowed = isolated(mount)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !allowed {
        return None;
    }
    let mut command = isolated(&format!("{mount} && shift && exec \"$@\""));
    command
        .arg(env::current_exe().unwrap())
        .args(child.get_args());
    for (name, value) in child.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Some(command.stdout(Stdio::null()).status().unwrap())
}
