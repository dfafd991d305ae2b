use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::layout::Blob;

/// Files of an image. Written in the order of their paths, whatever the order in which they came.
#[derive(Debug)]
pub(super) struct Layer {
    /// The time of all files.
    seconds: u64,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder { mode: u32, owner: u64 },
    File { content: Vec<u8>, mode: u32 },
}

impl Layer {
    pub(super) fn new(seconds: u64) -> Self {
        Self {
            seconds,
            entries: BTreeMap::new(),
        }
    }

    /// Adds a folder, of which `owner` is the user and the group.
    pub(super) fn folder(&mut self, path: impl AsRef<Path>, mode: u32, owner: u64) {
        let path = self.with_parents(path.as_ref());
        self.entries.insert(path, Entry::Folder { mode, owner });
    }

    /// Adds a file that belongs to root.
    pub(super) fn file(&mut self, path: impl AsRef<Path>, content: &[u8], mode: u32) {
        let path = self.with_parents(path.as_ref());
        let content = content.to_owned();
        self.entries.insert(path, Entry::File { content, mode });
    }

    /// Adds the folders above a path, and returns it relative to the root.
    fn with_parents(&mut self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        for parent in path.ancestors().skip(1) {
            if parent != Path::new("") {
                let folder = Entry::Folder {
                    mode: 0o755,
                    owner: 0,
                };
                self.entries.entry(parent.to_owned()).or_insert(folder);
            }
        }
        path.to_owned()
    }

    /// The archive, and the same compressed.
    pub(super) fn pack(&self) -> (Blob, Blob) {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mtime(self.seconds);
            let content: &[u8] = match entry {
                Entry::Folder { mode, owner } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_uid(*owner);
                    header.set_gid(*owner);
                    &[]
                }
                Entry::File { content, mode } => {
                    header.set_mode(*mode);
                    header.set_uid(0);
                    header.set_gid(0);
                    content
                }
            };
            header.set_size(content.len() as u64);
            archive
                .append_data(&mut header, path, content)
                .expect("writing to memory does not fail");
        }
        let archive = archive
            .into_inner()
            .expect("writing to memory does not fail");
        // The header of gzip has room for a time and a name: both stay empty.
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        std::io::Write::write_all(&mut gzip, &archive).expect("writing to memory does not fail");
        let compressed = gzip.finish().expect("writing to memory does not fail");
        (Blob::new(archive), Blob::new(compressed))
    }
}
