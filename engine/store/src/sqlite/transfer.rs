//! Reading the whole state, and writing it into an empty database.

use std::collections::HashMap;

use async_trait::async_trait;
use hotswap_core::{DeploymentId, Fence, Timestamp};
use rusqlite::{Connection, Row, params};

use super::Sqlite;
use super::lifecycle_memo::read_lifecycle;
use super::query::{self, clamp};
use super::row::{read_deployment_id, read_parsed, read_u64, to_json, to_text};
use crate::transfer::{Archive, Contents, Entry, Error, Record, RequestKey, StoredDeployment};
use crate::{Blobs, CatalogueError};

#[async_trait]
impl Contents for Sqlite {
    /// The lock of the database keeps all others out.
    async fn standstill(&self) -> Result<String, CatalogueError> {
        Ok(String::new())
    }

    async fn store_record(&self) -> Result<Record, CatalogueError> {
        let read = |connection: &Connection| {
            let Fence(fence) = query::last_fence(connection)?;
            Ok(Record::Store {
                position: query::last_position(connection)?,
                deleted: query::deleted_through(connection)?,
                fence,
            })
        };
        Ok(self.read(read).await?)
    }

    async fn environment_records(&self) -> Result<Vec<Record>, CatalogueError> {
        Ok(self.read(environment_records).await?)
    }

    async fn deployments_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Record>, CatalogueError> {
        let read = move |connection: &Connection| deployments_after(connection, number, limit);
        Ok(self.read(read).await?)
    }

    async fn deployment_events_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError> {
        let read = move |connection: &Connection| {
            let query = "SELECT position, id, seq, at, body
                FROM event CROSS JOIN deployment ON number = deployment
                WHERE position > ?1 ORDER BY position LIMIT ?2";
            connection
                .prepare_cached(query)?
                .query_map(params![clamp(position), clamp(limit)], |row| {
                    let record = Record::Event {
                        position: read_u64(row, 0)?,
                        deployment: read_deployment_id(row, 1)?,
                        seq: read_u64(row, 2)?,
                        at: read_time(row, 3)?,
                    };
                    let bytes = Some(row.get_ref(4)?.as_bytes()?.to_vec());
                    Ok(Entry { record, bytes })
                })?
                .collect()
        };
        Ok(self.read(read).await?)
    }

    async fn environment_entries_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError> {
        let read = move |connection: &Connection| {
            let query = "SELECT position, environment, at, decides, body, module
                FROM environment_event WHERE position > ?1 ORDER BY position LIMIT ?2";
            connection
                .prepare_cached(query)?
                .query_map(params![clamp(position), clamp(limit)], |row| {
                    let record = Record::EnvironmentEvent {
                        position: read_u64(row, 0)?,
                        environment: read_parsed(row, 1)?,
                        at: read_time(row, 2)?,
                        decides: row.get(3)?,
                        module: match row.get_ref(5)? {
                            rusqlite::types::ValueRef::Null => None,
                            _ => Some(read_parsed(row, 5)?),
                        },
                    };
                    let bytes = Some(row.get_ref(4)?.as_bytes()?.to_vec());
                    Ok(Entry { record, bytes })
                })?
                .collect()
        };
        Ok(self.read(read).await?)
    }
}

impl Sqlite {
    /// Writes an archive into this store, which must be empty, and its artifacts into `blobs`. Close
    /// the store afterwards: what this handle knows of the state is of before.
    ///
    /// All records are written in one transaction, which begins a new epoch: until it is committed
    /// there is nothing, whenever it is cut off. Artifacts are written before; those that an import
    /// leaves behind that was cut off are files that nothing needs.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], and those of reading the archive. Then nothing was written.
    pub async fn import(&self, archive: &Archive, blobs: &Blobs) -> Result<(), Error> {
        let is_empty = self.read(is_empty).await;
        if !is_empty.map_err(|error| Error::Store(error.into()))? {
            return Err(Error::NotEmpty);
        }
        let mut records = archive.records()?;
        while let Some(entry) = records.next()? {
            if let (Record::Blob { digest }, Some(bytes)) = (entry.record, entry.bytes) {
                let mut writer = blobs.writer().await?;
                writer.write(&bytes).await?;
                writer.finish(Some(digest)).await?;
            }
        }
        let archive = archive.clone();
        let edit = move |connection: &Connection| match insert_all(connection, &archive) {
            Ok(()) => Ok(()),
            Err(Error::Store(source)) => match source.downcast::<rusqlite::Error>() {
                // The writer has to know where the disk is full.
                Ok(error) => Err(*error),
                Err(other) => Err(rusqlite::Error::ToSqlConversionFailure(other)),
            },
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        };
        let edited = self.edit(edit).await;
        edited.map_err(|error| Error::Store(error.into()))
    }
}

