//! The rules of the journals of environments, as SQL statements.

use hotswap_core::{Environment, EnvironmentEventBody, Fence, ModuleName, NodeId};
use rusqlite::{Connection, OptionalExtension, params};

use super::journal_executor::{ExecuteResult, JournalExecutor};
use super::query::open_deployment;
use super::row::read_u64;
use crate::{AppendToEnvironmentError, EnvironmentAppend, EnvironmentAppended};

impl JournalExecutor {
    pub(super) fn acquire_environment_lease(
        &mut self,
        connection: &Connection,
        environment: &Environment,
    ) -> rusqlite::Result<Fence> {
        let fence = self.raise_by_one(connection)?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO environment VALUES (?1, ?2)")?
            .execute(params![environment.as_str(), fence.0.cast_signed()])?;
        Ok(fence)
    }

    pub(super) fn append_to_environment(
        &mut self,
        connection: &Connection,
        append: &EnvironmentAppend,
        events: &[Vec<u8>],
    ) -> ExecuteResult<EnvironmentAppended, AppendToEnvironmentError> {
        let environment = append.environment.as_str();
        if let Some(fence) = append.fence {
            let current = connection
                .prepare_cached("SELECT fence FROM environment WHERE name = ?1")?
                .query_row([environment], |row| row.get::<_, i64>(0))
                .optional()?;
            let current = Fence(current.unwrap_or(0).cast_unsigned());
            if fence != current {
                return Ok(Err(AppendToEnvironmentError::Fenced(current)));
            }
        }
        if let Some(expected) = append.newest_cordon {
            let newest = newest_cordon(connection, environment)?;
            if expected != newest {
                return Ok(Err(AppendToEnvironmentError::CordonsChanged(newest)));
            }
        }
        for body in &append.bodies {
            match body {
                EnvironmentEventBody::Retired { module, .. } => {
                    if let Some(open) = open_deployment(connection, module, &append.environment)? {
                        return Ok(Err(AppendToEnvironmentError::Busy(open)));
                    }
                }
                EnvironmentEventBody::PolicyChanged { replaces, .. } => {
                    let current = policy_position(connection, environment)?;
                    if *replaces != current {
                        return Ok(Err(AppendToEnvironmentError::PolicyReplaced(current)));
                    }
                }
                _ => {}
            }
        }
        let insert =
            "INSERT INTO environment_event (position, environment, at, decides, body, module)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut insert = connection.prepare_cached(insert)?;
        let at = append.at.millis().cast_signed();
        for (body, encoded) in append.bodies.iter().zip(events) {
            let position = self.next_position().cast_signed();
            let memo = Memo::of(body);
            let decides = matches!(
                memo,
                Memo::Retired(_) | Memo::Cordoned(_) | Memo::Arrived(_) | Memo::PolicySet
            );
            let retired = match memo {
                Memo::Retired(module) => Some(module.as_str()),
                _ => None,
            };
            insert.execute(params![
                position,
                environment,
                at,
                decides,
                encoded,
                retired
            ])?;
            memo.write(connection, environment, position, at)?;
        }
        Ok(Ok(EnvironmentAppended {
            environment: append.environment.clone(),
            position: self.position(),
            decides: append.bodies.iter().any(EnvironmentEventBody::decides),
        }))
    }
}

