use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hotswap_common::Secret;

/// Bytes of the largest file. What is larger is no secret.
const MAX_BYTES: u64 = 64 << 10;

/// A secret of a backend, and the file that it comes from, if there is one.
#[derive(Debug, Clone)]
pub struct SecretSource {
    value: Secret,
    file: Option<PathBuf>,
}

/// Why a file gives no secret.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the secret in {}: {reason}", path.display())]
pub struct SecretFileError {
    path: PathBuf,
    reason: io::Error,
}

impl SecretSource {
    /// The secret in a file, without surrounding white space. A backend reads a regular file again
    /// once a minute, and after a server has answered 401: registries change tokens.
    ///
    /// # Errors
    /// [`SecretFileError`] if the file cannot be read, is empty or larger than 64 KiB.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, SecretFileError> {
        let path = path.into();
        match read(&path) {
            Ok(value) => Ok(Self {
                value,
                file: Some(path),
            }),
            Err(reason) => Err(SecretFileError { path, reason }),
        }
    }

    /// The secret when this was made.
    pub(super) fn first_value(&self) -> &Secret {
        &self.value
    }

    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again. `None` if there is none, or one that can be read only once.
    pub(super) fn read_again_blocking(&self) -> Option<Result<Secret, SecretFileError>> {
        let path = self.file.as_deref()?;
        let failed = |reason| SecretFileError {
            path: path.to_owned(),
            reason,
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Some(read(path).map_err(failed)),
            Ok(_) => None,
            Err(reason) => Some(Err(failed(reason))),
        }
    }
}

impl From<Secret> for SecretSource {
    fn from(value: Secret) -> Self {
        Self { value, file: None }
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::other("it is too large for a secret"));
    }
    match text.trim() {
        "" => Err(io::Error::other("it is empty")),
        text => Ok(Secret::new(text)),
    }
}
