//! The programs of servers, for tests that start servers of their own: a replica that is promoted, a
//! standalone that is refused, a cluster.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::account::Account;
use super::fetch::Release;
use super::home::Home;
use super::local::Program;
use super::provider::{Answer, Provider};
use super::server::Server;

/// The folder with a server's programs, or why there is none and how to get one.
///
/// A variable that is set wins. Then come `beside`, which is where the programs of the running
/// server lie if it was started from programs, `PATH`, and the release that is fetched by default.
pub(super) fn find(server: Server, home: &Home, beside: Option<&Path>) -> Result<Answer<PathBuf>> {
    let variable = server.programs_variable();
    if let Some(folder) = env::var_os(variable).filter(|value| !value.is_empty()) {
        let folder = PathBuf::from(folder);
        let lacking = lacking(server, &folder, home.account);
        ensure!(
            lacking.is_empty(),
            "{variable}: {} has no {} that servers may run",
            folder.display(),
            lacking.join(", ")
        );
        return Ok(Ok(folder));
    }
    if let Some(folder) = beside {
        return Ok(Ok(folder.to_owned()));
    }
    let mut reasons = Vec::new();
    for provider in [Provider::Path, Provider::Fetched] {
        let program = match (provider, Release::default_of(server)) {
            (Provider::Path, _) => Program::in_path(server, None, home),
            (_, Some(release)) => Program::fetched(release, home)?,
            (_, None) => Err("no release is pinned".to_owned()),
        };
        match program.and_then(|program| program.folder(home.account)) {
            Ok(folder) => return Ok(Ok(folder)),
            Err(reason) => reasons.push(format!("{provider}: {reason}")),
        }
    }
    Ok(Err(nowhere(server, &reasons)))
}

/// The folder of a program, if the others that tests need lie there too.
///
/// Distributions link single programs from elsewhere into `PATH`, or put a script there that looks
/// for the right version: the folder behind the link is the one that has them all.
pub(super) fn folder_of(server: Server, program: &Path, account: Account) -> Answer<PathBuf> {
    let resolved = program.canonicalize().ok();
    let mut reason = format!("{} lies in no folder", program.display());
    for program in resolved.iter().map(PathBuf::as_path).chain([program]) {
        let Some(folder) = program.parent() else {
            continue;
        };
        let lacking = lacking(server, folder, account);
        if lacking.is_empty() {
            return Ok(folder.to_owned());
        }
        reason = format!("{} has no {}", folder.display(), lacking.join(", "));
    }
    Err(reason)
}

/// The programs that a folder lacks, or that the account may not run.
fn lacking(server: Server, folder: &Path, account: Account) -> Vec<String> {
    let has = |name: &&str| {
        let program = folder.join(name);
        program.is_file() && account.reaches(&program)
    };
    let mut lacking = Vec::new();
    if !server.programs().iter().any(has) {
        lacking.push(server.programs().join(" or "));
    }
    let companions = server.companions().iter().filter(|name| !has(name));
    lacking.extend(companions.map(|&name| name.to_owned()));
    lacking
}

fn nowhere(server: Server, reasons: &[String]) -> String {
    let reasons = reasons.join("\n  ");
    let variable = server.programs_variable();
    let mut programs = vec![server.programs().join(" or ")];
    programs.extend(server.companions().iter().map(|&name| name.to_owned()));
    let programs = programs.join(", ");
    format!(
        "there are no programs of {server} for the tests that start their own servers:\n  \
         {reasons}\none of these gives them: set {variable} to a folder with \
         {programs}; put that folder into PATH; install Python with pip, and they are \
         fetched"
    )
}
