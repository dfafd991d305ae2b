//! The rules of the journals of environments, as SQL statements.

use hotswap_core::{Environment, EnvironmentEventBody, Fence, ModuleName};
use rusqlite::{Connection, OptionalExtension, params};

use super::journal_executor::{ExecuteResult, JournalExecutor};
use super::query::open_deployment;
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
        for body in &append.bodies {
            if let EnvironmentEventBody::Retired { module, .. } = body
                && let Some(open) = open_deployment(connection, module, &append.environment)?
            {
                return Ok(Err(AppendToEnvironmentError::Busy(open)));
            }
        }
        let insert =
            "INSERT INTO environment_event (position, environment, at, decides, body, module)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut insert = connection.prepare_cached(insert)?;
        let at = append.at.millis().cast_signed();
        for (body, encoded) in append.bodies.iter().zip(events) {
            let position = self.next_position().cast_signed();
            let retired = match body {
                EnvironmentEventBody::Retired { module, .. } => Some(module),
                _ => None,
            };
            insert.execute(params![
                position,
                environment,
                at,
                retired.is_some(),
                encoded,
                retired.map(ModuleName::as_str),
            ])?;
            if let Some(module) = retired {
                retire(connection, environment, module, at)?;
            }
        }
        Ok(Ok(EnvironmentAppended {
            environment: append.environment.clone(),
            position: self.position(),
            fenced: append.fence.is_some(),
        }))
    }
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
