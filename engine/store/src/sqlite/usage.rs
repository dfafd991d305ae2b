use std::path::Path;

use rusqlite::Connection;

use crate::Usage;

/// Reads what the database knows of itself.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Usage> {
    let count = |query: &str| {
        connection
            .prepare_cached(query)?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
    };
    let open = count("SELECT count(*) FROM deployment INDEXED BY deployment_open WHERE ended = 0")?;
    let all = count("SELECT count(*) FROM deployment")?;
    Ok(Usage {
        open_deployments: open,
        ended_deployments: all.saturating_sub(open),
        reusable_bytes: count("PRAGMA freelist_count")? * count("PRAGMA page_size")?,
        ..Usage::default()
    })
}

/// The bytes of the database and its write-ahead log.
pub(super) fn database_bytes(database: &Path) -> u64 {
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(database) + size(Path::new(&wal))
}
