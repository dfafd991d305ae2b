//! [`Catalogue`] for [`Sqlite`].

use async_trait::async_trait;
use hotswap_core::{ModuleName, ModuleVersion, NodeId, StrategyName, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use semver::Version;
use serde::Serialize;

use super::Sqlite;
use super::error::Error;
use super::row::{read_json, read_parsed, read_u64, to_json, to_text};
use crate::catalogue::{
    BackendRecord, Catalogue, CatalogueError, ModuleRecord, NodeRecord, StrategyRecord,
};
use crate::unreadable_records::{Listed, UnreadableRecord};

const SELECT_MODULE: &str =
    "SELECT name, version, digest, size, uploaded_at, uploaded_by FROM module";
const SELECT_STRATEGY: &str = "SELECT name, version, summary, config_schema, digest, wit, built_in,
    uploaded_at, uploaded_by FROM strategy";
const SELECT_BACKEND: &str = "SELECT name, version, summary, config_schema, can_register, secrets,
    digest, wit, uploaded_at, uploaded_by FROM discovery_backend";
const SELECT_NODE: &str =
    "SELECT id, environment, zone, labels, control_url, data_url, registered_at, instance
    FROM node";

#[async_trait]
impl Catalogue for Sqlite {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        let put = move |connection: &Connection| {
            insert_module(connection, &record)?;
            find_module(connection, &record.module.name, &record.module.version)
        };
        Ok(self.edit(put).await?)
    }

    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        let (name, version) = (name.clone(), version.clone());
        let find =
            move |connection: &Connection| readable(find_module(connection, &name, &version));
        Ok(self.read(find).await?)
    }

    async fn modules(
        &self,
        name: Option<&ModuleName>,
    ) -> Result<Vec<ModuleRecord>, CatalogueError> {
        let name = name.cloned();
        let mut found = self
            .list(move |connection| list_modules(connection, name.as_ref()))
            .await?;
        // SQL cannot order by SemVer precedence.
        ModuleRecord::sort(&mut found);
        Ok(found)
    }

    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError> {
        let delete = "DELETE FROM module WHERE name = ?1 AND version = ?2";
        Ok(self
            .delete_rows(delete, [to_text(name), to_text(version)])
            .await?)
    }

    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        let replaces = replaces.map(revision);
        let put = move |connection: &Connection| {
            let stored = readable_strategy(connection, &record.name)?;
            let stored = stored.as_ref().map(revision);
            if stored != replaces && stored != Some(revision(&record)) {
                return Ok(false);
            }
            insert_strategy(connection, &record)?;
            Ok(true)
        };
        Ok(self.edit(put).await?)
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        let name = name.clone();
        let find = move |connection: &Connection| readable_strategy(connection, &name);
        Ok(self.read(find).await?)
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        Ok(self.list(list_strategies).await?)
    }

    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError> {
        let (digest, built_in) = revision(record);
        let delete = "DELETE FROM strategy WHERE name = ?1 AND digest = ?2 AND built_in = ?3";
        let key = (to_text(&record.name), digest, built_in);
        Ok(self.delete_rows(delete, key).await?)
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        let put = move |connection: &Connection| insert_backend(connection, &record);
        Ok(self.edit(put).await?)
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        Ok(self.list(list_backends).await?)
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        let delete = "DELETE FROM discovery_backend WHERE name = ?1";
        Ok(self.delete_rows(delete, [to_text(name)]).await?)
    }

    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError> {
        let replaces = replaces.cloned();
        let put = move |connection: &Connection| {
            let stored = connection
                .prepare_cached(&format!("{SELECT_NODE} WHERE id = ?1"))?
                .query_row([record.id.as_str()], read_node);
            if let Some(other) = readable(stored)?
                && !other.gives_way(&record, replaces.as_ref())
            {
                return Ok(other);
            }
            insert_node(connection, &record)?;
            Ok(record.clone())
        };
        Ok(self.edit(put).await?)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        Ok(self.list(list_nodes).await?)
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        let delete = "DELETE FROM node WHERE id = ?1";
        Ok(self.delete_rows(delete, [to_text(id)]).await?)
    }

    async fn unreadable_records(&self) -> Result<Vec<UnreadableRecord>, CatalogueError> {
        let find = |connection: &Connection| {
            let mut found = list_modules(connection, None)?.unreadable;
            found.extend(list_strategies(connection)?.unreadable);
            found.extend(list_backends(connection)?.unreadable);
            found.extend(list_nodes(connection)?.unreadable);
            Ok(found)
        };
        Ok(self.read(find).await?)
    }
}

