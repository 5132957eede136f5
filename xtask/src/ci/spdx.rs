//! Licence expressions: `MIT OR Apache-2.0`, `(A OR B) AND C`, `Apache-2.0 WITH LLVM-exception`.

use anyhow::{Result, bail};

/// Whether `expression` can be satisfied with licences that `is_allowed` accepts. A licence with an
/// exception is asked for as one: `Apache-2.0 WITH LLVM-exception`. `X+` is satisfied by `X`.
pub(super) fn is_satisfied(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    // Older manifests write `/` for OR.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<_> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        tokens: &tokens,
        is_allowed,
    };
    let satisfied = parser.any_of()?;
    match parser.tokens.first() {
        None => Ok(satisfied),
        Some(token) => bail!("`{expression}`: `{token}` is out of place"),
    }
}

struct Parser<'a> {
    /// The text that is not read yet.
    tokens: &'a [&'a str],
    is_allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    /// Terms with OR between them. AND binds tighter.
    fn any_of(&mut self) -> Result<bool> {
        let mut satisfied = self.all_of()?;
        while self.take("OR") {
            // Not `||`: the rest must be read in any case.
            satisfied |= self.all_of()?;
        }
        Ok(satisfied)
    }

    fn all_of(&mut self) -> Result<bool> {
        let mut satisfied = self.licence()?;
        while self.take("AND") {
            satisfied &= self.licence()?;
        }
        Ok(satisfied)
    }

    fn licence(&mut self) -> Result<bool> {
        if self.take("(") {
            let satisfied = self.any_of()?;
            if !self.take(")") {
                bail!("a parenthesis stays open");
            }
            return Ok(satisfied);
        }
        let name = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Ok((self.is_allowed)(&format!("{name} WITH {exception}")));
        }
        Ok((self.is_allowed)(name.strip_suffix('+').unwrap_or(name)))
    }

    fn name(&mut self) -> Result<&'a str> {
        match *self.tokens {
            [] => bail!("the expression ends where a licence is expected"),
            [token @ ("OR" | "AND" | "WITH" | "(" | ")"), ..] => {
                bail!("`{token}` was found where a licence is expected")
            }
            [name, ref rest @ ..] => {
                self.tokens = rest;
                Ok(name)
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.tokens {
            [first, rest @ ..] if *first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_satisfied;

    fn check(expression: &str) -> bool {
        let allowed = ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];
        is_satisfied(expression, &|name| allowed.contains(&name)).unwrap()
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(check("MIT"));
        assert!(check("MIT OR GPL-3.0"));
        assert!(check("GPL-3.0 OR MIT"));
        assert!(check("GPL-3.0/MIT"));
        assert!(!check("GPL-3.0"));
        assert!(!check("GPL-3.0 OR AGPL-3.0"));
    }

    #[test]
    fn every_part_of_a_conjunction_is_needed() {
        assert!(check("MIT AND ISC"));
        assert!(!check("MIT AND GPL-3.0"));
        assert!(!check("GPL-3.0 AND MIT"));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(check("MIT OR GPL-3.0 AND AGPL-3.0"));
        assert!(check("GPL-3.0 AND AGPL-3.0 OR MIT"));
        assert!(!check("(MIT OR GPL-3.0) AND AGPL-3.0"));
        assert!(check("(MIT OR Apache-2.0) AND ISC"));
    }

    #[test]
    fn a_licence_with_an_exception_is_another_licence() {
        assert!(check("Apache-2.0 WITH LLVM-exception"));
        assert!(!check("MIT WITH LLVM-exception"));
        assert!(!check("GPL-3.0 WITH Classpath-exception-2.0"));
    }

    #[test]
    fn or_later_is_satisfied_by_the_version_it_starts_from() {
        assert!(check("Apache-2.0+"));
        assert!(!check("MPL-2.0+"));
    }

    #[test]
    fn an_expression_that_makes_no_sense_is_an_error() {
        for expression in [
            "",
            "MIT OR",
            "OR MIT",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "MIT AND OR ISC",
            "MIT WITH",
        ] {
            assert!(
                is_satisfied(expression, &|_| true).is_err(),
                "`{expression}` was taken"
            );
        }
    }
}
