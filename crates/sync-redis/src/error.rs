use std::fmt;
use std::io;

use redis::{ErrorKind as DriverKind, RedisError, ServerErrorKind};
use sync_core::{Error, ErrorKind, Retry};

use crate::config::Address;

/// How a call to a server failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The host is not known.
    NoHost(Address, io::Error),
    /// The TLS handshake failed: the server is another one, or does not use TLS.
    Handshake(Address, io::Error),
    /// No connection was made in time.
    NoConnection(Address),
    /// Nothing of the call was sent: there was no connection, or it had ended.
    NotSent(RedisError),
    /// The connection ended when some of the call may have been sent.
    Lost(RedisError),
    /// No answer in time.
    NoAnswer,
    /// The server answered with an error.
    Refused(RedisError),
}

impl Failure {
    /// The code of the server's answer, such as `READONLY`, also where a command inside a script met it.
    pub(crate) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) | Self::NotSent(error) => code(error),
            Self::NoHost(..)
            | Self::Handshake(..)
            | Self::NoConnection(_)
            | Self::Lost(_)
            | Self::NoAnswer => None,
        }
    }

    /// The error of a call that writes: one that may have been carried out says so.
    pub(crate) fn of_a_write(self) -> Error {
        let kind = match self {
            Self::Lost(_) | Self::NoAnswer => ErrorKind::UnknownOutcome,
            _ => self.kind(),
        };
        self.into_error(kind)
    }

    fn into_error(self, kind: ErrorKind) -> Error {
        let error = Error::new(kind);
        match self {
            Self::NoHost(address, source) => error
                .with_message(format!("the host of {address} is not known"))
                .with_source(source),
            Self::Handshake(address, source) => error
                .with_message(format!("the TLS handshake with {address} failed"))
                .with_source(source),
            Self::NoConnection(address) => {
                error.with_message(format!("no connection to {address} in time"))
            }
            Self::NoAnswer => error.with_message("the server did not answer in time"),
            Self::NotSent(source) | Self::Lost(source) | Self::Refused(source) => {
                let message = explain(&source);
                let error = match code(&source) {
                    // Until another server takes over as the primary.
                    Some("READONLY") => error.with_retry(Retry::Later),
                    _ => error,
                };
                let error = error.with_source(source);
                match message {
                    Some(message) => error.with_message(message),
                    None => error,
                }
            }
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHost(_, error) if error.to_string().contains("Temporary failure") => {
                ErrorKind::Unavailable
            }
            Self::NoHost(..) => ErrorKind::NotFound,
            Self::Handshake(..) => ErrorKind::Failed,
            Self::NoConnection(_) => ErrorKind::Unavailable,
            Self::NoAnswer => ErrorKind::Timeout,
            Self::NotSent(error) | Self::Lost(error) | Self::Refused(error) => classify(error),
        }
    }
}

/// The error of a call that does not write.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = failure.kind();
        failure.into_error(kind)
    }
}

/// The one place where an error of the server or its driver becomes one of ours.
pub(crate) fn classify(error: &RedisError) -> ErrorKind {
    if error.is_io_error() {
        return ErrorKind::Unavailable;
    }
    match error.kind() {
        DriverKind::AuthenticationFailed => return ErrorKind::Denied,
        DriverKind::InvalidClientConfig => return ErrorKind::Config,
        DriverKind::UnexpectedReturnType => return ErrorKind::Corrupt,
        _ => {}
    }
    match code(error) {
        // No memory is left; or the server accepts no writes that it cannot save to its disk, or that
        // too few replicas would get.
        Some("OOM" | "MISCONF" | "NOREPLICAS") => ErrorKind::Full,
        Some("READONLY") => ErrorKind::ReadOnly,
        Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED") => ErrorKind::Denied,
        Some("BUSY") => ErrorKind::Busy,
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "ASK" | "MOVED") => {
            ErrorKind::Unavailable
        }
        Some("CORRUPT" | "WRONGTYPE") => ErrorKind::Corrupt,
        Some("DBINDEX") => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    }
}

/// The codes that mean something here. An answer begins with its code, except that Redis before 7 puts
/// the code of a command inside a script into the text.
const CODES: [&str; 19] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CORRUPT",
    "DENIED",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

fn code(error: &RedisError) -> Option<&'static str> {
    let first = error.code().unwrap_or_default();
    if let Some(known) = CODES.iter().find(|code| **code == first) {
        return Some(known);
    }
    let text = error.to_string();
    // A refused transaction has the reason of its first refused command in the text.
    let told_in_the_text = [
        DriverKind::Extension,
        DriverKind::Server(ServerErrorKind::ResponseError),
        DriverKind::Server(ServerErrorKind::ExecAbort),
    ];
    if !told_in_the_text.contains(&error.kind()) {
        return None;
    }
    if text.contains("DB index is out of range") {
        return Some("DBINDEX");
    }
    if text.contains("can't run this command")
        || text.contains("ACL failure in script")
        || text.contains("No permissions to access a key")
    {
        return Some("NOPERM");
    }
    if text.contains("read only replica") {
        return Some("READONLY");
    }
    // The word has to stand alone: a page's own keys may be in the text.
    let words = text.split(|c: char| !c.is_ascii_uppercase());
    words
        .into_iter()
        .find_map(|word| CODES.iter().find(|code| **code == word).copied())
}

/// The explanation for people, beyond the kind.
fn explain(error: &RedisError) -> Option<&'static str> {
    Some(match code(error)? {
        "OOM" => "the server's maxmemory is reached",
        "MISCONF" => "the server cannot save to its disk and accepts no writes",
        "NOREPLICAS" => "too few replicas follow the server, and it accepts no writes",
        "READONLY" => "the server is a replica; connect to its primary",
        "NOAUTH" => "the server asks for a password",
        "NOPERM" => "the user lacks a right; the documentation lists those it needs",
        "DENIED" => "the server runs in protected mode and takes no connection from elsewhere",
        "BUSY" => "a script of another client holds the server up",
        "WRONGTYPE" => "a key under the prefix is of a type that no version of this crate writes",
        "DBINDEX" => "the server has no database of this number",
        "TRYAGAIN" | "ASK" => "the cluster is moving the space to another node",
        "CLUSTERDOWN" => "the cluster does not serve all its slots",
        "LOADING" => "the server is loading its data",
        _ => return None,
    })
}

/// The error of an answer that holds what no version of this crate writes.
pub(crate) fn corrupt(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt).with_message(what.to_string())
}

#[cfg(test)]
mod tests;
