use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, Result, limits};

/// The identity of an operation: 32 bytes chosen by the protocol. Compared as unsigned bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId([u8; 32]);

impl OpId {
    /// The id made of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for OpId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for OpId {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::invalid(
                "id",
                format!("the length is {} instead of 32 bytes", bytes.len()),
            )
        })
    }
}

/// Reads 64 hexadecimal digits of either case.
impl FromStr for OpId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| {
            Error::invalid(
                "id",
                format!("{} is not 64 hexadecimal digits", Excerpt(text)),
            )
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpId({self})")
    }
}

/// The name of one history of a space: 16 random bytes.
///
/// New at creation, at a reset, and wherever acknowledged writes may have been lost. A cursor of
/// another epoch is refused instead of read against a history it does not belong to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// The epoch made of these bytes, as a backend reads it from its database.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new epoch from the operating system's random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(Error::no_randomness)?;
        Ok(Self(bytes))
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Epoch {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::invalid(
                "epoch",
                format!("the length is {} instead of 16 bytes", bytes.len()),
            )
        })
    }
}

/// Reads 32 hexadecimal digits of either case.
impl FromStr for Epoch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| {
            Error::invalid(
                "epoch",
                format!("{} is not 32 hexadecimal digits", Excerpt(text)),
            )
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// What an operation is about: a DID, a document, a tree. 1..=256 bytes of anything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(Bytes);

impl Object {
    /// The object named by `bytes`; refused when empty or longer than 256 bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > limits::OBJECT_BYTES {
            return Err(Error::invalid(
                "object",
                format!("{} bytes, allowed are 1..=256", bytes.len()),
            ));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without copying them.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.0.escape_ascii())
    }
}

/// The name of a space, one replicated set: 1..=64 bytes of `a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceName(Arc<str>);

impl SpaceName {
    /// The space called `name`; refused when a byte or the length is not allowed.
    pub fn new(name: &str) -> Result<Self> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > limits::SPACE_NAME_BYTES || !name.bytes().all(allowed) {
            return Err(Error::invalid(
                "space name",
                format!("{} is not 1..=64 bytes of a-z 0-9 . _ -", Excerpt(name)),
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpaceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpaceName({self})")
    }
}

/// The key of a small named value: 1..=256 bytes of UTF-8 without NUL. Case matters; keys sort
/// and match prefixes by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(Arc<str>);

impl StateKey {
    /// The key `key`; refused when empty, longer than 256 bytes, or with a NUL in it.
    pub fn new(key: &str) -> Result<Self> {
        if key.is_empty() || key.len() > limits::STATE_KEY_BYTES || key.contains('\0') {
            return Err(Error::invalid(
                "state key",
                format!("{} is not 1..=256 bytes of UTF-8 without NUL", Excerpt(key)),
            ));
        }
        Ok(Self(key.into()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StateKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateKey({:?})", &*self.0)
    }
}

impl AsRef<str> for SpaceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for StateKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Object {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes of the text.
impl FromStr for Object {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.to_owned())
    }
}

/// The bytes as text, with escapes for what is not printable ASCII.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

macro_rules! try_from_str {
    ($($name:ty),*) => {$(
        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self> {
                text.parse()
            }
        }
    )*};
}

try_from_str!(OpId, Epoch, Object, SpaceName, StateKey, crate::FeedCursor);

/// Text from outside inside a message: quoted, escaped, and cut, so that a malformed name of a
/// megabyte does not become a message of a megabyte.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS: usize = 80;
        let cut = self.0.chars().take(CHARACTERS).collect::<String>();
        write!(f, "{cut:?}")?;
        if cut.len() < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_names_are_1_to_64_bytes_of_the_allowed_alphabet() {
        for good in ["a", "a.b_c-9", &"x".repeat(64)] {
            assert_eq!(SpaceName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "ä", "a b", "a/b", "a\0", &"x".repeat(65)] {
            assert!(SpaceName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn state_keys_are_1_to_256_bytes_without_nul() {
        for good in ["k", "K", "%$.{}*[_", "ключ", &"x".repeat(256)] {
            assert_eq!(StateKey::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\0b", &"x".repeat(257)] {
            assert!(StateKey::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_read_from_text_in_every_usual_way() {
        assert_eq!(SpaceName::try_from("a").unwrap().to_string(), "a");
        assert_eq!(StateKey::try_from("k").unwrap().as_ref(), "k");
        assert_eq!("did".parse::<Object>().unwrap().as_bytes(), b"did");
        assert_eq!(Object::new(vec![b'a', 0xff]).unwrap().to_string(), "a\\xff");
        assert!(OpId::try_from("ab").is_err());
    }

    #[test]
    fn objects_are_1_to_256_bytes_of_anything() {
        assert!(Object::new(vec![0xff; 256]).is_ok());
        assert!(Object::new(vec![]).is_err());
        assert!(Object::new(vec![0; 257]).is_err());
    }

    #[test]
    fn ids_read_either_case_and_refuse_anything_that_is_not_64_digits() {
        let id: OpId = "AB".repeat(32).parse().unwrap();
        assert_eq!(id.to_string(), "ab".repeat(32));
        for bad in ["", "ab", &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(bad.parse::<OpId>().is_err(), "{bad:?}");
        }
        assert!(OpId::try_from([0_u8; 31].as_slice()).is_err());
    }

    #[test]
    fn a_huge_malformed_name_makes_a_short_message() {
        let error = SpaceName::new(&"Ä".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }
}
