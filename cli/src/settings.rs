//! Resolves which engine a command calls, with which token, and how it prints.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hotswap_common::Secret;
use hotswap_common::tls::ClientFiles;

use crate::args::{Global, shorten};
use crate::contexts::{ContextFile, EngineContext};
use crate::defaults;
use crate::environment_variables::EnvironmentVariables;
use crate::exit::UsageError;
use crate::secret_file;

/// The longest token, in characters. Servers limit their headers to 8 or 16 KiB in all.
const MAX_TOKEN: usize = 8192;

/// The longest address of an engine, in bytes. Errors quote it.
const MAX_SERVER: usize = 2048;

/// What a client command needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The engine: `http://host:port` or `https://host:port`, without a slash at the end.
    pub server: String,
    /// Whom to trust, and which certificate to show.
    pub tls: ClientFiles,
    /// The API token, if there is one.
    pub token: Option<Secret>,
    /// The file that the token comes from. It may hold a fresh one once the token expires.
    pub token_file: Option<PathBuf>,
    /// The user's e-mail address.
    pub email: String,
    /// Whether to print JSON.
    pub json: bool,
    /// Whether to print without colours, whatever the terminal supports.
    pub no_color: bool,
    /// Whether this is a job of a CI service.
    pub ci: bool,
}

impl Settings {
    /// Resolves flags, then environment variables, then the context that they name, then the
    /// folder of `hotswap dev` under `current_folder`, then the context in use.
    ///
    /// # Guarantees
    /// - The token of the folder is sent only to the folder's engine, and only on loopback: a
    ///   folder that came with somebody's files cannot lead elsewhere.
    /// - The token of a context is sent only to the context's engine.
    ///
    /// # Errors
    /// Where the address is not a URL, a named file cannot be read, or there is no such context.
    pub fn resolve(
        global: &Global,
        variables: &EnvironmentVariables,
        current_folder: &Path,
    ) -> Result<Self> {
        let dev = DevFolder::find(&current_folder.join(defaults::DEV_FOLDER));
        let context = context(global, variables, dev.is_some())?;
        let server = match (&global.server, &context) {
            (Some(server), _) => parse_server(server)?,
            (None, Some(context)) => parse_server(&context.server)?,
            (None, None) => dev
                .as_ref()
                .map_or(defaults::SERVER, |dev| &dev.server)
                .to_owned(),
        };
        let mut global = global.clone();
        if let Some(context) = context {
            add_context(&mut global, context, variables.token.is_some());
        }
        let (token, token_file) = match token(&global, variables.token.as_ref())? {
            Some(token) => (Some(token), global.token_file.clone()),
            None => {
                let dev = dev.filter(|dev| dev.server == server);
                let file = dev.map(|dev| dev.path.join("token"));
                let token = file
                    .as_deref()
                    .and_then(|file| secret_file::read(file).ok());
                (token, file)
            }
        };
        if let Some(token) = &token {
            check_token(token)?;
        }
        Ok(Self {
            server,
            tls: global.tls.files()?,
            token,
            token_file,
            email: global.email.as_ref().unwrap_or(&variables.email).clone(),
            json: global.json,
            no_color: global.no_color || variables.no_color,
            ci: variables.ci,
        })
    }

    /// Whether the engine is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.server)
    }
}

/// The file with the user's contexts.
///
/// # Errors
/// Where the user has no home folder.
pub fn context_file(variables: &EnvironmentVariables) -> Result<ContextFile> {
    let folder = variables.config_folder.as_deref();
    let folder = folder.context("there is no home folder for contexts: set XDG_CONFIG_HOME")?;
    Ok(ContextFile::in_folder(folder))
}

