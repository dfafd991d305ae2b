//! The database's schema and its migrations.

use std::path::Path;

use rusqlite::Connection;

use super::error::Error;

/// `HotS`: distinguishes our databases from those of other programs.
const APPLICATION_ID: i64 = 0x486f_7453;

/// Each one migrates a database from the version that is its index to the next version.
/// Never change a released statement: add another migration.
const MIGRATIONS: [&str; 12] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
    include_str!("schema/12.sql"),
];

/// Migrates the database to the newest schema, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let application = read_pragma(connection, path, "application_id")?;
    if application != 0 && application != APPLICATION_ID {
        let path = path.to_owned();
        return Err(Error::Foreign { path });
    }
    let known = MIGRATIONS.len() as i64;
    let found = read_pragma(connection, path, "user_version")?;
    let Ok(applied) = usize::try_from(found) else {
        let path = path.to_owned();
        return Err(Error::Foreign { path });
    };
    let Some(missing) = MIGRATIONS.get(applied..) else {
        let path = path.to_owned();
        return Err(Error::Newer { path, found, known });
    };
    if missing.is_empty() {
        return Ok(());
    }
    apply(connection, missing, known).map_err(|source| Error::Migrate {
        path: path.to_owned(),
        from: found,
        to: known,
        source,
    })
}

fn read_pragma(connection: &Connection, path: &Path, name: &str) -> Result<i64, Error> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })
}

fn apply(connection: &mut Connection, migrations: &[&str], version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for migration in migrations {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
