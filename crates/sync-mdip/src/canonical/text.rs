use std::cmp::Ordering;

/// A string of JavaScript: any sequence of 16-bit code units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Unicode text.
    Unicode(String),
    /// UTF-16 code units of which at least one is a lone surrogate.
    Units(Vec<u16>),
}

impl Text {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Unicode(text) => Some(text),
            Self::Units(_) => None,
        }
    }

    /// The number this text is where JavaScript takes it for an index: the shortest decimal
    /// spelling of 0..=4294967294. Such keys come first when JavaScript lists an object's keys.
    pub(crate) fn as_index(&self) -> Option<u32> {
        let text = self.as_str()?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let shortest = text == "0" || !text.starts_with('0');
        (plain && shortest)
            .then(|| text.parse().ok())
            .flatten()
            .filter(|index| *index != u32::MAX)
    }
}

/// By UTF-16 code units, as RFC 8785 orders keys. That is not the order of code points: those
/// above U+FFFF come before U+E000.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Unicode(a), Self::Unicode(b)) if a.is_ascii() && b.is_ascii() => a.cmp(b),
            (Self::Unicode(a), Self::Unicode(b)) => a.encode_utf16().cmp(b.encode_utf16()),
            (Self::Unicode(a), Self::Units(b)) => a.encode_utf16().cmp(b.iter().copied()),
            (Self::Units(a), Self::Unicode(b)) => a.iter().copied().cmp(b.encode_utf16()),
            (Self::Units(a), Self::Units(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Collects a string piece by piece, as Unicode text until a lone surrogate comes.
#[derive(Default)]
pub(crate) struct TextBuilder {
    text: String,
    units: Vec<u16>,
    broken: bool,
}

impl TextBuilder {
    pub(crate) fn push_str(&mut self, piece: &str) {
        if self.broken {
            self.units.extend(piece.encode_utf16());
        } else {
            self.text.push_str(piece);
        }
    }

    pub(crate) fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    /// Appends a surrogate that has no partner.
    pub(crate) fn push_lone(&mut self, surrogate: u16) {
        if !self.broken {
            self.broken = true;
            self.units.extend(self.text.encode_utf16());
        }
        self.units.push(surrogate);
    }

    pub(crate) fn finish(self) -> Text {
        if self.broken {
            Text::Units(self.units)
        } else {
            Text::Unicode(self.text)
        }
    }
}
