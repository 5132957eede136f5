use std::error::Error as _;
use std::fmt;
use std::panic::Location;

/// What a case answers: nothing, or why the backend fails it.
pub(crate) type Verdict<T = ()> = Result<T, Failure>;

/// Why a backend fails a case: what was expected, what was found, and the line that asked.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Failure {
    #[track_caller]
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            at: Location::caller(),
        }
    }

    /// Puts what the case was doing before the message.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.at)
    }
}

/// An error where the contract promises an answer. The line is that of the `?`.
impl From<sync_core::Error> for Failure {
    #[track_caller]
    fn from(error: sync_core::Error) -> Self {
        let mut message = format!("an error where none is allowed: {error}");
        let mut cause = error.source();
        while let Some(next) = cause {
            message.push_str(": ");
            message.push_str(&next.to_string());
            cause = next.source();
        }
        Self::new(message)
    }
}

impl From<std::io::Error> for Failure {
    #[track_caller]
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the machine, not the backend: {error}"))
    }
}

/// Longer values are cut: a page of 100,000 outcomes says nothing more than its first hundred.
const SHOWN: usize = 2_000;

pub(crate) fn shown(value: &dyn fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Ends the case with a message.
macro_rules! fail {
    ($($message:tt)+) => {
        return Err($crate::failure::Failure::new(format!($($message)+)))
    };
}

/// Ends the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::failure::fail!($($message)+);
        }
    };
}

/// Ends the case unless what was found is what was expected.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if found != expected {
                    $crate::failure::fail!(
                        "{}: expected {}, found {}",
                        format!($($message)+),
                        $crate::failure::shown(expected),
                        $crate::failure::shown(found),
                    );
                }
            }
        }
    };
}

/// Ends the case unless the call failed with an error of this kind; answers what the pattern binds.
macro_rules! ensure_err {
    ($result:expr, $kind:pat => $answer:expr, $($message:tt)+) => {
        match $result {
            Err(error) => match error.kind() {
                $kind => $answer,
                _ => $crate::failure::fail!(
                    "{}: expected {}, found the error {error}",
                    format!($($message)+),
                    stringify!($kind),
                ),
            },
            Ok(answer) => $crate::failure::fail!(
                "{}: expected {}, found {}",
                format!($($message)+),
                stringify!($kind),
                $crate::failure::shown(&answer),
            ),
        }
    };
}

pub(crate) use {ensure, ensure_eq, ensure_err, fail};
