//! Files and folders that survive a crash: atomic writes, private permissions, locks.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

mod lock;

pub use lock::{Attempt, FileLock, Holder};

/// The names of temporary files begin with this, so that [`remove_temporary_files`] finds
/// them.
const TEMPORARY_PREFIX: &str = ".tmp";

/// Replaces the content of `path`. Only the current user can read the new file.
///
/// # Guarantees
/// When this returns, the new content is on disk. After a crash before that, the file holds
/// either the old content or the new one, never a part.
///
/// # Errors
/// If the folder cannot be written. The old content stays.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = temporary(parent(path))?;
    file.write_all(content)?;
    persist(file, path)
}

/// An empty temporary file in `folder`, which only the current user can read. Pass it to
/// [`persist`], or drop it to remove it.
///
/// # Errors
/// If the folder cannot be written.
pub fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder)
}

/// Renames a temporary file in the same folder to `path`, with the guarantees of
/// [`write_atomic`].
///
/// # Errors
/// If the file cannot be synced or renamed. The temporary file is then removed.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(parent(path))
}

/// Makes the names in a folder durable: created, renamed and removed files.
///
/// # Errors
/// If the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The content of a file, or `None` if there is no such file.
///
/// # Errors
/// If the file exists and cannot be read.
pub fn read_if_exists(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a folder and its missing parents. Only the current user can enter them. Does not
/// change an existing folder.
///
/// # Errors
/// If the folder cannot be created.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes the temporary files that an earlier crash left in a folder.
///
/// # Errors
/// If the folder cannot be read, or a file cannot be removed.
pub fn remove_temporary_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_temporary(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether a file is one of [`temporary`], by its name.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name.as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
    })
}

/// The folder that holds `path`. A bare file name is in the current folder.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_written_file_is_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(read_if_exists(&path).unwrap(), None);
        for content in ["first", "second"] {
            write_atomic(&path, content.as_bytes()).unwrap();
            assert_eq!(read_if_exists(&path).unwrap().unwrap(), content.as_bytes());
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_temporary_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        write_atomic(&folder.path().join("permanent"), b"").unwrap();
        let (_, leftover) = temporary(folder.path()).unwrap().keep().unwrap();
        remove_temporary_files(folder.path()).unwrap();
        assert!(!leftover.exists());
        assert!(folder.path().join("permanent").exists());
    }

    #[test]
    fn a_private_folder_may_exist_already() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b");
        create_private_folder(&path).unwrap();
        create_private_folder(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(parent(Path::new("name")), Path::new("."));
        assert_eq!(parent(Path::new("/a/name")), Path::new("/a"));
    }
}
