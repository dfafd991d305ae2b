use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::jwt::Jwt;
use crate::serve::Keys;
use crate::tokens;

/// Where `hotswap dev` keeps everything, locked for as long as this lives: two engines
/// on one journal would be one too many.
pub struct Folder {
    path: PathBuf,
    keys: Keys,
    lock: File,
}

impl Folder {
    /// Opens the folder, made if need be.
    ///
    /// # Errors
    /// Where it cannot be written, or another `hotswap dev` uses it.
    pub fn open(path: &Path) -> Result<Self> {
        tokens::private_folder(path)?;
        let shown = path.display();
        let path = fs::canonicalize(path).with_context(|| format!("cannot open {shown}"))?;
        let lock =
            File::create(path.join("lock")).with_context(|| format!("cannot write in {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another `hotswap dev` uses {shown}; end it, or name another folder with --dir"
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {shown}"));
            }
        }
        let keys = Keys {
            api: tokens::kept(&path.join("token"))?,
            node: tokens::kept(&path.join("node-token"))?,
        };
        tokens::kept(&path.join(Jwt::DEV_SECRET))?;
        tokens::private_folder(&path.join("engine"))?;
        Ok(Self { path, keys, lock })
    }

    /// The folder itself, from the root on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens of this folder's engine.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The data of the engine.
    pub fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    /// The log of the engine.
    pub fn engine_log(&self) -> PathBuf {
        self.path.join("engine.log")
    }

    /// The file with the token of the API.
    pub fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The file with the token of the nodes.
    pub fn node_token_file(&self) -> PathBuf {
        self.path.join("node-token")
    }

    /// How the engine checks what `hotswap token` signs.
    pub fn jwt(&self) -> Jwt {
        Jwt::of_dev(&self.path)
    }

    /// A shell script that sets server and token.
    pub fn env_file(&self) -> PathBuf {
        self.path.join("dev.env")
    }

    /// The data and the log of a node.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn node(&self, id: &str) -> Result<PathBuf> {
        let folder = self.path.join("nodes").join(id);
        tokens::private_folder(&folder)?;
        Ok(folder)
    }

    /// Tells clients where the engine is, now that it can be used.
    ///
    /// # Errors
    /// Where the folder does not take the files.
    pub fn announce(&self, server: &str) -> Result<()> {
        tokens::write_secret(&self.path.join("server"), &format!("{server}\n"))?;
        let token = quote(&self.token_file());
        let script =
            format!("export HOTSWAP_SERVER={server}\nexport HOTSWAP_TOKEN=\"$(cat {token})\"\n");
        tokens::write_secret(&self.env_file(), &script)
    }

    /// Tells clients that the engine is gone.
    pub fn close(&self) {
        let _ = fs::remove_file(self.path.join("server"));
    }
}

impl Drop for Folder {
    /// Closing is not enough: a child that is just being started shares the open file.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// A path as a shell reads it, whatever is in it.
pub fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_one_at_a_time_and_keeps_its_tokens() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("dev");
        let folder = Folder::open(&path).unwrap();
        let token = folder.keys().api.clone();
        assert_ne!(token, folder.keys().node);
        let error = Folder::open(&path).err().unwrap().to_string();
        assert!(error.contains("--dir"), "{error}");
        let jwt = folder.jwt();
        assert!(jwt.verifier().is_ok() && jwt.signer().is_ok());
        drop(folder);
        assert_eq!(Folder::open(&path).unwrap().keys().api, token);
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quote(Path::new("/a/b-1")), "/a/b-1");
        assert_eq!(quote(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
