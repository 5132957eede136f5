use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

/// Where a Gatekeeper is: `http://host:4224`, with a path where it is not at the root of its host.
///
/// A user and password in it are sent as basic authentication, a query with every request. Neither
/// is ever shown, by `Display`, `Debug` or a message.
///
/// ```
/// use sync_mdip::gatekeeper::{GatekeeperUrl, UrlError};
///
/// let url: GatekeeperUrl = "http://user:secret@gatekeeper.example:4224/mdip/?token=secret".parse()?;
/// assert_eq!(url.to_string(), "http://gatekeeper.example:4224/mdip");
/// assert_eq!("gatekeeper.example".parse::<GatekeeperUrl>(), Err(UrlError::Malformed));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct GatekeeperUrl {
    scheme: &'static str,
    host: String,
    /// `None` where it is that of the scheme.
    port: Option<u16>,
    /// Without a slash at its end.
    path: String,
    query: Option<String>,
    /// The value of the header.
    authorization: Option<String>,
}

/// Why a text is not the URL of a Gatekeeper. No message repeats the text, which may hold a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not `http://HOST` or `https://HOST`, with a port, a path and a query as may be.
    Malformed,
    /// The scheme is neither `http` nor `https`.
    Scheme,
    /// The scheme is `https`, and the feature `tls` is off.
    NeedsTls,
    /// The user or the password has bytes escaped with `%` that are not hexadecimal, or the user
    /// has a colon.
    Credentials,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a Gatekeeper's URL is http://HOST or https://HOST",
            Self::Scheme => "a Gatekeeper's URL begins with http:// or https://",
            Self::NeedsTls => "https needs the feature `tls` of sync-mdip, which is off",
            Self::Credentials => "the user and password of the URL cannot be read",
        })
    }
}

impl std::error::Error for UrlError {}

impl FromStr for GatekeeperUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri = text.parse::<Uri>().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        let (scheme, default_port) = match scheme {
            "http" => ("http", 80),
            "https" if cfg!(feature = "tls") => ("https", 443),
            "https" => return Err(UrlError::NeedsTls),
            _ => return Err(UrlError::Scheme),
        };
        let host_and_port = match authority.as_str().rsplit_once('@') {
            Some((_, rest)) => rest,
            None => authority.as_str(),
        };
        if authority.host().is_empty()
            || host_and_port.len() > authority.host().len() && authority.port_u16().is_none()
        {
            return Err(UrlError::Malformed);
        }
        let authorization = authority
            .as_str()
            .rsplit_once('@')
            .map(|(user, _)| basic(user))
            .transpose()?;
        Ok(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().filter(|port| *port != default_port),
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(str::to_owned),
            authorization,
        })
    }
}

/// Basic authentication (RFC 7617) of `user:password`, each with `%` escapes.
fn basic(userinfo: &str) -> Result<String, UrlError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let user = unescape(user)?;
    if user.contains(&b':') {
        return Err(UrlError::Credentials);
    }
    let both = [&user[..], b":", &unescape(password)?].concat();
    Ok(format!("Basic {}", BASE64_STANDARD.encode(both)))
}

/// Decodes `%XX`. The crate passes over a `%` without digits, which here is a mistake of the writer.
fn unescape(text: &str) -> Result<Vec<u8>, UrlError> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(UrlError::Credentials);
    }
    Ok(percent_decode_str(text).collect())
}

impl GatekeeperUrl {
    /// The whole URL of the export, query included: a secret.
    pub(crate) fn export(&self) -> String {
        let query = self
            .query
            .as_ref()
            .map_or_else(String::new, |query| format!("?{query}"));
        format!("{self}/api/v1/index/export{query}")
    }

    /// The value of the header `Authorization`: a secret.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Whether it is this machine, which no proxy reaches.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

/// Scheme, host, port where it is not that of the scheme, and path.
impl fmt::Display for GatekeeperUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

impl fmt::Debug for GatekeeperUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatekeeperUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GatekeeperUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn the_export_is_below_the_path_and_keeps_the_query() {
        for (text, export) in [
            ("http://h", "http://h/api/v1/index/export"),
            ("HTTP://H:80/", "http://h/api/v1/index/export"),
            (
                "http://h:4224/a/b/?q=1",
                "http://h:4224/a/b/api/v1/index/export?q=1",
            ),
            ("http://[::1]:4224", "http://[::1]:4224/api/v1/index/export"),
        ] {
            assert_eq!(parse(text).unwrap().export(), export, "{text}");
        }
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let url = parse("http://us%20er:p%40ss:word@h?key=hidden").unwrap();
        let expected = BASE64_STANDARD.encode("us er:p@ss:word");
        assert_eq!(url.authorization(), Some(&*format!("Basic {expected}")));
        for shown in [url.to_string(), format!("{url:?}")] {
            for secret in ["us", "p%40", "p@ss", "hidden", &expected] {
                assert!(!shown.contains(secret), "{shown} has {secret}");
            }
        }
    }

    #[test]
    fn a_url_that_is_not_http_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", UrlError::Malformed),
            ("h:4224", UrlError::Malformed),
            ("/path", UrlError::Malformed),
            ("http://", UrlError::Malformed),
            ("http://:80", UrlError::Malformed),
            ("http://h:port", UrlError::Malformed),
            ("http://h:65536", UrlError::Malformed),
            ("ftp://h", UrlError::Scheme),
            ("http://a%3Ab@h", UrlError::Credentials),
            ("http://a%zz@h", UrlError::Credentials),
            ("http://a:%4@h", UrlError::Credentials),
        ] {
            assert_eq!(parse(text), Err(reason), "{text}");
        }
        assert_eq!(
            parse("https://h").is_ok(),
            cfg!(feature = "tls"),
            "https depends on the feature"
        );
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (text, expected) in [
            ("http://localhost", true),
            ("http://127.0.0.2:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(parse(text).unwrap().is_loopback(), expected, "{text}");
        }
    }
}
