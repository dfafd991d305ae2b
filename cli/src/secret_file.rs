//! Files that hold a secret: a token, or the key that signs tokens.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::{Secret, file};

/// Random bytes in a generated secret: too many to guess.
const SECRET_BYTES: usize = 32;

/// The largest file that is read, in bytes. A larger file is not a secret, and may be a device
/// without an end.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the secret in a file, without surrounding white space.
///
/// # Errors
/// Where the file cannot be read, is empty or larger than 64 KiB.
pub fn read(path: &Path) -> Result<Secret> {
    let mut text = String::new();
    let file = File::open(path);
    file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    let is_small = u64::try_from(text.len()).is_ok_and(|length| length <= MAX_BYTES);
    ensure!(is_small, "{} is too large for a token", path.display());
    let text = text.trim();
    ensure!(!text.is_empty(), "{} holds no token", path.display());
    Ok(Secret::new(text))
}

/// Reads the secret in a file again, if it is a file that can be read twice: not a pipe, which
/// would block.
///
/// # Errors
/// As [`read`].
pub fn read_again(path: &Path) -> Result<Secret> {
    let metadata = fs::metadata(path)
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    ensure!(
        metadata.is_file(),
        "{} is no file that can be read again",
        path.display()
    );
    read(path)
}

/// Reads the secret in a file, or generates one and writes it where there is no such file.
///
/// # Errors
/// Where the file can neither be read nor written.
pub fn read_or_create(path: &Path) -> Result<Secret> {
    if path.exists() {
        return read(path);
    }
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    let secret = hex::encode(bytes);
    write(path, &format!("{secret}\n"))?;
    Ok(Secret::new(secret))
}

/// Writes a file that only the current user can read. Survives a crash whole or not at all.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write(path: &Path, text: &str) -> Result<()> {
    file::write_atomic(path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a folder that only the current user can enter. An existing folder stays as it is.
///
/// # Errors
/// Where the folder cannot be created.
pub fn create_private_folder(folder: &Path) -> Result<()> {
    file::create_private_folder(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_generated_once_and_only_its_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let secret = read_or_create(&path).unwrap();
        assert_eq!(secret.expose().len(), 2 * SECRET_BYTES);
        assert_eq!(read_or_create(&path).unwrap(), secret);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_device_without_an_end_is_no_secret() {
        let zero = Path::new("/dev/zero");
        assert!(read(zero).unwrap_err().to_string().contains("too large"));
        assert!(read_again(zero).is_err());
    }

    #[test]
    fn the_error_for_an_empty_file_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        fs::write(&path, "\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
