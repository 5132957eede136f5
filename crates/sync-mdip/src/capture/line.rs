use std::io::{self, BufRead, Read};

/// The bytes of a reader up to the next line feed.
pub(crate) struct Line<'r, R> {
    inner: &'r mut R,
    /// Bytes taken from the reader, the line feed included.
    taken: u64,
    /// Whether the line feed was taken, or the reader is at its end.
    ended: bool,
    /// Whether nothing but white space was read.
    blank: bool,
}

impl<'r, R: BufRead> Line<'r, R> {
    pub(crate) fn new(inner: &'r mut R) -> Self {
        Self {
            inner,
            taken: 0,
            ended: false,
            blank: true,
        }
    }

    /// Whether there is nothing on the line, once it was read.
    pub(crate) fn is_blank(&self) -> bool {
        self.blank
    }

    /// Passes over what was not read; answers the length of the line, its line feed included. It is
    /// 0 at the end of the reader.
    pub(crate) fn finish(self) -> io::Result<u64> {
        if self.ended {
            return Ok(self.taken);
        }
        Ok(self.taken + self.inner.skip_until(b'\n')? as u64)
    }
}

impl<R: BufRead> Read for Line<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let available = self.inner.fill_buf()?;
        let available = available.get(..buffer.len()).unwrap_or(available);
        let line_feed = available.iter().position(|byte| *byte == b'\n');
        let length = line_feed.unwrap_or(available.len());
        if let (Some(from), Some(to)) = (available.get(..length), buffer.get_mut(..length)) {
            self.blank &= from.iter().all(u8::is_ascii_whitespace);
            to.copy_from_slice(from);
        }
        let taken = length + usize::from(line_feed.is_some());
        self.ended = line_feed.is_some() || taken == 0;
        self.inner.consume(taken);
        self.taken += taken as u64;
        Ok(length)
    }
}