/// What the tables beside the journals remember of an event.
enum Memo<'a> {
    Nothing,
    Retired(&'a ModuleName),
    /// Cordoned or drained.
    Cordoned(&'a NodeId),
    Uncordoned(&'a NodeId),
    /// The node is gone; a cordon outlasts that.
    Expired(&'a NodeId),
    /// The node is gone, and its cordon with it.
    Forgotten(&'a NodeId),
    /// The node came from another environment.
    Arrived(&'a NodeId),
    PolicySet,
    PolicyUnset,
}

impl<'a> Memo<'a> {
    fn of(body: &'a EnvironmentEventBody) -> Self {
        use EnvironmentEventBody as Body;
        match body {
            Body::Retired { module, .. } => Self::Retired(module),
            Body::Cordoned { node, .. } | Body::Drained { node, .. } => Self::Cordoned(node),
            Body::Uncordoned { node, .. } => Self::Uncordoned(node),
            Body::Expired { node, .. } => Self::Expired(node),
            Body::Forgotten { node, .. } => Self::Forgotten(node),
            Body::Moved { node, .. } => Self::Arrived(node),
            Body::PolicyChanged { policy, .. } => match policy {
                Some(_) => Self::PolicySet,
                None => Self::PolicyUnset,
            },
            Body::Repairing(_) | Body::Repaired(_) | Body::RepairFailed { .. } => Self::Nothing,
        }
    }

    fn write(
        self,
        connection: &Connection,
        environment: &str,
        position: i64,
        at: i64,
    ) -> rusqlite::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Retired(module) => retire(connection, environment, module, at),
            Self::Cordoned(node) => {
                uncordon(connection, environment, node)?;
                let cordon = "INSERT INTO cordon (environment, node, position) VALUES (?1, ?2, ?3)";
                connection
                    .prepare_cached(cordon)?
                    .execute(params![environment, node.as_str(), position])
                    .map(drop)
            }
            Self::Uncordoned(node) => uncordon(connection, environment, node),
            Self::Expired(node) => delete_node(connection, node),
            Self::Forgotten(node) => {
                uncordon(connection, environment, node)?;
                release_arrival(connection, node)?;
                delete_node(connection, node)
            }
            Self::Arrived(node) => {
                release_arrival(connection, node)?;
                connection
                    .prepare_cached("INSERT INTO arrival (node, position) VALUES (?1, ?2)")?
                    .execute(params![node.as_str(), position])
                    .map(drop)
            }
            Self::PolicySet => {
                unset_policy(connection, environment)?;
                connection
                    .prepare_cached("INSERT INTO policy (environment, position) VALUES (?1, ?2)")?
                    .execute(params![environment, position])
                    .map(drop)
            }
            Self::PolicyUnset => unset_policy(connection, environment),
        }
    }
}

/// The position of the event with which people gave the environment its policy.
fn policy_position(connection: &Connection, environment: &str) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT position FROM policy WHERE environment = ?1")?
        .query_row([environment], |row| read_u64(row, 0))
        .optional()
}

/// The position of the newest event that cordons a node of the environment; 0 if none does.
fn newest_cordon(connection: &Connection, environment: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM cordon WHERE environment = ?1")?
        .query_row([environment], |row| read_u64(row, 0))
}

/// From here on, the event with the policy decides nothing any more.
fn unset_policy(connection: &Connection, environment: &str) -> rusqlite::Result<()> {
    let release = "UPDATE environment_event SET decides = 0 WHERE position =
        (SELECT position FROM policy WHERE environment = ?1)";
    connection.prepare_cached(release)?.execute([environment])?;
    connection
        .prepare_cached("DELETE FROM policy WHERE environment = ?1")?
        .execute([environment])
        .map(drop)
}

/// From here on, the event that cordoned the node decides nothing any more.
fn uncordon(connection: &Connection, environment: &str, node: &NodeId) -> rusqlite::Result<()> {
    let release = "UPDATE environment_event SET decides = 0 WHERE position =
        (SELECT position FROM cordon WHERE environment = ?1 AND node = ?2)";
    let of = params![environment, node.as_str()];
    connection.prepare_cached(release)?.execute(of)?;
    connection
        .prepare_cached("DELETE FROM cordon WHERE environment = ?1 AND node = ?2")?
        .execute(of)
        .map(drop)
}

/// From here on, the event with which the node came decides nothing any more.
fn release_arrival(connection: &Connection, node: &NodeId) -> rusqlite::Result<()> {
    let release = "UPDATE environment_event SET decides = 0 WHERE position =
        (SELECT position FROM arrival WHERE node = ?1)";
    connection
        .prepare_cached(release)?
        .execute([node.as_str()])?;
    connection
        .prepare_cached("DELETE FROM arrival WHERE node = ?1")?
        .execute([node.as_str()])
        .map(drop)
}

fn delete_node(connection: &Connection, node: &NodeId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM node WHERE id = ?1")?
        .execute([node.as_str()])
        .map(drop)
}

/// From here on, only deployments that are created later say what should run.
fn retire(
    connection: &Connection,
    environment: &str,
    module: &ModuleName,
    at: i64,
) -> rusqlite::Result<()> {
    let retire = "INSERT OR REPLACE INTO retirement (environment, module, number, at)
        VALUES (?1, ?2, (SELECT coalesce(max(number), 0) FROM deployment), ?3)";
    connection
        .prepare_cached(retire)?
        .execute(params![environment, module.as_str(), at])
        .map(drop)
}
