//! What the server answers: rows, and values in the columns of the schema.

use sync_core::{Bytes, Error, ErrorKind, Object, OpId, Result, TombstoneReason};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::error::{corrupt, failed};

/// The row of a statement that always answers one.
pub(crate) fn only(rows: &[Row]) -> Result<&Row> {
    rows.first().ok_or_else(|| {
        Error::new(ErrorKind::Failed).with_message("the server answered without a row")
    })
}

/// The value in column `index`.
pub(crate) fn value<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(failed)
}

/// A position in column `index`.
pub(crate) fn position<P>(row: &Row, index: usize) -> Result<P>
where
    P: TryFrom<i64, Error = Error>,
{
    P::try_from(value::<i64>(row, index)?).map_err(corrupt)
}

/// A position, or none, in column `index`.
pub(crate) fn optional_position<P>(row: &Row, index: usize) -> Result<Option<P>>
where
    P: TryFrom<i64, Error = Error>,
{
    value::<Option<i64>>(row, index)?
        .map(|value| P::try_from(value).map_err(corrupt))
        .transpose()
}

/// A count in column `index`.
pub(crate) fn count(row: &Row, index: usize) -> Result<u64> {
    u64::try_from(value::<i64>(row, index)?).map_err(corrupt)
}

/// An id in column `index`.
pub(crate) fn op_id(row: &Row, index: usize) -> Result<OpId> {
    OpId::try_from(value::<&[u8]>(row, index)?).map_err(corrupt)
}

/// The object, or none, in column `index`.
pub(crate) fn object(row: &Row, index: usize) -> Result<Option<Object>> {
    value::<Option<&[u8]>>(row, index)?
        .map(|bytes| Object::new(Bytes::copy_from_slice(bytes)).map_err(corrupt))
        .transpose()
}

/// Bytes in column `index`.
pub(crate) fn bytes(row: &Row, index: usize) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(value::<&[u8]>(row, index)?))
}

/// A tombstone's reason in column `index`.
pub(crate) fn reason(row: &Row, index: usize) -> Result<TombstoneReason> {
    TombstoneReason::from_code(i64::from(value::<i16>(row, index)?)).map_err(corrupt)
}
