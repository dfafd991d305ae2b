//! Parts of the queries on journals.

use hotswap_core::{DeploymentId, Environment, Status};

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, row, script};
use crate::lifecycle_memo::fold_lifecycle;
use crate::{Head, Query, ReadError, Snapshot};

/// Events or entries that one script reads: nothing else runs on the server meanwhile.
pub(super) const PAGE: usize = 1024;

impl Redis {
    /// Reads where a journal ends. Folds the lifecycle from the events where it cannot be read,
    /// because it is damaged or a newer engine wrote it.
    pub(super) async fn head_of(
        &self,
        id: DeploymentId,
        next_seq: &str,
        lifecycle: &[u8],
    ) -> Result<Head, Error> {
        let next_seq = next_seq
            .parse()
            .map_err(|_| Error::Answer("the end of a journal is no number"))?;
        if let Ok(lifecycle) = serde_json::from_slice(lifecycle) {
            return Ok(Head {
                next_seq,
                lifecycle,
            });
        }
        let args = Args::new().text(id.to_string());
        let record = self.inner.commands.read_list(&script::RECORD, args).await?;
        let (status, has_ended) = (record.text(5)?.to_owned(), record.text(6)? == "1");
        let args = Args::new().text(id.to_string()).number(0).text("-1");
        let rows = self.inner.commands.read_list(&script::EVENTS, args).await?;
        let mut events = Vec::new();
        for index in 0..rows.len() {
            let event = row::read_event(index as u64, rows.bytes(index)?);
            events.extend(event.ok().and_then(|event| event.decode().ok()));
        }
        Ok(Head {
            next_seq,
            lifecycle: fold_lifecycle(&events, &status, has_ended),
        })
    }

    /// At most `limit` events of a deployment, and at most a page.
    pub(super) async fn rows(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Reply, ReadError> {
        let count = limit.min(PAGE) as u64;
        // No journal has so many.
        let from = from.min(u64::from(u32::MAX));
        // The number of the last one; before the first where none is asked for.
        let last = (from + count).checked_sub(1);
        let args = Args::new().text(deployment.to_string());
        let args = match last.filter(|_| count > 0) {
            Some(last) => args.number(from).number(last),
            None => args.number(1).number(0),
        };
        let rows = self.inner.commands.read(&script::EVENTS, args).await?;
        Reply::optional(rows)?.ok_or(ReadError::Unknown(deployment))
    }

    pub(super) async fn meta(&self, field: &str) -> Result<u64, Error> {
        let args = Args::new().text(field);
        let found = self.inner.commands.read_list(&script::META, args).await?;
        found.number(0)
    }

    /// The id of a deployment in a hash.
    pub(super) async fn lookup(
        &self,
        hash: &str,
        field: String,
    ) -> Result<Option<DeploymentId>, Error> {
        let args = Args::new().text(hash).text(field);
        let found = self.inner.commands.read(&script::LOOKUP, args).await?;
        match Reply::optional(found)? {
            Some(found) => found.parse(0, "the id of a deployment").map(Some),
            None => Ok(None),
        }
    }

    /// A part of the snapshots of deployments, in their order.
    pub(super) async fn snapshots(
        &self,
        part: &str,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, Error> {
        let mut found = Vec::with_capacity(deployments.len());
        for some in deployments.chunks(PAGE) {
            let args = Args::new().text(part);
            let args = some.iter().fold(args, |args, id| args.text(id.to_string()));
            let answer = self.inner.commands.read(&script::SNAPSHOTS, args).await?;
            let redis::Value::Array(answers) = answer else {
                return Err(Error::Answer("the snapshots are no list"));
            };
            for answer in answers {
                found.push(read_snapshot(answer)?);
            }
        }
        Ok(found)
    }
}

fn read_snapshot(value: redis::Value) -> Result<Option<Snapshot>, Error> {
    let reply = Reply::of(value)?;
    if !reply.has(0) {
        return Ok(None);
    }
    let format = u32::try_from(reply.number(0)?);
    Ok(Some(Snapshot {
        format: format.map_err(|_| Error::Answer("the format number of a snapshot is invalid"))?,
        next_seq: reply.number(1)?,
        body: reply.bytes(2)?.to_vec(),
    }))
}

/// The list that holds what a query asks for.
pub(super) fn list_of(query: &Query) -> String {
    let module = query.module.as_ref().map(ToString::to_string);
    let environment = query.environment.as_ref().map(Environment::as_str);
    let status = query.status.map(Status::as_str);
    match (module, environment, status) {
        (None, None, None) => "i".to_owned(),
        (Some(module), None, None) => format!("i:m:{module}"),
        (None, Some(environment), None) => format!("i:e:{environment}"),
        (Some(module), Some(environment), None) => format!("i:me:{environment}/{module}"),
        (None, None, Some(status)) => format!("i:s:{status}"),
        (Some(module), None, Some(status)) => format!("i:ms:{module}:{status}"),
        (None, Some(environment), Some(status)) => format!("i:es:{environment}:{status}"),
        (Some(module), Some(environment), Some(status)) => {
            format!("i:mes:{environment}/{module}:{status}")
        }
    }
}