fn read_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    read_u64(row, column).map(Timestamp::from_millis)
}

fn environment_records(connection: &Connection) -> rusqlite::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut add = |query: &str, read: fn(&Row<'_>) -> rusqlite::Result<Record>| {
        let mut statement = connection.prepare(query)?;
        for record in statement.query_map([], read)? {
            records.push(record?);
        }
        Ok::<_, rusqlite::Error>(())
    };
    add("SELECT name, fence FROM environment", |row| {
        Ok(Record::Environment {
            name: read_parsed(row, 0)?,
            fence: read_u64(row, 1)?,
        })
    })?;
    let retirements = "SELECT environment, module, number, at FROM retirement";
    add(retirements, |row| {
        Ok(Record::Retirement {
            environment: read_parsed(row, 0)?,
            module: read_parsed(row, 1)?,
            number: read_u64(row, 2)?,
            at: read_time(row, 3)?,
        })
    })?;
    add("SELECT environment, node, position FROM cordon", |row| {
        Ok(Record::Cordon {
            environment: read_parsed(row, 0)?,
            node: read_parsed(row, 1)?,
            position: read_u64(row, 2)?,
        })
    })?;
    add("SELECT node, position FROM arrival", |row| {
        Ok(Record::Arrival {
            node: read_parsed(row, 0)?,
            position: read_u64(row, 1)?,
        })
    })?;
    add("SELECT environment, position FROM policy", |row| {
        Ok(Record::Policy {
            environment: read_parsed(row, 0)?,
            position: read_u64(row, 1)?,
        })
    })?;
    Ok(records)
}

fn deployments_after(
    connection: &Connection,
    number: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Record>> {
    let query = "SELECT number, id, module, environment, fence, lifecycle, status, ended,
            created_at, requester, idempotency_key, selector, waits,
            (SELECT coalesce(max(seq) + 1, 0) FROM event WHERE deployment = number)
        FROM deployment WHERE number > ?1 ORDER BY number LIMIT ?2";
    connection
        .prepare_cached(query)?
        .query_map(params![clamp(number), clamp(limit)], |row| {
            let key: Option<String> = row.get(10)?;
            let requester: Option<String> = row.get(9)?;
            Ok(Record::Deployment(StoredDeployment {
                number: read_u64(row, 0)?,
                id: read_deployment_id(row, 1)?,
                module: read_parsed(row, 2)?,
                environment: read_parsed(row, 3)?,
                fence: read_u64(row, 4)?,
                lifecycle: read_lifecycle(connection, row.get(0)?, row, 5)?,
                created_at: read_time(row, 8)?,
                request: key.map(|key| RequestKey {
                    requester: requester.unwrap_or_default(),
                    key,
                }),
                selector: row.get(11)?,
                waits: row.get(12)?,
                next_seq: read_u64(row, 13)?,
            }))
        })?
        .collect()
}

/// Whether nothing was ever stored, but for what an engine stores at its first start.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let query = "SELECT (SELECT last FROM fence) = 0
        AND NOT EXISTS (SELECT 1 FROM deployment) AND NOT EXISTS (SELECT 1 FROM module)
        AND NOT EXISTS (SELECT 1 FROM node) AND NOT EXISTS (SELECT 1 FROM discovery_backend)
        AND NOT EXISTS (SELECT 1 FROM strategy)";
    let is_empty = connection.query_row(query, [], |row| row.get::<_, bool>(0))?;
    Ok(is_empty && query::last_position(connection)? == 0)
}

