//! JSON cut into pieces while it is read.

use std::io::{self, Read};

/// How many bytes are requested from the reader at a time.
const CHUNK: usize = 64 * 1024;

/// Reads JSON from a stream only as far as is needed to find where a value ends: strings and brackets.
/// A fault inside a value is found when that value is parsed, so that it spoils no other value. Nesting
/// costs a byte a level and no stack.
pub(crate) struct Scanner<R> {
    reader: R,
    /// Bytes that may yet be read.
    left: u64,
    /// Whether there is a byte more than that.
    has_more: bool,
    chunk: Vec<u8>,
    /// How many bytes of `chunk` were passed.
    at: usize,
    /// How many bytes were passed before `chunk`.
    before: u64,
}

/// Why an answer was not read to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is longer than it may be.
    TooLong,
    /// It ends too soon.
    Truncated,
    /// The reader failed.
    Read(io::Error),
    /// It is not JSON, or no object.
    Malformed {
        /// The offset of the byte that shows it.
        at: u64,
    },
}

/// What comes next in a list of members or elements.
#[derive(Clone, Copy)]
pub(crate) struct List {
    closing: u8,
    is_first: bool,
}

impl List {
    pub(crate) const MEMBERS: Self = Self {
        closing: b'}',
        is_first: true,
    };
    pub(crate) const ELEMENTS: Self = Self {
        closing: b']',
        is_first: true,
    };
}

impl<R: Read> Scanner<R> {
    /// Reads at most `bound` bytes of `reader`.
    pub(crate) fn new(reader: R, bound: u64) -> Self {
        Self {
            reader,
            left: bound,
            has_more: false,
            chunk: Vec::new(),
            at: 0,
            before: 0,
        }
    }

    /// Reads the next chunk; it is empty at the end.
    fn fill(&mut self) -> Result<(), Stop> {
        if self.has_more {
            return Err(Stop::TooLong);
        }
        self.before += self.chunk.len() as u64;
        self.at = 0;
        // One byte more than may be read tells a body that is too long from one that ends.
        let wanted =
            CHUNK.min(usize::try_from(self.left).map_or(CHUNK, |left| left.saturating_add(1)));
        self.chunk.resize(wanted, 0);
        let read = loop {
            match self.reader.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(Stop::Read)?,
            }
        };
        self.chunk.truncate(read);
        if let Some(left) = self.left.checked_sub(read as u64) {
            self.left = left;
            return Ok(());
        }
        // The bytes within the bound are handed out first.
        self.has_more = true;
        self.chunk.pop();
        if self.chunk.is_empty() {
            return Err(Stop::TooLong);
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.at == self.chunk.len() {
            self.fill()?;
        }
        Ok(self.chunk.get(self.at).copied())
    }

