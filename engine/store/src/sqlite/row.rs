use std::fmt::Display;
use std::str::FromStr;

use hotswap_core::{DeploymentId, Fence, Lifecycle};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Head};

/// What the store knows of a deployment without reading its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: i64,
    pub(super) fence: Fence,
    pub(super) head: Head,
}

/// One statement, so that lifecycle and length are of the same moment.
const KNOWN: &str = "SELECT number, fence, lifecycle,
        (SELECT max(seq) FROM event WHERE deployment = number)
    FROM deployment WHERE id = ?1";

/// Reads what there is to know of a deployment, as this connection sees it.
pub(super) fn known(
    connection: &Connection,
    deployment: DeploymentId,
) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached(KNOWN)?
        .query_row([deployment.as_bytes()], |row| {
            Ok(Known {
                number: row.get(0)?,
                fence: Fence(unsigned(row, 1)?),
                head: Head {
                    lifecycle: json::<Lifecycle>(row, 2)?,
                    next_seq: unsigned(row, 3)? + 1,
                },
            })
        })
        .optional()
}

/// A column that holds JSON, as text or as a blob.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = row.get_ref(column)?;
    let bytes = value.as_bytes()?;
    serde_json::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(error))
    })
}

/// A column that holds a name, a version or a digest.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// A column that holds what is a `u64` with us: SQLite's integers are signed, and the
/// largest half of ours is kept as the negative ones.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// The id of a deployment.
pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<DeploymentId> {
    row.get::<_, [u8; 16]>(column).map(DeploymentId::from_bytes)
}

/// The JSON of a value, to be stored.
pub(super) fn to_json(what: &'static str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|source| Error::Encode { what, source })
}

/// The text of a value, to be stored.
pub(super) fn text(value: &impl Display) -> String {
    value.to_string()
}
