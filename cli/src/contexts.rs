//! The user's contexts: engines by name, each with what a client of it needs. They are in one
//! file, which only the user can read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::Secret;
use hotswap_common::file::{Attempt, FileLock};
use serde::{Deserialize, Serialize};

use crate::args::shorten;
use crate::exit::UsageError;
use crate::secret_file;

/// The longest name of a context, in characters.
const MAX_NAME: usize = 64;
/// The largest file that is read, in bytes: thousands of contexts.
const MAX_BYTES: u64 = 4 << 20;
/// How often to look whether another command is done with the file, and how long it may take.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LOCK_ATTEMPTS: u32 = 100;

/// The name of a context: 1 to 64 letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextName(String);

/// An engine, and what a client of it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineContext {
    /// The engine's address.
    pub server: String,
    /// The API token, where it is not in a file of its own.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "expose",
        deserialize_with = "conceal"
    )]
    pub token: Option<Secret>,
    /// A file with the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A file with authorities to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate to show to the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// The user's e-mail address there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// All contexts of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contexts {
    /// The context that commands use where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ContextName>,
    /// The contexts.
    #[serde(default)]
    pub contexts: BTreeMap<ContextName, EngineContext>,
}

impl Contexts {
    /// The context with this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, name: &ContextName) -> Result<&EngineContext, UsageError> {
        self.contexts.get(name).ok_or_else(|| {
            UsageError(format!(
                "there is no context '{name}': `hotswap context list` shows those that there are, \
                 `hotswap context add` adds one"
            ))
        })
    }
}

/// The file that holds the contexts.
#[derive(Debug, Clone)]
pub struct ContextFile {
    path: PathBuf,
}

impl ContextFile {
    /// The file in this folder, which need not exist yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join("contexts.json"),
        }
    }

    /// Reads the file. Without one there are no contexts.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or can be read by other users.
    pub fn read(&self) -> Result<Contexts> {
        let shown = self.path.display();
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Contexts::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the contexts in {shown}"));
            }
        };
        ensure!(
            metadata.is_file() && metadata.len() <= MAX_BYTES,
            "{shown} is no file of contexts: remove it"
        );
        ensure!(
            metadata.permissions().mode() & 0o077 == 0,
            "other users can read the tokens in {shown}: run `chmod 600 {shown}`"
        );
        let text =
            fs::read(&self.path).with_context(|| format!("cannot read the contexts in {shown}"))?;
        // The error of serde_json names the place, and would quote what is there: a token.
        serde_json::from_slice(&text).map_err(|error| {
            anyhow::anyhow!(
                "the contexts in {shown} cannot be read at line {}, column {}: correct the file, \
                 or remove it and add the contexts again",
                error.line(),
                error.column()
            )
        })
    }

    /// Changes the contexts. Two commands at once change them one after the other.
    ///
    /// # Errors
    /// Those of `change`, and where the file can be neither read nor written. It then stays as it
    /// was.
    pub fn change<T>(&self, change: impl FnOnce(&mut Contexts) -> Result<T>) -> Result<T> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        secret_file::create_private_folder(folder)?;
        let _lock = lock(&folder.join("contexts.lock"))?;
        let mut contexts = self.read()?;
        let result = change(&mut contexts)?;
        let text = serde_json::to_string_pretty(&contexts)?;
        secret_file::write(&self.path, &format!("{text}\n"))?;
        Ok(result)
    }
}

/// Waits until no other command changes the contexts.
fn lock(path: &Path) -> Result<FileLock> {
    let mut attempts = 0;
    loop {
        let attempt = FileLock::try_acquire(path)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        let holder = match attempt {
            Attempt::Acquired(lock) => return Ok(lock),
            Attempt::Held(holder) => holder,
        };
        attempts += 1;
        ensure!(
            attempts < LOCK_ATTEMPTS,
            "{holder} has been changing the contexts for 5 s: try again, or end it"
        );
        thread::sleep(LOCK_INTERVAL);
    }
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed =
            |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "'{}' is no name of a context: it has 1 to {MAX_NAME} letters, digits, '.', '_' \
                 and '-'",
                shorten(text)
            ))
        }
    }
}

impl TryFrom<String> for ContextName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ContextName> for String {
    fn from(name: ContextName) -> Self {
        name.0
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a token: the one place where it leaves its [`Secret`], into a file of mode 600.
fn expose<S: serde::Serializer>(token: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::expose).serialize(serializer)
}

fn conceal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(Secret::new))
}

#[cfg(test)]
mod tests;
