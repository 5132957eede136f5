//! The one place where a store's URL is taken apart. Nothing here knows a backend.

use std::fmt;

use percent_encoding::percent_decode_str;
use sync_core::{Error, ErrorKind, Result};

/// A store's URL: `SCHEME:REST?NAME=VALUE&…`.
///
/// Its `Debug` shows the scheme and the names of the options; the rest may hold a password.
pub(crate) struct StoreUrl {
    scheme: String,
    rest: String,
    options: Vec<(String, String)>,
}

impl StoreUrl {
    /// Takes `text` apart and decodes its percent-encoding.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text
            .split_once(':')
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| {
                error("not a store URL: it begins with a scheme and a colon, as sqlite:PATH does")
            })?;
        if rest.contains('#') {
            return Err(error("a store URL has no fragment; write a # as %23"));
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let mut options = Vec::new();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| error("an option of a store URL is written NAME=VALUE"))?;
            options.push((decode(name)?, decode(value)?));
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            rest: rest.to_owned(),
            options,
        })
    }

    /// The scheme, in lower case.
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between the scheme's colon and the options, as it was written.
    pub(crate) fn rest(&self) -> &str {
        &self.rest
    }

    /// The options, decoded, in the order they were written.
    pub(crate) fn into_options(self) -> Vec<(String, String)> {
        self.options
    }

    /// The scheme as a message may show it: not at all where it might be the name in front of a
    /// password whose scheme was forgotten.
    pub(crate) fn shown_scheme(&self) -> Option<&str> {
        let suspicious = self.rest.contains('@') && !self.rest.starts_with("//");
        (!suspicious && self.scheme.len() <= 20).then_some(self.scheme.as_str())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUrl")
            .field("scheme", &self.shown_scheme())
            .finish_non_exhaustive()
    }
}

/// A URL or an option that is not understood.
pub(crate) fn error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config).with_message(message)
}

/// Decodes `%XX`. What it decodes to is UTF-8 without NUL.
pub(crate) fn decode(text: &str) -> Result<String> {
    if !text.split('%').skip(1).all(begins_with_two_digits) {
        return Err(error(
            "a % in a store URL is followed by two hexadecimal digits; write a % as %25",
        ));
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| error("a store URL's percent-encoding decodes to UTF-8"))?;
    if decoded.contains('\0') {
        return Err(error("a store URL holds no NUL"));
    }
    Ok(decoded.into_owned())
}

/// The crate passes over a `%` without digits, which here is a mistake of the writer.
fn begins_with_two_digits(text: &str) -> bool {
    let digits = text.as_bytes().first_chunk::<2>();
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    let follows = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_rest_and_decoded_options() {
        let url = StoreUrl::parse("SQLite:a%20b/c.db?mode=ro&x=%26%3D").unwrap();
        assert_eq!(url.scheme(), "sqlite");
        assert_eq!(url.rest(), "a%20b/c.db");
        let options = [("mode", "ro"), ("x", "&=")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(url.into_options(), options);
    }

    #[test]
    fn what_is_not_a_url_is_refused_without_being_repeated() {
        for bad in [
            "",
            "hunter2",
            ":hunter2",
            "/hunter2/a.db",
            "1x:hunter2",
            "hün:hunter2",
            "sqlite:a?hunter2",
            "sqlite:a?",
            "sqlite:a#hunter2",
            "sqlite:a?x=%zzhunter2",
            "sqlite:a?x=hunter2%0",
            "sqlite:a?x=hunter2%00",
            "sqlite:a?x=hunter2%ff",
        ] {
            let error = StoreUrl::parse(bad).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Config, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn debug_shows_neither_the_rest_nor_an_option() {
        let url = StoreUrl::parse("redis://me:hunter2@host/?password=hunter2").unwrap();
        let debug = format!("{url:?}");
        assert!(
            debug.contains("redis") && !debug.contains("hunter2"),
            "{debug}"
        );
    }

    #[test]
    fn a_scheme_that_may_be_a_user_name_is_not_shown() {
        assert_eq!(
            StoreUrl::parse("me:secret@host").unwrap().shown_scheme(),
            None
        );
        assert_eq!(
            StoreUrl::parse("mysql://me:secret@host")
                .unwrap()
                .shown_scheme(),
            Some("mysql")
        );
    }
}