/// The context that is named, else the one in use where nothing else names an engine.
fn context(
    global: &Global,
    variables: &EnvironmentVariables,
    has_dev_folder: bool,
) -> Result<Option<EngineContext>> {
    match (&global.context, &global.server) {
        (Some(name), Some(_)) => Err(UsageError(format!(
            "two engines are named: the context '{name}' by --context or HOTSWAP_CONTEXT, and an \
             address by --server or HOTSWAP_SERVER; leave one away"
        ))
        .into()),
        (Some(name), None) => {
            let contexts = context_file(variables)?.read()?;
            Ok(Some(contexts.get(name)?.clone()))
        }
        (None, None) if !has_dev_folder && variables.config_folder.is_some() => {
            let mut contexts = context_file(variables)?.read()?;
            let current = contexts.current.take();
            Ok(current.and_then(|name| contexts.contexts.remove(&name)))
        }
        (None, _) => Ok(None),
    }
}

/// Adds to the options what the context has and they leave open.
fn add_context(global: &mut Global, context: EngineContext, has_token: bool) {
    if !has_token && global.token.is_none() && global.token_file.is_none() {
        global.token = context.token.map(|token| token.expose().to_owned());
        global.token_file = context.token_file;
    }
    global.tls.ca = global.tls.ca.take().or(context.ca);
    if global.tls.client_cert.is_none() && global.tls.client_key.is_none() {
        global.tls.client_cert = context.client_cert;
        global.tls.client_key = context.client_key;
    }
    global.email = global.email.take().or(context.email);
}

/// The token of the flags, else the token of the environment.
///
/// # Errors
/// Where the token file cannot be read.
pub fn token(global: &Global, variable: Option<&Secret>) -> Result<Option<Secret>> {
    match (&global.token, &global.token_file) {
        (Some(token), _) => Ok(Some(Secret::new(token.trim()))),
        (None, Some(file)) => secret_file::read(file).map(Some),
        (None, None) => Ok(variable.cloned()),
    }
}

/// Checks that a header can carry the token.
///
/// # Errors
/// Where it cannot. The error does not show the token.
pub fn check_token(token: &Secret) -> Result<(), UsageError> {
    let text = token.expose();
    let is_sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || !is_sendable || text.len() > MAX_TOKEN {
        return Err(UsageError(format!(
            "the token cannot be sent: a token has 1 to {MAX_TOKEN} visible ASCII characters"
        )));
    }
    Ok(())
}

/// The folder under `current_folder` of a running `hotswap dev`, unless `--server` names
/// another engine.
///
/// # Errors
/// Where `--server` is not a URL.
pub fn dev_folder(global: &Global, current_folder: &Path) -> Result<Option<PathBuf>> {
    let server = global.server.as_deref().map(parse_server).transpose()?;
    let dev = DevFolder::find(&current_folder.join(defaults::DEV_FOLDER));
    let dev = dev.filter(|dev| server.is_none_or(|server| server == dev.server));
    Ok(dev.map(|dev| dev.path))
}

/// What a running `hotswap dev` left for clients.
struct DevFolder {
    server: String,
    path: PathBuf,
}

impl DevFolder {
    fn find(path: &Path) -> Option<Self> {
        let server = fs::read_to_string(path.join("server")).ok()?;
        let server = parse_server(server.trim()).ok()?;
        is_loopback(&server).then(|| Self {
            server,
            path: path.to_owned(),
        })
    }
}

fn is_loopback(server: &str) -> bool {
    let url = reqwest::Url::parse(server).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    matches!(host, Some("127.0.0.1" | "[::1]" | "localhost"))
}

/// Checks an engine's address. Returns it without a slash at the end, so that two addresses
/// can be compared.
///
/// # Errors
/// Where it is none.
pub fn parse_server(server: &str) -> Result<String, UsageError> {
    let quote = shorten(server);
    if server.len() > MAX_SERVER {
        return Err(UsageError(format!(
            "the engine's address '{quote}' is longer than {MAX_SERVER} bytes"
        )));
    }
    let invalid = || {
        UsageError(format!(
            "'{quote}' is not an engine's address; write it like {}",
            defaults::SERVER
        ))
    };
    let url = reqwest::Url::parse(server).map_err(|_| invalid())?;
    let is_valid = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_valid {
        return Err(invalid());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
