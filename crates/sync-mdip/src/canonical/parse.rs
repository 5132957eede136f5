use super::text::TextBuilder;
use super::{JsonError, Members, NESTING, RAW_BYTES, Text, VALUES, Value};

/// A parsed value, with a property of its keys.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Value,
    /// Whether any key is one that JavaScript takes for an index.
    pub(crate) has_index_keys: bool,
}

/// Reads one JSON value and nothing after it but white space.
pub(crate) fn parse(raw: &[u8]) -> Result<Document, JsonError> {
    if raw.len() > RAW_BYTES {
        return Err(JsonError::TooLarge);
    }
    let text = std::str::from_utf8(raw).map_err(|error| JsonError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut parser = Parser {
        text,
        at: 0,
        open: 0,
        values: 0,
        has_index_keys: false,
    };
    let root = parser.value()?;
    parser.skip_white_space();
    if parser.at < text.len() {
        return Err(JsonError::Syntax { at: parser.at });
    }
    Ok(Document {
        root,
        has_index_keys: parser.has_index_keys,
    })
}

struct Parser<'a> {
    text: &'a str,
    /// The offset of the next byte. Always at a character's first byte where text is cut.
    at: usize,
    /// Arrays and objects that are open.
    open: usize,
    values: usize,
    has_index_keys: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The error where the next byte is not an expected one.
    fn unexpected(&self) -> JsonError {
        if self.at < self.text.len() {
            JsonError::Syntax { at: self.at }
        } else {
            JsonError::Truncated
        }
    }

    /// Steps over `byte` where it is next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn slice(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > VALUES {
            return Err(JsonError::TooLarge);
        }
        self.skip_white_space();
        match self.peek() {
            Some(b'{') => self.object().map(Value::Object),
            Some(b'[') => self.array().map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Value::Bool(false)),
            Some(b'n') => self.word("null").map(|()| Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    /// Steps over the bracket that opens an array or object.
    fn enter(&mut self) -> Result<(), JsonError> {
        if self.open == NESTING {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.open += 1;
        self.at += 1;
        self.skip_white_space();
        Ok(())
    }

    fn array(&mut self) -> Result<Vec<Value>, JsonError> {
        self.enter()?;
        let mut values = Vec::new();
        if !self.take(b']') {
            loop {
                values.push(self.value()?);
                self.skip_white_space();
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b']')?;
        }
        self.open -= 1;
        Ok(values)
    }

    fn object(&mut self) -> Result<Members, JsonError> {
        self.enter()?;
        let mut members = Vec::new();
        if !self.take(b'}') {
            loop {
                self.skip_white_space();
                let key = self.string()?;
                self.has_index_keys |= key.as_index().is_some();
                self.skip_white_space();
                self.expect(b':')?;
                members.push((key, self.value()?));
                self.skip_white_space();
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        self.open -= 1;
        Ok(Members::from_source(members))
    }

    fn number(&mut self) -> Result<f64, JsonError> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        // The text is a number by JSON's grammar, which is narrower than that of `f64`.
        match self.slice(from).parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(JsonError::NumberRange { at: from }),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from {
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Text, JsonError> {
        self.expect(b'"')?;
        let mut builder = TextBuilder::default();
        loop {
            let from = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0x00..0x20)) {
                self.at += 1;
            }
            builder.push_str(self.slice(from));
            if self.take(b'"') {
                return Ok(builder.finish());
            }
            self.expect(b'\\')?;
            self.escape(&mut builder)?;
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, builder: &mut TextBuilder) -> Result<(), JsonError> {
        let character = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(builder);
            }
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        builder.push(character);
        Ok(())
    }

    fn unicode_escape(&mut self, builder: &mut TextBuilder) -> Result<(), JsonError> {
        let mut unit = self.four_digits()?;
        // A high surrogate waits for the low one that an escape right behind it may bring.
        while (0xd800..0xdc00).contains(&unit) {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            if !rest.starts_with(b"\\u") {
                break;
            }
            self.at += 2;
            let next = self.four_digits()?;
            if let Some(Ok(character)) = char::decode_utf16([unit, next]).next() {
                builder.push(character);
                return Ok(());
            }
            builder.push_lone(unit);
            unit = next;
        }
        match char::from_u32(unit.into()) {
            Some(character) => builder.push(character),
            None => builder.push_lone(unit),
        }
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .peek()
                .and_then(|byte| char::from(byte).to_digit(16))
                .and_then(|digit| u16::try_from(digit).ok())
                .ok_or_else(|| self.unexpected())?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }
}
