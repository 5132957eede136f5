use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, Result};

/// Asks before a command destroys data. Without a terminal to ask on, `--yes` is needed.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "{what}: there is no terminal to ask on, give --yes"
        )));
    }
    let failed = |error| Failure::io("the terminal", error);
    write!(io::stderr(), "{what}? [y/N] ").map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::refused("not confirmed, nothing was changed"))
    }
}
