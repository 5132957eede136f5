/// The first and last millisecond a JavaScript date can name, since 1970.
const LIMIT: i64 = 8_640_000_000_000_000;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ZONES: [(&str, i64); 12] = [
    ("gmt", 0),
    ("utc", 0),
    ("ut", 0),
    ("z", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

/// Reads a date and answers milliseconds since 1970-01-01T00:00:00Z; fractions of a millisecond
/// are cut off. `None` where the grammar does not cover the text.
///
/// ```text
/// date     = iso / spaced / mail
///
/// iso      = year [ "-" month [ "-" day ] ] [ "T" clock [ zone ] ]
/// year     = 4DIGIT / ( "+" / "-" ) 6DIGIT            ; -000000 is none
/// spaced   = late-year "-" month "-" day " " clock [ [ " " ] zone ]
/// late-year = 4DIGIT                                  ; 1000..9999
/// month    = 2DIGIT                                   ; 01..12
/// day      = 2DIGIT                                   ; 01..31
/// clock    = hour ":" minute [ ":" second [ "." 1*DIGIT ] ]
/// hour     = 2DIGIT                                   ; 00..23, or 24:00:00 with zeros alone
/// minute   = 2DIGIT                                   ; 00..59
/// second   = 2DIGIT                                   ; 00..59
/// zone     = "Z" / ( "+" / "-" ) offset
/// offset   = 2DIGIT [ ":" ] 2DIGIT                    ; hours 00..23, minutes 00..59
///
/// mail     = [ day-name "," 1*" " ] 1*2DIGIT 1*" " month-name 1*" " late-year
///            1*" " 2DIGIT ":" 2DIGIT [ ":" 2DIGIT ] [ 1*" " mail-zone ]
/// day-name = "Mon" / "Tue" / "Wed" / "Thu" / "Fri" / "Sat" / "Sun"     ; not compared with the date
/// month-name = "Jan" / "Feb" / … / "Dec"
/// mail-zone = ( "+" / "-" ) 4DIGIT / "GMT" / "UTC" / "UT" / "Z" / "EST" / "EDT" / "CST" / "CDT"
///           / "MST" / "MDT" / "PST" / "PDT"
/// ```
///
/// Letters count in either case. `iso` is the form of ECMAScript and RFC 3339, `spaced` the same
/// with a space for the `T`, `mail` the form of RFC 2822. Without a zone the time is UTC, on every
/// host. A day that the month does not have runs on into the next month (`2024-02-30` is
/// `2024-03-01`), and years reach from -271821 to 275760, both as in the deployed system: the
/// time is part of an operation's place in reconciliation, so two nodes have to read it alike.
/// JavaScript engines accept further spellings, each its own; they are none here.
pub fn parse_date(text: &str) -> Option<i64> {
    let iso = Reader(text).iso();
    let parts = iso.or_else(|| Reader(text).spaced());
    let parts = parts.or_else(|| Reader(text).mail())?;
    let milliseconds = parts.milliseconds();
    (-LIMIT..=LIMIT)
        .contains(&milliseconds)
        .then_some(milliseconds)
}

/// A date whose parts are each in their range.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    clock: i64,
    /// Milliseconds east of Greenwich.
    offset: i64,
}

impl Parts {
    fn milliseconds(&self) -> i64 {
        days_before(self.year, self.month) * 86_400_000 + (self.day - 1) * 86_400_000 + self.clock
            - self.offset
    }
}

/// Days from 1970-01-01 to the first of the month, in the Gregorian calendar without a beginning.
fn days_before(year: i64, month: i64) -> i64 {
    // Years here begin in March, so that the leap day is the last day of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The text that is left to read. Every method reads from its front, or answers `None`.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn iso(mut self) -> Option<Parts> {
        let year = self.year()?;
        let mut month = 1;
        let mut day = 1;
        if self.take('-') {
            month = self.between(2, 1, 12)?;
            if self.take('-') {
                day = self.between(2, 1, 31)?;
            }
        }
        let mut clock = 0;
        let mut offset = 0;
        if self.take('T') {
            clock = self.clock()?;
            if !self.0.is_empty() {
                offset = self.zone()?;
            }
        }
        self.finish(Parts {
            year,
            month,
            day,
            clock,
            offset,
        })
    }

    fn spaced(mut self) -> Option<Parts> {
        let year = self.between(4, 1000, 9999)?;
        self.expect('-')?;
        let month = self.between(2, 1, 12)?;
        self.expect('-')?;
        let day = self.between(2, 1, 31)?;
        self.expect(' ')?;
        let clock = self.clock()?;
        let mut offset = 0;
        if !self.0.is_empty() {
            self.take(' ');
            offset = self.zone()?;
        }
        self.finish(Parts {
            year,
            month,
            day,
            clock,
            offset,
        })
    }

    fn mail(mut self) -> Option<Parts> {
        if self.name(&DAYS).is_some() {
            self.expect(',')?;
            self.spaces()?;
        }
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let day = self.between(length.clamp(1, 2), 1, 31)?;
        self.spaces()?;
        let month = i64::try_from(self.name(&MONTHS)?).ok()? + 1;
        self.spaces()?;
        let year = self.between(4, 1000, 9999)?;
        self.spaces()?;
        let mut clock = self.between(2, 0, 23)? * 3_600_000;
        self.expect(':')?;
        clock += self.between(2, 0, 59)? * 60_000;
        if self.take(':') {
            clock += self.between(2, 0, 59)? * 1000;
        }
        let mut offset = 0;
        if !self.0.is_empty() {
            self.spaces()?;
            offset = self.mail_zone()?;
        }
        self.finish(Parts {
            year,
            month,
            day,
            clock,
            offset,
        })
    }

    fn year(&mut self) -> Option<i64> {
        if self.take('+') {
            return self.digits(6);
        }
        if self.take('-') {
            return self.digits(6).filter(|year| *year != 0).map(|year| -year);
        }
        self.digits(4)
    }

    /// The time of day in milliseconds.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.between(2, 0, 24)?;
        self.expect(':')?;
        let minute = self.between(2, 0, 59)?;
        let mut second = 0;
        let mut fraction = "0";
        if self.take(':') {
            second = self.between(2, 0, 59)?;
            if self.take('.') {
                fraction = self.fraction()?;
            }
        }
        let clock = (hour * 60 + minute) * 60_000 + second * 1000;
        let late = clock > 86_400_000 || fraction.bytes().any(|digit| digit != b'0');
        if hour == 24 && late {
            return None;
        }
        let thousandths = fraction.bytes().chain(*b"00").take(3);
        Some(clock + thousandths.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    /// The digits after the point, at least one.
    fn fraction(&mut self) -> Option<&'a str> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (length > 0).then_some(digits)
    }

    fn zone(&mut self) -> Option<i64> {
        if self.take('Z') {
            return Some(0);
        }
        self.offset(true)
    }

    fn mail_zone(&mut self) -> Option<i64> {
        for (name, hours) in ZONES {
            if self.0.eq_ignore_ascii_case(name) {
                self.0 = "";
                return Some(hours * 3_600_000);
            }
        }
        self.offset(false)
    }

    fn offset(&mut self, colon: bool) -> Option<i64> {
        let sign = if self.take('+') {
            1
        } else {
            self.expect('-')?;
            -1
        };
        let hours = self.between(2, 0, 23)?;
        if colon {
            self.take(':');
        }
        let minutes = self.between(2, 0, 59)?;
        Some(sign * (hours * 60 + minutes) * 60_000)
    }

    /// The place of the name that comes next, which is one of `names`.
    fn name(&mut self, names: &[&str]) -> Option<usize> {
        let (head, rest) = self.0.split_at_checked(3)?;
        let place = names
            .iter()
            .position(|name| head.eq_ignore_ascii_case(name))?;
        self.0 = rest;
        Some(place)
    }

    fn spaces(&mut self) -> Option<()> {
        self.expect(' ')?;
        self.0 = self.0.trim_start_matches(' ');
        Some(())
    }

    fn between(&mut self, length: usize, lowest: i64, highest: i64) -> Option<i64> {
        self.digits(length)
            .filter(|number| (lowest..=highest).contains(number))
    }

    fn digits(&mut self, length: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let plain = head.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| head.parse().ok()).flatten()
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.take(wanted).then_some(())
    }

    /// Steps over `wanted`, in either case, where it comes next.
    fn take(&mut self, wanted: char) -> bool {
        let mut rest = self.0.chars();
        let found = rest
            .next()
            .is_some_and(|next| next.eq_ignore_ascii_case(&wanted));
        if found {
            self.0 = rest.as_str();
        }
        found
    }

    /// `parts`, where nothing is left to read.
    fn finish(self, parts: Parts) -> Option<Parts> {
        self.0.is_empty().then_some(parts)
    }
}