impl Sqlite {
    /// The records that can be read. Reports the others.
    async fn list<T, Q>(&self, query: Q) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<Listed<T>> + Send + 'static,
    {
        let Listed {
            records,
            unreadable,
        } = self.read(query).await?;
        self.inner.unreadable.report(&unreadable);
        Ok(records)
    }

    /// Deletes the rows with a key. Returns whether there were any.
    async fn delete_rows<K>(&self, delete: &'static str, key: K) -> Result<bool, Error>
    where
        K: Params + Clone + Send + 'static,
    {
        let delete = move |connection: &Connection| {
            let count = connection.prepare_cached(delete)?.execute(key.clone())?;
            Ok(count > 0)
        };
        self.edit(delete).await
    }
}

fn list_modules(
    connection: &Connection,
    name: Option<&ModuleName>,
) -> rusqlite::Result<Listed<ModuleRecord>> {
    let query = format!("{SELECT_MODULE} WHERE name = ?1 OR ?1 IS NULL");
    let mut query = connection.prepare_cached(&query)?;
    let mut rows = query.query([name.map(ModuleName::as_str)])?;
    let mut listed = Listed::new();
    while let Some(row) = rows.next()? {
        let key = || format!("{} {}", lossy_text(row, 0), lossy_text(row, 1));
        listed.add("module", key, read_module(row));
    }
    Ok(listed)
}

fn list_strategies(connection: &Connection) -> rusqlite::Result<Listed<StrategyRecord>> {
    let query = format!("{SELECT_STRATEGY} ORDER BY name");
    list_by_name(connection, "strategy", &query, read_strategy)
}

fn list_backends(connection: &Connection) -> rusqlite::Result<Listed<BackendRecord>> {
    let query = format!("{SELECT_BACKEND} ORDER BY name");
    list_by_name(connection, "backend", &query, read_backend)
}

fn list_nodes(connection: &Connection) -> rusqlite::Result<Listed<NodeRecord>> {
    let query = format!("{SELECT_NODE} ORDER BY id");
    list_by_name(connection, "node", &query, read_node)
}

/// The records of a table whose first column is their name.
fn list_by_name<T>(
    connection: &Connection,
    kind: &'static str,
    query: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Listed<T>> {
    let mut query = connection.prepare_cached(query)?;
    let mut rows = query.query([])?;
    let mut listed = Listed::new();
    while let Some(row) = rows.next()? {
        listed.add(kind, || lossy_text(row, 0), read(row));
    }
    Ok(listed)
}

/// A text for people, whatever the column holds.
fn lossy_text(row: &Row<'_>, column: usize) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => "?".to_owned(),
    }
}

/// A record that was looked up. `None` where there is none, or it cannot be read.
fn readable<T>(found: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    use rusqlite::Error as E;
    match found {
        Err(
            E::FromSqlConversionFailure(..)
            | E::InvalidColumnType(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..),
        ) => Ok(None),
        found => found.optional(),
    }
}

fn find_module(
    connection: &Connection,
    name: &ModuleName,
    version: &Version,
) -> rusqlite::Result<ModuleRecord> {
    connection
        .prepare_cached(&format!("{SELECT_MODULE} WHERE name = ?1 AND version = ?2"))?
        .query_row([to_text(name), to_text(version)], read_module)
}

fn readable_strategy(
    connection: &Connection,
    name: &StrategyName,
) -> rusqlite::Result<Option<StrategyRecord>> {
    let found = connection
        .prepare_cached(&format!("{SELECT_STRATEGY} WHERE name = ?1"))?
        .query_row([name.as_str()], read_strategy);
    readable(found)
}

/// By what the records of a strategy differ: the digest, and whether it is built in.
fn revision(record: &StrategyRecord) -> (String, bool) {
    (to_text(&record.digest), record.built_in)
}

/// Does nothing where there is a record of this name and version.
pub(super) fn insert_module(
    connection: &Connection,
    record: &ModuleRecord,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO module VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    connection
        .prepare_cached(insert)?
        .execute(params![
            record.module.name.as_str(),
            to_text(&record.module.version),
            to_text(&record.module.digest),
            record.size.cast_signed(),
            record.uploaded_at.millis().cast_signed(),
            record.uploaded_by,
        ])
        .map(drop)
}

pub(super) fn insert_strategy(
    connection: &Connection,
    record: &StrategyRecord,
) -> rusqlite::Result<()> {
    let replace = "INSERT OR REPLACE INTO strategy VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection
        .prepare_cached(replace)?
        .execute(params![
            record.name.as_str(),
            record.version,
            record.summary,
            json_column("the schema of a strategy", &record.config_schema)?,
            to_text(&record.digest),
            to_text(&record.wit),
            record.built_in,
            record.uploaded_at.millis().cast_signed(),
            record.uploaded_by,
        ])
        .map(drop)
}

pub(super) fn insert_backend(
    connection: &Connection,
    record: &BackendRecord,
) -> rusqlite::Result<()> {
    let replace = "INSERT OR REPLACE INTO discovery_backend
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection
        .prepare_cached(replace)?
        .execute(params![
            record.name.as_str(),
            record.version,
            record.summary,
            json_column("the schema of a backend", &record.config_schema)?,
            record.can_register,
            json_column("the secrets of a backend", &record.secrets)?,
            to_text(&record.digest),
            to_text(&record.wit),
            record.uploaded_at.millis().cast_signed(),
            record.uploaded_by,
        ])
        .map(drop)
}

pub(super) fn insert_node(connection: &Connection, record: &NodeRecord) -> rusqlite::Result<()> {
    let replace = "INSERT OR REPLACE INTO node VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection
        .prepare_cached(replace)?
        .execute(params![
            record.id.as_str(),
            record.environment.as_str(),
            record.zone,
            json_column("the labels of a node", &record.labels)?,
            record.control_url,
            record.data_url,
            record.registered_at.millis().cast_signed(),
            record.instance,
        ])
        .map(drop)
}

fn json_column(what: &'static str, value: &impl Serialize) -> rusqlite::Result<String> {
    let json = to_json(what, value);
    json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn read_module(row: &Row<'_>) -> rusqlite::Result<ModuleRecord> {
    Ok(ModuleRecord {
        module: ModuleVersion {
            name: read_parsed(row, 0)?,
            version: read_parsed(row, 1)?,
            digest: read_parsed(row, 2)?,
        },
        size: read_u64(row, 3)?,
        uploaded_at: Timestamp::from_millis(read_u64(row, 4)?),
        uploaded_by: row.get(5)?,
    })
}

fn read_strategy(row: &Row<'_>) -> rusqlite::Result<StrategyRecord> {
    Ok(StrategyRecord {
        name: read_parsed(row, 0)?,
        version: row.get(1)?,
        summary: row.get(2)?,
        config_schema: read_json(row, 3)?,
        digest: read_parsed(row, 4)?,
        wit: read_parsed(row, 5)?,
        built_in: row.get(6)?,
        uploaded_at: Timestamp::from_millis(read_u64(row, 7)?),
        uploaded_by: row.get(8)?,
    })
}

fn read_backend(row: &Row<'_>) -> rusqlite::Result<BackendRecord> {
    Ok(BackendRecord {
        name: read_parsed(row, 0)?,
        version: row.get(1)?,
        summary: row.get(2)?,
        config_schema: read_json(row, 3)?,
        can_register: row.get(4)?,
        secrets: read_json(row, 5)?,
        digest: read_parsed(row, 6)?,
        wit: read_parsed(row, 7)?,
        uploaded_at: Timestamp::from_millis(read_u64(row, 8)?),
        uploaded_by: row.get(9)?,
    })
}

fn read_node(row: &Row<'_>) -> rusqlite::Result<NodeRecord> {
    Ok(NodeRecord {
        id: read_parsed(row, 0)?,
        environment: read_parsed(row, 1)?,
        zone: row.get(2)?,
        labels: read_json(row, 3)?,
        control_url: row.get(4)?,
        data_url: row.get(5)?,
        registered_at: Timestamp::from_millis(read_u64(row, 6)?),
        instance: row.get(7)?,
    })
}
