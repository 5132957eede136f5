use std::io::{BufRead, Read};

use super::LINE_BYTES;
use crate::failure::{Failure, Result};

/// Lines of bounded length, numbered from 1.
pub(crate) struct Lines {
    input: Box<dyn BufRead + Send + Sync>,
    read: u64,
}

/// One line, without its newline.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    /// The input ends without a newline after this line: it may have been cut.
    pub(crate) unfinished: bool,
}

impl Lines {
    /// The lines of `input`.
    pub(crate) fn new(input: impl BufRead + Send + Sync + 'static) -> Self {
        Self {
            input: Box::new(input),
            read: 0,
        }
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        let number = self.read + 1;
        let mut bytes = Vec::new();
        // One byte more than the limit tells a line at the limit from a longer one.
        let budget = LINE_BYTES as u64 + 1;
        let mut bounded = self.input.by_ref().take(budget);
        bounded
            .read_until(b'\n', &mut bytes)
            .map_err(|error| Failure::io(format!("reading line {number}"), error))?;
        let finished = bytes.pop_if(|last| *last == b'\n').is_some();
        if bytes.len() > LINE_BYTES
            || (!finished && bytes.len() == LINE_BYTES && bounded.limit() == 0)
        {
            return Err(Failure::input(format!(
                "line {number} is longer than {LINE_BYTES} bytes"
            )));
        }
        if bytes.is_empty() && !finished {
            return Ok(None);
        }
        self.read = number;
        Ok(Some(Line {
            number,
            bytes,
            unfinished: !finished,
        }))
    }

    /// How many lines were read.
    pub(crate) fn count(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: Vec<u8>) -> Lines {
        Lines::new(std::io::Cursor::new(input))
    }

    #[test]
    fn lines_are_numbered_and_the_last_one_says_whether_it_was_finished() {
        let mut input = lines(b"a\n\nb".to_vec());
        let mut read = Vec::new();
        while let Some(line) = input.next().unwrap() {
            read.push((line.number, line.bytes, line.unfinished));
        }
        let expected = [
            (1, b"a".to_vec(), false),
            (2, vec![], false),
            (3, b"b".to_vec(), true),
        ];
        assert_eq!(read, expected);
        assert_eq!(input.count(), 3);
    }

    #[test]
    fn a_line_at_the_bound_is_read_and_one_byte_more_is_refused() {
        let mut longest = vec![b'x'; LINE_BYTES];
        assert_eq!(
            lines(longest.clone()).next().unwrap().unwrap().bytes,
            longest
        );
        longest.push(b'\n');
        let line = lines(longest).next().unwrap().unwrap();
        assert_eq!((line.bytes.len(), line.unfinished), (LINE_BYTES, false));
        for end in [&b""[..], b"\n", b"y\n"] {
            let mut long = vec![b'x'; LINE_BYTES + 1];
            long.extend_from_slice(end);
            assert!(lines(long).next().is_err());
        }
    }
}
