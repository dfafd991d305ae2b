//! Reading the whole state.

use async_trait::async_trait;
use hotswap_core::{Environment, Timestamp};

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, row, script};
use crate::CatalogueError;
use crate::transfer::{
    Contents, Entry, Error as TransferError, Record, RequestKey, StoredDeployment,
};

/// How many fields of a deployment the script returns.
const FIELDS: usize = 11;

#[async_trait]
impl Contents for Redis {
    async fn standstill(&self) -> Result<String, CatalogueError> {
        let args = Args::new().text("standstill").text(self.inner.session.id());
        let found = self.contents(args).await?;
        if found.len() > 1 {
            let names = (1..found.len()).map(|index| found.text(index).map(str::to_owned));
            let names = names.collect::<Result<_, _>>()?;
            return Err(Box::new(TransferError::InUse(names)));
        }
        Ok(found.text(0)?.to_owned())
    }

    async fn store_record(&self) -> Result<Record, CatalogueError> {
        let found = self.contents(Args::new().text("counts")).await?;
        Ok(Record::Store {
            position: found.number(0)?,
            deleted: found.number(1)?,
            fence: found.number(2)?,
        })
    }

    async fn environment_records(&self) -> Result<Vec<Record>, CatalogueError> {
        let mut records = Vec::new();
        for name in self.leased_environments().await? {
            let args = Args::new().text("fence").text(name.as_str());
            let fence = self.contents(args).await?.number(0)?;
            records.push(Record::Environment { name, fence });
        }
        let found = self.contents(Args::new().text("retirements")).await?;
        for index in (0..found.len()).step_by(4) {
            records.push(Record::Retirement {
                environment: found.parse(index, "an environment")?,
                module: found.parse(index + 1, "the name of a module")?,
                number: found.number(index + 2)?,
                at: Timestamp::from_millis(found.number(index + 3)?),
            });
        }
        for hash in ["cordons", "arrivals", "policies"] {
            let found = self.contents(Args::new().text("hash").text(hash)).await?;
            for index in (0..found.len()).step_by(2) {
                let position = found.number(index + 1)?;
                records.push(kept_event(hash, &found, index, position)?);
            }
        }
        Ok(records)
    }

    async fn deployments_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Record>, CatalogueError> {
        let args = Args::new()
            .text("deployments")
            .number(number)
            .number(limit as u64);
        let found = self.contents(args).await?;
        let mut records = Vec::new();
        for index in (0..found.len()).step_by(FIELDS) {
            records.push(self.deployment_record(&found, index).await?);
        }
        Ok(records)
    }

    async fn deployment_events_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError> {
        let mut entries = Vec::new();
        let mut from = position + 1;
        while entries.len() < limit {
            let page = (limit - entries.len()) as u64;
            let args = Args::new().number(from).number(page);
            let script = &script::EVENTS_AFTER;
            let found = self.inner.commands.read_list(script, args).await?;
            for entry in 0..(found.len() - 1) / 3 {
                let (seq, bytes) = (found.number(3 * entry + 2)?, found.bytes(3 * entry + 3)?);
                let stored = row::read_event(seq, bytes)?;
                entries.push(Entry {
                    record: Record::Event {
                        position: stored.position,
                        deployment: found.parse(3 * entry + 1, "the id of a deployment")?,
                        seq,
                        at: stored.at,
                    },
                    bytes: Some(stored.body.to_vec()),
                });
            }
            if found.text(0)?.is_empty() {
                break;
            }
            from = found.number(0)?;
        }
        Ok(entries)
    }

    async fn environment_entries_after(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, CatalogueError> {
        let args = Args::new()
            .text("events")
            .number(position)
            .number(limit as u64);
        let found = self.contents(args).await?;
        let mut entries = Vec::new();
        for index in (0..found.len()).step_by(4) {
            let (at, environment, body) = row::read_environment_event(found.bytes(index + 1)?)?;
            let environment = environment.parse().map_err(|source| Error::Decode {
                what: "an environment",
                source: Box::new(source),
            })?;
            let module = match found.text(index + 3)? {
                "" => None,
                _ => Some(found.parse(index + 3, "the name of a module")?),
            };
            entries.push(Entry {
                record: Record::EnvironmentEvent {
                    position: found.number(index)?,
                    environment,
                    at,
                    decides: found.text(index + 2)? == "1",
                    module,
                },
                bytes: Some(body.to_vec()),
            });
        }
        Ok(entries)
    }
}

impl Redis {
    async fn contents(&self, args: Args) -> Result<Reply, Error> {
        self.inner.commands.read_list(&script::CONTENTS, args).await
    }

    /// The environments that engines have had a lease of. No set has their names.
    async fn leased_environments(&self) -> Result<Vec<Environment>, Error> {
        let prefix = self.inner.commands.key("environment:");
        let pattern = format!("{prefix}*");
        let mut found = Vec::new();
        let mut cursor = Some("0".to_owned());
        while let Some(from) = cursor {
            let keys;
            (keys, cursor) = self.inner.commands.scan(&pattern, &from).await?;
            for key in keys {
                let name = key.strip_prefix(&prefix).unwrap_or_default();
                found.push(name.parse().map_err(|source| Error::Decode {
                    what: "an environment",
                    source: Box::new(source),
                })?);
            }
        }
        found.sort_unstable();
        // A scan may return a key twice.
        found.dedup();
        Ok(found)
    }

    async fn deployment_record(&self, found: &Reply, index: usize) -> Result<Record, Error> {
        let id = found.parse(index, "the id of a deployment")?;
        let request = match found.has(index + 7) {
            true => found.text(index + 7)?.split_once('\n'),
            false => None,
        };
        let (next_seq, lifecycle) = (found.text(index + 10)?, found.bytes(index + 5)?);
        let head = self.head_of(id, next_seq, lifecycle).await?;
        Ok(Record::Deployment(StoredDeployment {
            number: found.number(index + 1)?,
            id,
            module: found.parse(index + 2, "the name of a module")?,
            environment: found.parse(index + 3, "an environment")?,
            fence: found.number(index + 4)?,
            lifecycle: head.lifecycle,
            created_at: Timestamp::from_millis(found.number(index + 6)?),
            request: request.map(|(requester, key)| RequestKey {
                requester: requester.to_owned(),
                key: key.to_owned(),
            }),
            selector: match found.has(index + 8) {
                true => Some(found.text(index + 8)?.to_owned()),
                false => None,
            },
            waits: found.text(index + 9)? == "1",
            next_seq: head.next_seq,
        }))
    }
}

fn kept_event(hash: &str, found: &Reply, index: usize, position: u64) -> Result<Record, Error> {
    let field = found.text(index)?;
    let broken = Error::Answer("a node has no environment");
    Ok(match hash {
        "cordons" => {
            let (environment, node) = field.split_once('/').ok_or(broken)?;
            Record::Cordon {
                environment: parse(environment)?,
                node: parse(node)?,
                position,
            }
        }
        "arrivals" => Record::Arrival {
            node: parse(field)?,
            position,
        },
        _ => Record::Policy {
            environment: parse(field)?,
            position,
        },
    })
}

fn parse<T>(text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|source| Error::Decode {
        what: "a name",
        source: Box::new(source),
    })
}
