use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::{Exit, Failure, Result};

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Report {
    json: String,
    text: String,
    exit: Exit,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Report {
    /// A report of a command that succeeded. `text` ends with a newline, or is empty.
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
    /// Looks for `--json` before the arguments are parsed, so that a malformed command line also ends
    /// in one JSON document.
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

    /// Prints the one document, or the text, and answers the exit code.
    pub(crate) fn print(self, outcome: Result<Report>) -> ExitCode {
        let exit = match &outcome {
            Ok(report) => report.exit,
            Err(failure) => failure.exit,
        };
        let printed = match (self, outcome) {
            (Self::Json, Ok(report)) => print(io::stdout(), &(report.json + "\n")),
            (Self::Text, Ok(report)) => print(io::stdout(), &report.text),
            (_, Err(failure)) if failure.is_quiet() => Ok(()),
            (Self::Json, Err(failure)) => print(io::stdout(), &(failure.to_json() + "\n")),
            (Self::Text, Err(failure)) => print(io::stderr(), &(failure.to_text() + "\n")),
        };
        let Err(error) = printed else {
            return ExitCode::from(exit as u8);
        };
        // The command itself was done. A reader that closed the pipe needs no message.
        if error.kind() != io::ErrorKind::BrokenPipe {
            let failure = Failure::io("standard output", error);
            let _ = print(io::stderr(), &(failure.to_text() + "\n"));
        }
        ExitCode::from(Exit::Failed as u8)
    }
}

fn print(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}
