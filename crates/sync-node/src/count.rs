use std::fmt;

/// A number with its noun, in the singular or the plural.
///
/// The plural ends in `s`, or in `ies` for a noun in `ry`: the nouns of this program need no more.
pub(crate) struct Count<N>(pub(crate) N, pub(crate) &'static str);

impl<N: fmt::Display> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        let number = number.to_string();
        match noun.strip_suffix("ry") {
            _ if number == "1" => write!(f, "1 {noun}"),
            Some(stem) => write!(f, "{number} {stem}ries"),
            None => write!(f, "{number} {noun}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_one_is_in_the_singular() {
        for (count, text) in [
            (Count(0, "finding"), "0 findings"),
            (Count(1, "finding"), "1 finding"),
            (Count(2, "finding"), "2 findings"),
            (Count(1, "state entry"), "1 state entry"),
            (Count(11, "state entry"), "11 state entries"),
            (Count(11, "key"), "11 keys"),
        ] {
            assert_eq!(count.to_string(), text);
        }
    }
}
