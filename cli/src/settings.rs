//! Which engine is spoken to, and how output is written: the step between parsing and
//! doing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::args::Global;
use crate::exit::Usage;

/// The engine that is spoken to when nothing else is said.
pub const SERVER: &str = "http://127.0.0.1:5000";

/// Where `hotswap dev` keeps what it makes when nothing else is said.
pub const DEV_DIR: &str = ".hotswap/dev";

/// The environment variables that matter here, read once at the start.
#[derive(Debug, Clone, Default)]
pub struct Environ {
    /// `HOTSWAP_TOKEN`: what opens the API.
    pub token: Option<Token>,
    /// `HOTSWAP_NODE_TOKEN`: what nodes and the engine show each other.
    pub node_token: Option<Token>,
    /// `HOTSWAP_EMAIL`, or `user@host` as good as can be told.
    pub email: String,
    /// Whether `NO_COLOR` is set to something, or `TERM` is `dumb`.
    pub plain: bool,
}

impl Environ {
    /// Those of this process.
    pub fn read() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            token: set("HOTSWAP_TOKEN").map(Token::new),
            node_token: set("HOTSWAP_NODE_TOKEN").map(Token::new),
            email: set("HOTSWAP_EMAIL").unwrap_or_else(whoami),
            plain: set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

/// What somebody is known by. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// This one, without the line end that files have.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_owned())
    }

    /// The token in a file.
    ///
    /// # Errors
    /// Where the file cannot be read, or is empty.
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the token in {}", file.display()))?;
        let token = Self::new(text);
        anyhow::ensure!(!token.0.is_empty(), "no token is in {}", file.display());
        Ok(token)
    }

    /// The token itself, to be sent and never to be written.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Which engine, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `http://host:port`, without a slash at the end.
    pub server: String,
    /// What the engine knows us by, if anything.
    pub token: Option<Token>,
    /// Where to reach whoever asks.
    pub email: String,
    /// Whether to answer in JSON.
    pub json: bool,
    /// Whether colours are unwelcome, whatever the terminal can do.
    pub plain: bool,
}

impl Settings {
    /// Resolves flags, environment and the folder of `hotswap dev` under `here`, in this
    /// order.
    ///
    /// The folder's token goes to the folder's engine and to no other, and that must be
    /// on loopback: a folder that came with somebody's files leads nowhere else.
    ///
    /// # Errors
    /// Where the address is no URL, or a file that was named cannot be read.
    pub fn resolve(global: &Global, environ: &Environ, here: &Path) -> Result<Self> {
        let dev = Dev::find(&here.join(DEV_DIR));
        let server = match &global.server {
            Some(given) => check(given)?,
            None => dev.as_ref().map_or(SERVER, |dev| &dev.server).to_owned(),
        };
        let token = match (&global.token, &global.token_file, &environ.token) {
            (Some(given), _, _) => Some(Token::new(given)),
            (None, Some(file), _) => Some(Token::from_file(file)?),
            (None, None, Some(token)) => Some(token.clone()),
            (None, None, None) => dev
                .filter(|dev| dev.server == server)
                .and_then(|dev| Token::from_file(&dev.folder.join("token")).ok()),
        };
        Ok(Self {
            server,
            token,
            email: global.email.as_ref().unwrap_or(&environ.email).clone(),
            json: global.json,
            plain: global.no_color || environ.plain,
        })
    }
}

impl Settings {
    /// Whether the engine is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.server)
    }
}

/// The folder under `here` of the `hotswap dev` that is spoken to, where it is one.
///
/// # Errors
/// Where the address that is named instead is no URL.
pub fn dev_folder(global: &Global, here: &Path) -> Result<Option<PathBuf>> {
    let named = global.server.as_deref().map(check).transpose()?;
    let dev = Dev::find(&here.join(DEV_DIR));
    let dev = dev.filter(|dev| named.is_none_or(|server| server == dev.server));
    Ok(dev.map(|dev| dev.folder))
}

fn is_loopback(server: &str) -> bool {
    let url = reqwest::Url::parse(server).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    matches!(host, Some("127.0.0.1" | "[::1]" | "localhost"))
}

/// What `hotswap dev` left for clients.
struct Dev {
    server: String,
    folder: PathBuf,
}

impl Dev {
    fn find(folder: &Path) -> Option<Self> {
        let server = fs::read_to_string(folder.join("server")).ok()?;
        let server = check(server.trim()).ok()?;
        is_loopback(&server).then(|| Self {
            server,
            folder: folder.to_owned(),
        })
    }
}

/// The address without what may follow it, so that two can be compared.
fn check(server: &str) -> Result<String, Usage> {
    let bad = || {
        Usage(format!(
            "'{server}' is no address of an engine; write it as {SERVER}"
        ))
    };
    let url = reqwest::Url::parse(server).map_err(|_| bad())?;
    if url.scheme() == "https" {
        let advice = "the client speaks plain HTTP: reach a distant engine through a tunnel";
        return Err(Usage(format!("'{server}' asks for HTTPS; {advice}")));
    }
    let fits = url.scheme() == "http"
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !fits {
        return Err(bad());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Where to reach whoever sits here, as good as can be told: `user@host`.
fn whoami() -> String {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let host = fs::read_to_string("/etc/hostname").ok();
    let host = host
        .as_deref()
        .map(str::trim)
        .filter(|host| !host.is_empty());
    format!(
        "{}@{}",
        user.as_deref().unwrap_or("unknown"),
        host.unwrap_or("localhost")
    )
}

#[cfg(test)]
mod tests;
