//! Room on the disk that is kept for the deployments under way.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A file that takes room, so that there is some to release when the disk is full: then the
/// deployments under way can still settle or revert, and only new ones are refused.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// 0 for no reserve: then the disk never counts as full.
    bytes: u64,
    is_released: AtomicBool,
}

impl Reserve {
    /// A reserve beside `database`. Released from the start if the disk has no room for it.
    pub(super) fn new(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        let reserve = Self {
            path: path.into(),
            bytes,
            is_released: AtomicBool::new(true),
        };
        if !reserve.restore() {
            tracing::warn!(
                path = %reserve.path.display(),
                bytes,
                "the disk is full: new deployments and uploads are refused until there is room"
            );
        }
        reserve
    }

    /// Whether the disk is full.
    pub(super) fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Acquire)
    }

    /// Bytes that the reserve takes now.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Gives the room back to the disk. Returns whether there was any.
    pub(super) fn release(&self) -> bool {
        if self.bytes == 0 || self.is_released.swap(true, Ordering::AcqRel) {
            return false;
        }
        // First: the log may be on the same disk.
        let is_removed = std::fs::remove_file(&self.path).is_ok();
        tracing::error!(
            path = %self.path.display(),
            bytes = self.bytes,
            "the disk is full: the reserve is released, and new deployments and uploads are \
             refused; free some room"
        );
        is_removed
    }

    /// Takes the room again, if the disk has half as much beside it. Returns whether the reserve
    /// is whole. Blocks.
    pub(super) fn restore(&self) -> bool {
        if self.bytes == 0 || self.size() == self.bytes {
            self.is_released.store(false, Ordering::Release);
            return true;
        }
        if let Err(error) = self.try_allocate() {
            tracing::debug!(%error, "the reserve cannot be restored yet");
            // A part of it would be counted as a whole one, or be in the way.
            drop(std::fs::remove_file(&self.path));
            return false;
        }
        if self.is_released.swap(false, Ordering::AcqRel) {
            tracing::info!(path = %self.path.display(), "the reserve is in place");
        }
        true
    }

    fn try_allocate(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Without some room beside it, the next writes would release it at once.
        let needed = self.bytes + self.bytes / 2;
        if free_bytes(folder)? < needed {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = File::create(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()
    }
}

/// Room on the disk of this folder that this user can take, in bytes.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