    /// The next byte that is not white space. It is not passed yet.
    fn token(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                token => return Ok(token),
            }
        }
    }

    /// Passes `byte`, which must come next.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        match self.token()? {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.malformed()),
            None => Err(Stop::Truncated),
        }
    }

    /// Whether `byte` comes next.
    pub(crate) fn is_next(&mut self, byte: u8) -> Result<bool, Stop> {
        Ok(self.token()? == Some(byte))
    }

    /// Passes the comma or bracket between the members or elements of `list`; answers whether another one
    /// follows.
    pub(crate) fn step(&mut self, list: &mut List) -> Result<bool, Stop> {
        if self.is_next(list.closing)? {
            self.at += 1;
            return Ok(false);
        }
        if list.is_first {
            list.is_first = false;
            return Ok(true);
        }
        self.expect(b',')?;
        if self.is_next(list.closing)? {
            return Err(self.malformed());
        }
        Ok(true)
    }

    /// Asserts that nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), Stop> {
        match self.token()? {
            None => Ok(()),
            Some(_) => Err(self.malformed()),
        }
    }

    /// Passes a value and keeps it.
    pub(crate) fn value(&mut self) -> Result<Vec<u8>, Stop> {
        let mut value = Vec::new();
        self.pass(&mut |piece| value.extend_from_slice(piece))?;
        Ok(value)
    }

    /// Passes a value.
    pub(crate) fn skip(&mut self) -> Result<(), Stop> {
        self.pass(&mut |_| {})
    }

    fn pass(&mut self, keep: &mut impl FnMut(&[u8])) -> Result<(), Stop> {
        match self.token()? {
            Some(b'{' | b'[') => self.pass_list(keep),
            Some(b'"') => self.pass_string(keep),
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.pass_word(keep),
            Some(_) => Err(self.malformed()),
            None => Err(Stop::Truncated),
        }
    }

    fn pass_list(&mut self, keep: &mut impl FnMut(&[u8])) -> Result<(), Stop> {
        let mut open = Vec::new();
        loop {
            let found = self.find(keep, |byte| {
                matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')
            })?;
            match found {
                b'"' => self.pass_string(keep)?,
                b'{' | b'[' => {
                    // ASCII has `}` two after `{`, and `]` two after `[`.
                    open.push(found + 2);
                    self.pass_byte(keep);
                }
                closing => {
                    if open.pop() != Some(closing) {
                        return Err(self.malformed());
                    }
                    self.pass_byte(keep);
                    if open.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn pass_string(&mut self, keep: &mut impl FnMut(&[u8])) -> Result<(), Stop> {
        self.pass_byte(keep);
        loop {
            let found = self.find(keep, |byte| matches!(byte, b'"' | b'\\'))?;
            self.pass_byte(keep);
            if found == b'"' {
                return Ok(());
            }
            // The byte after a backslash ends nothing.
            self.find(keep, |_| true)?;
            self.pass_byte(keep);
        }
    }

    fn pass_word(&mut self, keep: &mut impl FnMut(&[u8])) -> Result<(), Stop> {
        let is_end = |byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        match self.find(keep, is_end) {
            // A word at the end of the input may be cut off; its parser finds out.
            Ok(_) | Err(Stop::Truncated) => Ok(()),
            Err(stop) => Err(stop),
        }
    }

    /// Passes bytes up to one that is wanted, and answers that.
    fn find(
        &mut self,
        keep: &mut impl FnMut(&[u8]),
        is_wanted: impl Fn(u8) -> bool,
    ) -> Result<u8, Stop> {
        loop {
            if self.peek()?.is_none() {
                return Err(Stop::Truncated);
            }
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let found = rest.iter().position(|byte| is_wanted(*byte));
            let passed = rest.get(..found.unwrap_or(rest.len())).unwrap_or(rest);
            keep(passed);
            self.at += passed.len();
            if let Some(byte) = found.and_then(|found| rest.get(found)) {
                return Ok(*byte);
            }
        }
    }

    /// Passes the byte that was found.
    fn pass_byte(&mut self, keep: &mut impl FnMut(&[u8])) {
        keep(self.chunk.get(self.at..=self.at).unwrap_or_default());
        self.at += 1;
    }

    pub(crate) fn malformed(&self) -> Stop {
        Stop::Malformed {
            at: self.before + self.at as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out its bytes in pieces of `piece`.
    struct Pieces<'b> {
        bytes: &'b [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(self.bytes.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.bytes[..length]);
            self.bytes = &self.bytes[length..];
            Ok(length)
        }
    }

    /// The elements of the array `json`.
    fn elements(json: &[u8], piece: usize, bound: u64) -> Result<Vec<Vec<u8>>, Stop> {
        let mut scanner = Scanner::new(Pieces { bytes: json, piece }, bound);
        let mut elements = Vec::new();
        let mut list = List::ELEMENTS;
        scanner.expect(b'[')?;
        while scanner.step(&mut list)? {
            elements.push(scanner.value()?);
        }
        scanner.end()?;
        Ok(elements)
    }

    #[test]
    fn values_are_cut_where_they_end_however_their_bytes_come() {
        let values: [&[u8]; 12] = [
            b"0",
            b"-1.5e+400",
            b"true",
            b"null",
            b"\"\"",
            br#""a \" ] , \\""#,
            b"[]",
            br#"{"a": [1, {"]": "}"}], "\u005c": "\\"}"#,
            b"\"not UTF-8: \xff\xc3\"",
            br#"{"wrong": inside, and [,] out}"#,
            b"[[[[ ]]], {}]",
            b"\"a line\nfeed\"",
        ];
        let json = [&b" [\n"[..], &values.join(&b" ,\t"[..]), b" ]\r\n"].concat();
        for piece in 1..=json.len() {
            let found = elements(&json, piece, u64::MAX).unwrap();
            assert_eq!(found, values, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_cut_off_is_truncated_wherever_that_is() {
        let json = br#"[{"a":"b\"c"},[1,2],"x",true]"#;
        for length in 0..json.len() {
            let stop = elements(&json[..length], 3, u64::MAX).unwrap_err();
            assert!(matches!(stop, Stop::Truncated), "{length}: {stop:?}");
        }
    }

    #[test]
    fn what_is_between_the_values_must_be_right() {
        for (json, expected) in [
            (&b"{}"[..], 0),
            (b"[,]", 1),
            (b"[1,]", 3),
            (b"[1 2]", 3),
            (b"[}", 1),
            (b"[[}]", 2),
            (b"[{\"a\":1]]", 7),
            (b"[1] x", 4),
            (b"[\xef\xbb\xbf]", 1),
        ] {
            let stop = elements(json, 2, u64::MAX).unwrap_err();
            assert!(
                matches!(stop, Stop::Malformed { at } if at == expected),
                "{stop:?}"
            );
        }
    }

    #[test]
    fn a_body_may_be_as_long_as_its_bound_and_no_longer() {
        let json = b"[1,22,333]";
        for piece in 1..=json.len() {
            for bound in 0..12 {
                let found = elements(json, piece, bound);
                let fits = bound >= json.len() as u64;
                assert_eq!(found.is_ok(), fits, "{bound}");
                assert!(fits || matches!(found, Err(Stop::TooLong)), "{bound}");
            }
        }
    }

    #[test]
    fn nesting_has_no_limit() {
        let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
        assert_eq!(
            elements(&deep, CHUNK, u64::MAX).unwrap()[0].len(),
            deep.len() - 2
        );
    }
}
