//! The file format of an archive.
//!
//! The first line is `{"type":"hotswapStore","format":1}`. Then each record is a line of JSON. Where
//! that has a member `bytes`, so many bytes and a line feed follow. The last line is
//! `{"type":"end","sha256":"…"}` with the SHA-256 of all bytes before it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use hotswap_core::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Summary;
use super::error::Error;
use super::record::{Entry, Record};

/// The format that this release writes and reads.
pub const FORMAT: u64 = 1;

/// No line and no artifact is longer. An archive that says otherwise is damaged.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Frame {
    HotswapStore { format: u64 },
    End { sha256: Digest },
}

/// A record as its line has it.
#[derive(Serialize, Deserialize)]
struct Line<R> {
    #[serde(flatten)]
    record: R,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// Counts and hashes what goes by.
struct Tally {
    hasher: Sha256,
    records: u64,
    summary: Summary,
}

impl Tally {
    fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            records: 0,
            summary: Summary {
                digest: Digest::from_bytes([0; 32]),
                deployments: 0,
                events: 0,
                artifacts: 0,
            },
        }
    }

    fn count(&mut self, record: &Record) {
        self.records += 1;
        match record {
            Record::Deployment(_) => self.summary.deployments += 1,
            Record::Event { .. } | Record::EnvironmentEvent { .. } => self.summary.events += 1,
            Record::Blob { .. } => self.summary.artifacts += 1,
            _ => {}
        }
    }

    fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }
}

/// Writes an archive.
pub(super) struct ArchiveWriter<W> {
    out: W,
    tally: Tally,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn begin(out: W) -> Result<Self, Error> {
        let tally = Tally::new();
        let mut writer = Self { out, tally };
        writer.write_line(&Frame::HotswapStore { format: FORMAT })?;
        Ok(writer)
    }

    pub(super) fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        self.tally.count(&entry.record);
        self.write_line(&Line {
            record: &entry.record,
            bytes: entry.bytes.as_ref().map(|bytes| bytes.len() as u64),
        })?;
        match &entry.bytes {
            Some(bytes) => {
                self.write_hashed(bytes)?;
                self.write_hashed(b"\n")
            }
            None => Ok(()),
        }
    }

    /// Writes the end. Whoever owns the file makes it durable.
    pub(super) fn finish(mut self) -> Result<Summary, Error> {
        let digest = self.tally.digest();
        self.write_line(&Frame::End { sha256: digest })?;
        self.out.flush().map_err(Error::Write)?;
        Ok(Summary {
            digest,
            ..self.tally.summary
        })
    }

    fn write_line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(value).map_err(|error| Error::Write(error.into()))?;
        line.push(b'\n');
        self.write_hashed(&line)
    }

    fn write_hashed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.tally.hasher.update(bytes);
        self.out.write_all(bytes).map_err(Error::Write)
    }
}

/// An archive in a file. All its records were read once, and its digest was compared.
#[derive(Debug, Clone)]
pub struct Archive {
    path: PathBuf,
    summary: Summary,
}

impl Archive {
    /// Reads the file to its end, and compares its digest. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Foreign`], [`Error::Format`], [`Error::Truncated`],
    /// [`Error::Record`] or [`Error::Changed`] where it is not whole.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let mut reader = ArchiveReader::open(&path)?;
        while reader.next()?.is_some() {}
        let summary = reader.summary();
        Ok(Self { path, summary })
    }

    /// What it holds.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads it again, from its beginning.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn records(&self) -> Result<ArchiveReader, Error> {
        ArchiveReader::open(&self.path)
    }
}

/// Reads the records of an archive, and compares its digest at the end.
pub struct ArchiveReader {
    input: BufReader<std::fs::File>,
    tally: Tally,
    has_ended: bool,
}

impl ArchiveReader {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = std::fs::File::open(path).map_err(Error::Read)?;
        let mut reader = Self {
            input: BufReader::with_capacity(1 << 18, file),
            tally: Tally::new(),
            has_ended: false,
        };
        // The first line of other files may be very long.
        let first = reader.read_line(1 << 10)?;
        match serde_json::from_slice(&first) {
            Ok(Frame::HotswapStore { format: FORMAT }) => Ok(reader),
            Ok(Frame::HotswapStore { format }) => Err(Error::Format {
                found: format,
                known: FORMAT,
            }),
            _ => Err(Error::Foreign),
        }
    }

    /// The next record. `None` at the end, where the digest is as it should be.
    ///
    /// # Errors
    /// As [`Archive::open`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail")]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let digest = self.tally.digest();
        let line = self.read_line(MAX_BYTES)?;
        let number = self.tally.records + 1;
        let parsed = serde_json::from_slice::<Line<Record>>(&line);
        let Line { record, bytes } = match parsed {
            Ok(line) => line,
            Err(source) => {
                let Ok(Frame::End { sha256: expected }) = serde_json::from_slice(&line) else {
                    return Err(Error::Record { number, source });
                };
                return self.end(expected, digest);
            }
        };
        self.tally.count(&record);
        let bytes = bytes.map(|count| self.read_bytes(count)).transpose()?;
        Ok(Some(Entry { record, bytes }))
    }

    fn end(&mut self, expected: Digest, found: Digest) -> Result<Option<Entry>, Error> {
        if expected != found {
            return Err(Error::Changed { expected, found });
        }
        let rest = self.input.fill_buf().map_err(Error::Read)?;
        if !rest.is_empty() {
            return Err(Error::Foreign);
        }
        self.tally.summary.digest = found;
        self.has_ended = true;
        Ok(None)
    }

    fn summary(&self) -> Summary {
        self.tally.summary.clone()
    }

    /// A line without its line feed.
    fn read_line(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        let mut input = (&mut self.input).take(limit);
        input.read_until(b'\n', &mut line).map_err(Error::Read)?;
        self.tally.hasher.update(&line);
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ if self.tally.records == 0 && line.len() as u64 + 1 >= limit => Err(Error::Foreign),
            _ => Err(Error::Truncated),
        }
    }

    /// So many bytes, behind which there is a line feed.
    fn read_bytes(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        if count > MAX_BYTES {
            return Err(Error::Truncated);
        }
        let mut bytes = Vec::new();
        let mut input = (&mut self.input).take(count + 1);
        input.read_to_end(&mut bytes).map_err(Error::Read)?;
        self.tally.hasher.update(&bytes);
        match bytes.pop() {
            Some(b'\n') if bytes.len() as u64 == count => Ok(bytes),
            Some(_) if bytes.len() as u64 == count => {
                Err(Error::Read(io::ErrorKind::InvalidData.into()))
            }
            _ => Err(Error::Truncated),
        }
    }
}
