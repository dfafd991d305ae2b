//! Conversions between values and columns.

use std::fmt::Display;
use std::str::FromStr;

use hotswap_core::DeploymentId;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;

/// Reads JSON, stored as text or as a blob.
pub(super) fn read_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = row.get_ref(column)?;
    let bytes = value.as_bytes()?;
    serde_json::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(error))
    })
}

/// Reads a name, a version or a digest.
pub(super) fn read_parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// Reads a `u64`. SQLite's integers are signed: the upper half of the range is stored as
/// negative numbers.
pub(super) fn read_u64(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads the id of a deployment.
pub(super) fn read_deployment_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DeploymentId> {
    row.get::<_, [u8; 16]>(column).map(DeploymentId::from_bytes)
}

/// Encodes a value for [`read_json`].
pub(super) fn to_json(what: &'static str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|source| Error::Encode { what, source })
}

/// Encodes a value for [`read_parsed`].
pub(super) fn to_text(value: &impl Display) -> String {
    value.to_string()
}
