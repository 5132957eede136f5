use std::time::Duration;

use sync_core::Result;

use crate::url::{StoreUrl, error};

/// The options of a URL, checked against the names its backend accepts, and taken one by one.
pub(crate) struct Options {
    backend: &'static str,
    given: Vec<(String, String)>,
}

impl Options {
    /// Refuses options that are not in `accepted`, and repeated ones. Values of unknown options
    /// are not repeated in the message.
    pub(crate) fn of(
        url: StoreUrl,
        backend: &'static str,
        accepted: &[&'static str],
    ) -> Result<Self> {
        let given = url.into_options();
        for (index, (name, _)) in given.iter().enumerate() {
            if !accepted.contains(&name.as_str()) {
                let names = match accepted {
                    [] => "it has none".to_owned(),
                    names => format!("accepted are {}", names.join(", ")),
                };
                let shown: String = name.chars().take(40).collect();
                return Err(error(format!(
                    "{shown:?} is not an option of {backend}; {names}"
                )));
            }
            if given.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(error(format!("option {name} of {backend} is given twice")));
            }
        }
        Ok(Self { backend, given })
    }

    /// The option `name` as one of `choices`.
    pub(crate) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>> {
        self.read(name, |value| {
            let found = choices.iter().find(|(choice, _)| *choice == value);
            found.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
                format!("one of {}", names.join(", "))
            })
        })
    }

    /// The option `name` as it was given.
    pub(crate) fn text(&self, name: &'static str) -> Option<&str> {
        let given = self.given.iter().find(|(given, _)| given == name);
        given.map(|(_, value)| value.as_str())
    }

    /// The option `name` as a whole number from 1.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<usize>> {
        self.read(name, |value| {
            digits(value)
                .and_then(|digits| digits.parse().ok())
                .filter(|count| *count > 0)
                .ok_or_else(|| "a whole number from 1".to_owned())
        })
    }

    /// The option `name` as a duration: numbers, each with its unit.
    pub(crate) fn duration(&self, name: &'static str) -> Result<Option<Duration>> {
        self.read(name, |value| {
            humantime::parse_duration(value)
                .map_err(|_| "a number with a unit: 500ms, 5s, 2m".to_owned())
        })
    }

    fn read<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some((_, value)) = self.given.iter().find(|(given, _)| given == name) else {
            return Ok(None);
        };
        read(value).map(Some).map_err(|wanted| {
            let shown: String = value.chars().take(40).collect();
            error(format!(
                "option {name} of {}: {shown:?} is not {wanted}",
                self.backend
            ))
        })
    }
}

/// `text` where it is digits alone: `str::parse` would take a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<Options> {
        let url = StoreUrl::parse(&format!("x:y?{query}"))?;
        Options::of(url, "x", &["wait", "n", "mode"])
    }

    #[test]
    fn an_unknown_option_is_refused_by_a_message_that_names_the_accepted_ones() {
        let error = options("wait=1s&pass=hunter2").err().unwrap().to_string();
        assert_eq!(
            error,
            "configuration: \"pass\" is not an option of x; accepted are wait, n, mode"
        );
        let none = Options::of(StoreUrl::parse("x:?a=b").unwrap(), "x", &[]);
        assert!(none.err().unwrap().to_string().ends_with("it has none"));
    }

    #[test]
    fn an_option_given_twice_is_refused() {
        let error = options("n=1&n=1").err().unwrap().to_string();
        assert!(error.contains("given twice"), "{error}");
    }

    #[test]
    fn durations_need_a_unit_and_counts_are_positive() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("0s", 0),
        ] {
            let read = options(&format!("wait={text}")).unwrap();
            let duration = read.duration("wait").unwrap().unwrap();
            assert_eq!(duration.as_millis(), millis);
        }
        for bad in ["5", "s", "", "+5s", "-1s", "1e3s", "99999999999999999999s"] {
            let read = options(&format!("wait={bad}")).unwrap();
            assert!(read.duration("wait").is_err(), "{bad:?}");
        }
        assert_eq!(options("n=4").unwrap().count("n").unwrap(), Some(4));
        for bad in ["0", "", "-1", "+1", "x", "99999999999999999999"] {
            assert!(
                options(&format!("n={bad}")).unwrap().count("n").is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_choice_is_one_of_its_names_and_an_absent_option_is_nothing() {
        let read = options("mode=b").unwrap();
        let choices = [("a", 1), ("b", 2)];
        assert_eq!(read.choice("mode", &choices).unwrap(), Some(2));
        assert_eq!(read.count("n").unwrap(), None);
        let error = options("mode=c")
            .unwrap()
            .choice("mode", &choices)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration: option mode of x: \"c\" is not one of a, b"
        );
    }
}
