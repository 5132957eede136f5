//! Values in the columns of the schema.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use sync_core::{Bytes, Error, Object, OpId};

use crate::error::corrupt;

/// A position in column `index`.
pub(crate) fn position<P>(row: &Row<'_>, index: usize) -> rusqlite::Result<P>
where
    P: TryFrom<i64, Error = Error>,
{
    P::try_from(row.get::<_, i64>(index)?).map_err(corrupt)
}

/// A position, or none, in column `index`.
pub(crate) fn optional_position<P>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<P>>
where
    P: TryFrom<i64, Error = Error>,
{
    row.get::<_, Option<i64>>(index)?
        .map(|value| P::try_from(value).map_err(corrupt))
        .transpose()
}

/// An id in column `index`.
pub(crate) fn op_id(row: &Row<'_>, index: usize) -> rusqlite::Result<OpId> {
    OpId::try_from(row.get_ref(index)?.as_blob()?).map_err(corrupt)
}

/// The object in a column.
pub(crate) fn object(value: ValueRef<'_>) -> rusqlite::Result<Option<Object>> {
    value
        .as_blob_or_null()?
        .map(|bytes| Object::new(Bytes::copy_from_slice(bytes)).map_err(corrupt))
        .transpose()
}
