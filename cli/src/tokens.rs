//! Tokens of servers: given, or made at the first start and kept.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::settings::Token;

/// Bytes of randomness in a token that is made: nobody guesses it.
const BYTES: usize = 32;

/// The token in `file`; where there is none yet, one is made, which only this user can
/// read.
///
/// # Errors
/// Where the file can neither be read nor made.
pub fn kept(file: &Path) -> Result<Token> {
    if file.exists() {
        return Token::from_file(file);
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let token = hex::encode(bytes);
    write_secret(file, &format!("{token}\n"))?;
    Ok(Token::new(token))
}

/// Writes a file that only this user can read, all of it or nothing.
///
/// # Errors
/// Where the folder does not take it.
pub fn write_secret(file: &Path, text: &str) -> Result<()> {
    let written = || -> std::io::Result<()> {
        let new = file.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, file)
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}

/// A folder that only this user can look into, made if need be.
///
/// # Errors
/// Where it cannot be made.
pub fn private_folder(folder: &Path) -> Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = kept(&file).unwrap();
        assert_eq!(token.secret().len(), 2 * BYTES);
        assert_eq!(kept(&file).unwrap(), token);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
