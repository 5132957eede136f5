//! Reading the answers of the server.

use redis::Value;
use sync_core::{Bytes, Epoch, OpId, Result, Seq, Stats};

use crate::error::corrupt;

/// The elements of an array, in turn.
pub(crate) struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    pub(crate) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(parts) => Ok(Self(parts.into_iter())),
            _ => Err(unexpected()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn value(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(unexpected)
    }

    pub(crate) fn parts(&mut self) -> Result<Self> {
        Self::of(self.value()?)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        bytes(self.value()?)
    }

    /// Bytes, or nothing where the server answered nil.
    pub(crate) fn optional(&mut self) -> Result<Option<Vec<u8>>> {
        match self.value()? {
            Value::Nil => Ok(None),
            value => bytes(value).map(Some),
        }
    }

    pub(crate) fn id(&mut self) -> Result<OpId> {
        OpId::try_from(&self.bytes()?[..]).map_err(corrupt)
    }

    /// A number, as an integer or in digits.
    pub(crate) fn number(&mut self) -> Result<u64> {
        number(&self.value()?)
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.number()? != 0)
    }
}

impl Iterator for Parts {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.0.next()
    }
}

/// Bytes of an answer.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected()),
    }
}

/// Shared bytes of an answer, or nothing where it is nil.
pub(crate) fn optional_bytes(value: Value) -> Result<Option<Bytes>> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(value).map(|bytes| Some(Bytes::from(bytes))),
    }
}

pub(crate) fn number(value: &Value) -> Result<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| unexpected()),
        Value::BulkString(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(unexpected),
        _ => Err(unexpected()),
    }
}

/// The fields of the space itself, as the scripts read them; `None` where it does not exist.
pub(crate) fn stats(value: Value) -> Result<Option<Stats>> {
    let mut fields = Parts::of(value)?;
    let Some(epoch) = fields.optional()? else {
        return Ok(None);
    };
    let _server = fields.optional()?;
    let seq = |number| Seq::try_from(number).map_err(corrupt);
    Ok(Some(Stats {
        epoch: Some(Epoch::try_from(&epoch[..]).map_err(corrupt)?),
        head: seq(fields.number()?)?,
        floor: seq(fields.number()?)?,
        total: fields.number()?,
        ordered: fields.number()?,
        tombstones: fields.number()?,
    }))
}

/// The error of an answer that no script and no command gives.
pub(crate) fn unexpected() -> sync_core::Error {
    corrupt("the server answered in a form that has no meaning here")
}
