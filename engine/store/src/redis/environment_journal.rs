//! [`EnvironmentJournal`] for [`Redis`].

use std::borrow::Cow;

use async_trait::async_trait;
use hotswap_core::{
    Environment, EnvironmentEvent, EnvironmentEventBody, Fence, ModuleName, NodeId, Timestamp,
};
use tokio::sync::broadcast;

use super::commands::random_word;
use super::error::Error;
use super::queries::PAGE;
use super::reply::{Args, Reply};
use super::script;
use super::{Redis, row};
use crate::{
    AppendToEnvironmentError, Decided, Decision, EnvironmentAppend, EnvironmentAppended,
    EnvironmentEntry, EnvironmentJournal, LeaseError, PastDecision, PastPlace, ReadError,
};

#[async_trait]
impl EnvironmentJournal for Redis {
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError> {
        let session = self.inner.session.id();
        let args = Args::new().text(environment.as_str()).text(session);
        let reply = self
            .inner
            .commands
            .write(&script::ACQUIRE_ENVIRONMENT_LEASE, args);
        let reply = reply.await?;
        match reply.word()? {
            "acquired" => {
                let fence = reply.number(1)?;
                self.inner.witness.saw_fence(fence);
                Ok(Fence(fence))
            }
            "held" => Err(LeaseError::Held(reply.text(1)?.to_owned())),
            _ => Err(Error::Lapsed.into()),
        }
    }

    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError> {
        if self.inner.memory.is_full(&self.inner.commands).await {
            return Err(AppendToEnvironmentError::Full);
        }
        let mut args = Args::new()
            .text(append.environment.as_str())
            .optional(append.fence.map(|fence| fence.0))
            .number(append.at.millis())
            .text(random_word())
            .optional(append.newest_cordon);
        for body in &append.bodies {
            let (kind, about) = memo(body);
            let encoded = body.encode().map_err(|source| Error::Encode {
                what: "an event",
                source,
            })?;
            args = args.text(kind).text(&*about).bytes(encoded);
        }
        let script = &script::APPEND_TO_ENVIRONMENT;
        let reply = self.inner.commands.write(script, args).await?;
        match reply.word()? {
            "appended" => {
                let position = reply.number(1)?;
                self.inner.witness.saw_position(position);
                Ok(position)
            }
            "fenced" => Err(AppendToEnvironmentError::Fenced(Fence(reply.number(1)?))),
            "cordoned" => Err(AppendToEnvironmentError::CordonsChanged(reply.number(1)?)),
            "replaced" => {
                let current = match reply.text(1)? {
                    "" => None,
                    _ => Some(reply.number(1)?),
                };
                Err(AppendToEnvironmentError::PolicyReplaced(current))
            }
            _ => {
                let open = reply.parse(1, "the id of a deployment")?;
                Err(AppendToEnvironmentError::Busy(open))
            }
        }
    }

    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let mut entries: Vec<EnvironmentEntry> = Vec::new();
        while entries.len() < limit {
            let page = PAGE.min(limit - entries.len());
            let args = Args::new()
                .text("after")
                .optional(environment)
                .number(entries.last().map_or(position, |entry| entry.position))
                .number(page as u64);
            let some = self.events(args).await?;
            let is_last = some.len() < page;
            entries.extend(some);
            if is_last {
                break;
            }
        }
        Ok(entries)
    }

    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let args = Args::new()
            .text("before")
            .text(environment.as_str())
            .number(position)
            .number(limit.min(PAGE) as u64);
        Ok(self.events(args).await?)
    }

    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
        let found = self
            .inner
            .commands
            .read_list(&script::DECIDED_ENVIRONMENTS, Args::new());
        Ok(found.await?.parse_all("an environment")?)
    }

    async fn decisions(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
        let args = Args::new().text("decisions").text(environment.as_str());
        let found = self.inner.commands.read_list(&script::DECISIONS, args);
        let found = found.await?;
        let decision = |index: usize| {
            let module = found.parse(index, "the name of a module")?;
            let id = || found.parse(index + 2, "the id of a deployment");
            let decision = match found.text(index + 1)? {
                "succeeded" => Decision::Succeeded(id()?),
                "unsuccessful" => Decision::Unsuccessful(id()?),
                _ => Decision::Retired(Timestamp::from_millis(found.number(index + 2)?)),
            };
            Ok((module, decision))
        };
        let decisions = (0..found.len() / 3).map(|one| decision(3 * one));
        Ok(decisions.collect::<Result<_, Error>>()?)
    }

    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
        let cordons = self.kept_events("cordons").await?.into_iter();
        let cordons = cordons.map(|(field, entry)| {
            let (_, node) = field
                .split_once('/')
                .ok_or(Error::Answer("a node has no environment"))?;
            Ok((parse("a node", node)?, entry))
        });
        Ok(cordons.collect::<Result<_, Error>>()?)
    }

    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let arrivals = self.kept_events("arrivals").await?;
        Ok(arrivals.into_iter().map(|(_, entry)| entry).collect())
    }

    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let policies = self.kept_events("policies").await?;
        Ok(policies.into_iter().map(|(_, entry)| entry).collect())
    }

    async fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<Vec<PastDecision>, ReadError> {
        let limit = limit.min(PAGE);
        let before = before.unwrap_or(PastPlace::NEWEST);
        let below = |number: u64| match number {
            u64::MAX => "+inf".to_owned(),
            number => format!("({number}"),
        };
        let args = Args::new()
            .text(module.as_str())
            .text(environment.as_str())
            .text(below(before.number))
            .text(below(before.position))
            .number(limit as u64);
        let found = self.inner.commands.read_list(&script::PAST_DECISIONS, args);
        Ok(merge(&found.await?, before, limit)?)
    }

    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError> {
        let (mut after, mut deleted) = ("0".to_owned(), 0);
        while !after.is_empty() {
            let args = Args::new().number(before.millis()).text(&after);
            let script = &script::DELETE_ENVIRONMENT_EVENTS;
            let reply = self.inner.commands.write(script, args).await?;
            after = reply.text(0)?.to_owned();
            deleted += reply.number(1)?;
        }
        Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
    }

    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
        self.inner.environment_subscribers.subscribe()
    }
}