/// Inserts all records in the transaction of the caller.
fn insert_all(connection: &Connection, archive: &Archive) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| Error::Store(error.into());
    if !is_empty(connection).map_err(failed)? {
        return Err(Error::NotEmpty);
    }
    let mut import = Import {
        connection,
        numbers: HashMap::new(),
    };
    let mut records = archive.records()?;
    while let Some(entry) = records.next()? {
        import.insert(&entry).map_err(failed)?;
    }
    connection
        .execute("UPDATE epoch SET word = lower(hex(randomblob(8)))", [])
        .map_err(failed)?;
    Ok(())
}

struct Import<'a> {
    connection: &'a Connection,
    /// The numbers of the deployments.
    numbers: HashMap<DeploymentId, u64>,
}

impl Import<'_> {
    fn insert(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        let bytes = entry.bytes.as_deref().unwrap_or_default();
        match &entry.record {
            Record::Module(record) => super::catalogue::insert_module(self.connection, record),
            Record::Strategy(record) => super::catalogue::insert_strategy(self.connection, record),
            Record::Backend(record) => super::catalogue::insert_backend(self.connection, record),
            Record::Node(record) => super::catalogue::insert_node(self.connection, record),
            Record::Environment { name, fence } => self.execute(
                "INSERT INTO environment VALUES (?1, ?2)",
                params![name.as_str(), fence.cast_signed()],
            ),
            Record::Retirement {
                environment,
                module,
                number,
                at,
            } => self.execute(
                "INSERT INTO retirement VALUES (?1, ?2, ?3, ?4)",
                params![
                    environment.as_str(),
                    module.as_str(),
                    number.cast_signed(),
                    at.millis().cast_signed()
                ],
            ),
            Record::Cordon {
                environment,
                node,
                position,
            } => self.execute(
                "INSERT INTO cordon VALUES (?1, ?2, ?3)",
                params![environment.as_str(), node.as_str(), position.cast_signed()],
            ),
            Record::Arrival { node, position } => self.execute(
                "INSERT INTO arrival VALUES (?1, ?2)",
                params![node.as_str(), position.cast_signed()],
            ),
            Record::Policy {
                environment,
                position,
            } => self.execute(
                "INSERT INTO policy VALUES (?1, ?2)",
                params![environment.as_str(), position.cast_signed()],
            ),
            Record::Deployment(deployment) => self.insert_deployment(deployment),
            Record::Event {
                position,
                deployment,
                seq,
                at,
            } => self.execute(
                "INSERT INTO event (position, deployment, seq, at, body)
                    VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    position.cast_signed(),
                    // None where the archive has no such deployment, which is refused.
                    self.numbers
                        .get(deployment)
                        .map(|number| number.cast_signed()),
                    seq.cast_signed(),
                    at.millis().cast_signed(),
                    bytes
                ],
            ),
            Record::EnvironmentEvent {
                position,
                environment,
                at,
                decides,
                module,
            } => self.execute(
                "INSERT INTO environment_event (position, environment, at, decides, body, module)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    position.cast_signed(),
                    environment.as_str(),
                    at.millis().cast_signed(),
                    decides,
                    bytes,
                    module.as_ref().map(|module| module.as_str())
                ],
            ),
            Record::Store { deleted, fence, .. } => {
                self.execute("UPDATE fence SET last = ?1", [fence.cast_signed()])?;
                self.execute("UPDATE deleted SET through = ?1", [deleted.cast_signed()])
            }
            Record::Blob { .. } => Ok(()),
        }
    }

    fn insert_deployment(&mut self, deployment: &StoredDeployment) -> rusqlite::Result<()> {
        self.numbers.insert(deployment.id, deployment.number);
        let lifecycle = deployment.lifecycle;
        let json = to_json("a lifecycle", &lifecycle)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let request = deployment.request.as_ref();
        self.execute(
            "INSERT INTO deployment (number, id, module, environment, fence, lifecycle, status,
                    ended, created_at, requester, idempotency_key, selector, waits)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                deployment.number.cast_signed(),
                deployment.id.as_bytes(),
                to_text(&deployment.module),
                deployment.environment.as_str(),
                deployment.fence.cast_signed(),
                json,
                query::status_column(lifecycle.status()),
                lifecycle.is_ended(),
                deployment.created_at.millis().cast_signed(),
                request.map(|request| &request.requester),
                request.map(|request| &request.key),
                deployment.selector,
                deployment.waits
            ],
        )
    }

    fn execute(&self, statement: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(statement)?
            .execute(values)
            .map(drop)
    }
}
