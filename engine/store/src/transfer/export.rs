//! Writing the whole state of a store to an archive.

use std::io::Write;

use super::archive::ArchiveWriter;
use super::error::Error;
use super::record::{Entry, Record};
use super::{Contents, Summary};
use crate::{Blobs, ModuleRecord};

/// Records that are read at once.
const PAGE: usize = 500;

/// Writes everything that a store holds to an archive.
///
/// Cancel safe: an archive without its end is refused by an import.
///
/// # Errors
/// - [`Error::Disturbed`] where an engine used the store meanwhile. What was written is of no use.
/// - [`Error::Write`], [`Error::Blob`], [`Error::Store`].
pub async fn export(
    store: &dyn Contents,
    blobs: &Blobs,
    out: impl Write + Send,
) -> Result<Summary, Error> {
    let before = store.standstill().await.map_err(Error::of)?;
    let mut writer = ArchiveWriter::begin(out)?;
    write_catalogue(store, &mut writer).await?;
    let mut records = store.environment_records().await.map_err(Error::Store)?;
    records.sort_by_cached_key(|record| (rank(record), serde_json::to_string(record).ok()));
    for record in records {
        writer.write(&record.into())?;
    }
    write_deployments(store, &mut writer).await?;
    let last = write_events(store, &mut writer).await?;
    let mut counts = store.store_record().await.map_err(Error::Store)?;
    if let Record::Store {
        position, deleted, ..
    } = &mut counts
    {
        // Behind the last event there were others.
        if *position > last {
            *deleted = *position;
        }
    }
    writer.write(&counts.into())?;
    let mut listed = blobs.list().await?;
    listed.sort_by_key(|blob| blob.digest);
    for blob in listed {
        let digest = blob.digest;
        let bytes = blobs.read(digest).await?;
        let bytes = bytes.ok_or(Error::MissingBlob(digest))?;
        writer.write(&Entry {
            record: Record::Blob { digest },
            bytes: Some(bytes),
        })?;
    }
    if store.standstill().await.map_err(Error::of)? != before {
        return Err(Error::Disturbed);
    }
    writer.finish()
}

/// The place of a kind of record in an archive.
fn rank(record: &Record) -> u8 {
    match record {
        Record::Environment { .. } => 0,
        Record::Retirement { .. } => 1,
        Record::Cordon { .. } => 2,
        Record::Arrival { .. } => 3,
        _ => 4,
    }
}

async fn write_catalogue<W: Write>(
    store: &dyn Contents,
    writer: &mut ArchiveWriter<W>,
) -> Result<(), Error> {
    let unreadable = store.unreadable_records().await.map_err(Error::Store)?;
    if let Some(first) = unreadable.into_iter().next() {
        return Err(Error::UnreadableRecord(first));
    }
    let mut modules = store.modules(None).await.map_err(Error::Store)?;
    // By text: versions that differ in their build alone have no other order.
    let key = |one: &ModuleRecord| (one.module.name.clone(), one.module.version.to_string());
    modules.sort_by_cached_key(key);
    let strategies = store.strategies().await.map_err(Error::Store)?;
    let backends = store.backends().await.map_err(Error::Store)?;
    let nodes = store.nodes().await.map_err(Error::Store)?;
    let records = modules.into_iter().map(Record::Module);
    let records = records
        .chain(strategies.into_iter().map(Record::Strategy))
        .chain(backends.into_iter().map(Record::Backend))
        .chain(nodes.into_iter().map(Record::Node));
    for record in records {
        writer.write(&record.into())?;
    }
    Ok(())
}

async fn write_deployments<W: Write>(
    store: &dyn Contents,
    writer: &mut ArchiveWriter<W>,
) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = store.deployments_after(after, PAGE).await;
        let page = page.map_err(Error::Store)?;
        let Some(Record::Deployment(last)) = page.last() else {
            return Ok(());
        };
        after = last.number;
        for record in page {
            writer.write(&record.into())?;
        }
    }
}

/// Writes the events of deployments and environments in one order. Returns the last position.
async fn write_events<W: Write>(
    store: &dyn Contents,
    writer: &mut ArchiveWriter<W>,
) -> Result<u64, Error> {
    let (mut of_deployments, mut of_environments) = (Page::default(), Page::default());
    loop {
        if of_deployments.is_read() {
            let read = store.deployment_events_after(of_deployments.last, PAGE);
            of_deployments.fill(read.await.map_err(Error::Store)?);
        }
        if of_environments.is_read() {
            let read = store.environment_entries_after(of_environments.last, PAGE);
            of_environments.fill(read.await.map_err(Error::Store)?);
        }
        let next = match (of_deployments.peek(), of_environments.peek()) {
            (None, None) => return Ok(of_deployments.last.max(of_environments.last)),
            (Some(one), Some(other)) if other < one => of_environments.next(),
            (None, Some(_)) => of_environments.next(),
            _ => of_deployments.next(),
        };
        if let Some(entry) = next {
            writer.write(&entry)?;
        }
    }
}

/// The events that were read and not written yet.
#[derive(Default)]
struct Page {
    entries: std::collections::VecDeque<Entry>,
    last: u64,
    is_end: bool,
}

impl Page {
    fn is_read(&self) -> bool {
        self.entries.is_empty() && !self.is_end
    }

    fn fill(&mut self, entries: Vec<Entry>) {
        self.is_end = entries.is_empty();
        self.entries = entries.into();
    }

    fn peek(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.record.position())
    }

    fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.last = entry.record.position();
        Some(entry)
    }
}