impl Redis {
    /// The events between positions.
    async fn events(&self, args: Args) -> Result<Vec<EnvironmentEntry>, Error> {
        let script = &script::ENVIRONMENT_EVENTS;
        let found = self.inner.commands.read_list(script, args).await?;
        let entries = (0..found.len() / 2).map(|one| read_entry(&found, 2 * one));
        entries.collect()
    }

    /// The events that a hash keeps, with its fields.
    async fn kept_events(&self, hash: &str) -> Result<Vec<(String, EnvironmentEntry)>, Error> {
        let (script, args) = (&script::KEPT_EVENTS, Args::new().text(hash));
        let found = self.inner.commands.read_list(script, args).await?;
        let entries = (0..found.len() / 3).map(|one| {
            let entry = read_entry(&found, 3 * one)?;
            Ok((found.text(3 * one + 2)?.to_owned(), entry))
        });
        entries.collect()
    }
}

/// The event whose position is at `index`, followed by its row.
fn read_entry(found: &Reply, index: usize) -> Result<EnvironmentEntry, Error> {
    let position = found.number(index)?;
    let (at, environment, body) = row::read_environment_event(found.bytes(index + 1)?)?;
    let body = EnvironmentEventBody::decode(body);
    Ok(EnvironmentEntry {
        environment: parse("an environment", environment)?,
        position,
        at,
        event: body.map(|body| EnvironmentEvent { position, at, body }),
    })
}

fn parse<T>(what: &'static str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|source| Error::Decode {
        what,
        source: Box::new(source),
    })
}

/// What is remembered of an event, and what it is about: a module, a node, or the position of the
/// event that it replaces.
fn memo(body: &EnvironmentEventBody) -> (&'static str, Cow<'_, str>) {
    use EnvironmentEventBody as Body;
    let (kind, about) = match body {
        Body::Retired { module, .. } => ("retired", module.as_str()),
        Body::Cordoned { node, .. } | Body::Drained { node, .. } => ("cordoned", node.as_str()),
        Body::Uncordoned { node, .. } => ("uncordoned", node.as_str()),
        Body::Expired { node, .. } => ("expired", node.as_str()),
        Body::Forgotten { node, .. } => ("forgotten", node.as_str()),
        Body::Moved { node, .. } => ("arrived", node.as_str()),
        Body::PolicyChanged {
            policy, replaces, ..
        } => {
            let kind = match policy {
                Some(_) => "policySet",
                None => "policyUnset",
            };
            let replaces = replaces.map_or_else(String::new, |position| position.to_string());
            return (kind, replaces.into());
        }
        Body::Repairing(_) | Body::Repaired(_) | Body::RepairFailed { .. } => ("", ""),
    };
    (kind, about.into())
}

/// Successes, each with number, id and position, and retirements, each with nothing, position and
/// row, merged by position, newest first.
fn merge(found: &Reply, before: PastPlace, limit: usize) -> Result<Vec<PastDecision>, Error> {
    let mut decisions = Vec::new();
    for index in (0..found.len()).step_by(3) {
        let number = found.text(index)?;
        decisions.push(if number.is_empty() {
            let position = found.number(index + 1)?;
            (position, None, retirement(found.bytes(index + 2)?)?)
        } else {
            let id = found.parse(index + 1, "the id of a deployment")?;
            let number = found.number(index)?;
            (
                found.number(index + 2)?,
                Some(number),
                Decided::Succeeded(id),
            )
        });
    }
    decisions.sort_by_key(|(position, ..)| std::cmp::Reverse(*position));
    let mut place = before;
    let past = decisions.into_iter().take(limit);
    let past = past.map(|(position, number, decided)| {
        match number {
            Some(number) => place.number = number,
            None => place.position = position,
        }
        PastDecision { place, decided }
    });
    Ok(past.collect())
}

fn retirement(row: &[u8]) -> Result<Decided, Error> {
    let (at, _, body) = row::read_environment_event(row)?;
    let (by, reason) = match EnvironmentEventBody::decode(body) {
        Ok(EnvironmentEventBody::Retired { by, reason, .. }) => (Some(by), reason),
        _ => (None, None),
    };
    Ok(Decided::Retired { at, by, reason })
}
