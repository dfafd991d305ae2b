use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hotswap_common::file::{Attempt, FileLock};

use crate::config::Jwt;
use crate::engine::EngineTokens;
use crate::secret_file;

/// The data folder of `hotswap dev`. Locked while this lives: two engines must not share a
/// journal.
pub struct Folder {
    path: PathBuf,
    tokens: EngineTokens,
    _lock: FileLock,
}

impl Folder {
    /// Opens the folder, and creates it where it is missing.
    ///
    /// # Errors
    /// Where the folder cannot be written, or another `hotswap dev` uses it.
    pub fn open(path: &Path) -> Result<Self> {
        secret_file::create_private_folder(path)?;
        let shown = path.display();
        let path = fs::canonicalize(path).with_context(|| format!("cannot open {shown}"))?;
        let lock = FileLock::try_acquire(&path.join("lock"));
        let lock = match lock.with_context(|| format!("cannot lock {shown}"))? {
            Attempt::Acquired(lock) => lock,
            Attempt::Held(holder) => bail!(
                "another `hotswap dev`, {holder}, uses {shown}; stop it, or name another folder \
                 with --data-dir"
            ),
        };
        let tokens = EngineTokens {
            api: secret_file::read_or_create(&path.join("token"))?,
            node: secret_file::read_or_create(&path.join("node-token"))?,
        };
        secret_file::read_or_create(&path.join(Jwt::DEV_SECRET))?;
        secret_file::create_private_folder(&path.join("engine"))?;
        Ok(Self {
            path,
            tokens,
            _lock: lock,
        })
    }

    /// The absolute path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens of this folder's engine.
    pub fn tokens(&self) -> &EngineTokens {
        &self.tokens
    }

    /// The engine's data folder.
    pub fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    /// The engine's log.
    pub fn engine_log(&self) -> PathBuf {
        self.path.join("engine.log")
    }

    /// The file with the API token.
    pub fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The file with the token of the nodes.
    pub fn node_token_file(&self) -> PathBuf {
        self.path.join("node-token")
    }

    /// How the engine validates the tokens that `hotswap token` signs.
    pub fn jwt(&self) -> Jwt {
        Jwt::for_dev(&self.path)
    }

    /// A shell script that sets the server and the token.
    pub fn env_file(&self) -> PathBuf {
        self.path.join("dev.env")
    }

    /// The folder with the data and the log of a node, created where it is missing.
    ///
    /// # Errors
    /// Where the folder cannot be created.
    pub fn node(&self, id: &str) -> Result<PathBuf> {
        let folder = self.path.join("nodes").join(id);
        secret_file::create_private_folder(&folder)?;
        Ok(folder)
    }

    /// Writes the files in which clients find the engine. Call it once the engine is ready.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn write_connection_files(&self, server: &str) -> Result<()> {
        secret_file::write(&self.path.join("server"), &format!("{server}\n"))?;
        let token = quote(&self.token_file());
        let script =
            format!("export HOTSWAP_SERVER={server}\nexport HOTSWAP_TOKEN=\"$(cat {token})\"\n");
        secret_file::write(&self.env_file(), &script)
    }

    /// Removes the file that leads clients to the engine.
    pub fn remove_server_file(&self) {
        let _ = fs::remove_file(self.path.join("server"));
    }
}

/// A path, quoted for the shell where it needs that.
pub fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_at_a_time_and_keeps_its_tokens() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("dev");
        let folder = Folder::open(&path).unwrap();
        let token = folder.tokens().api.clone();
        assert_ne!(token, folder.tokens().node);
        let error = Folder::open(&path).err().unwrap().to_string();
        assert!(error.contains("--data-dir"), "{error}");
        let pid = std::process::id().to_string();
        assert!(error.contains(&pid), "{error}");
        let jwt = folder.jwt();
        assert!(jwt.verifier().is_ok() && jwt.signer().is_ok());
        drop(folder);
        assert_eq!(Folder::open(&path).unwrap().tokens().api, token);
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quote(Path::new("/a/b-1")), "/a/b-1");
        assert_eq!(quote(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
