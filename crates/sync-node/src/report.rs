use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::{Exit, Failure, Result};

/// What a command has to say when it is done.
#[derive(Debug)]
pub(crate) struct Report {
    json: String,
    text: String,
    exit: Exit,
}

/// How it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Report {
    /// A report of a command that did what it was asked. `text` ends with a newline, or is empty.
    pub(crate) fn new(document: &impl Serialize, text: String) -> Result<Self> {
        let json = serde_json::to_string(document)
            .map_err(|error| Failure::io("the JSON document", error.into()))?;
        Ok(Self {
            json,
            text,
            exit: Exit::Done,
        })
    }

    /// The same report with another exit code.
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

impl Format {
    /// Reads `--json` before anything else is understood, so that a command line that is not
    /// understood also ends in one JSON document.
    pub(crate) fn of_arguments(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut flags = arguments
            .into_iter()
            .take_while(|argument| argument != "--");
        if flags.any(|argument| argument == "--json") {
            Self::Json
        } else {
            Self::Text
        }
    }

    /// Prints the one document, or the text, and says how the process ends.
    pub(crate) fn print(self, outcome: Result<Report>) -> ExitCode {
        let exit = match &outcome {
            Ok(report) => report.exit,
            Err(failure) => failure.exit,
        };
        let printed = match (self, outcome) {
            (Self::Json, Ok(report)) => say(io::stdout(), &(report.json + "\n")),
            (Self::Text, Ok(report)) => say(io::stdout(), &report.text),
            (_, Err(failure)) if failure.is_quiet() => Ok(()),
            (Self::Json, Err(failure)) => say(io::stdout(), &(failure.to_json() + "\n")),
            (Self::Text, Err(failure)) => say(io::stderr(), &(failure.to_text() + "\n")),
        };
        let Err(error) = printed else {
            return ExitCode::from(exit as u8);
        };
        // What the command did, it did. A reader that went away is told nothing.
        if error.kind() != io::ErrorKind::BrokenPipe {
            let failure = Failure::io("standard output", error);
            let _ = say(io::stderr(), &(failure.to_text() + "\n"));
        }
        ExitCode::from(Exit::Failed as u8)
    }
}

fn say(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}
