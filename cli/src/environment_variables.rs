use std::path::PathBuf;

use hotswap_common::Secret;

use crate::config::PASSWORD_VARIABLE;

/// The environment variables that all commands read, read once at the start.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentVariables {
    /// `HOTSWAP_TOKEN`: the API token.
    pub token: Option<Secret>,
    /// `HOTSWAP_NODE_TOKEN`: the token that nodes and the engine share.
    pub node_token: Option<Secret>,
    /// `HOTSWAP_EMAIL`, else `user@host`.
    pub email: String,
    /// The folder of this program under `XDG_CONFIG_HOME`, else under `.config` of the user's
    /// home folder. `None` if neither is known.
    pub config_folder: Option<PathBuf>,
    /// Whether `NO_COLOR` is set, or `TERM` is `dumb`.
    pub no_color: bool,
    /// Whether this is a job of a CI service: `CI` is set, and not to `false` or `0`.
    pub ci: bool,
}

/// Every environment variable of this program that is not a key of the configuration, with
/// what it does. For the generated reference.
pub const DESCRIPTIONS: [(&str, &str); 28] = [
    (
        "HOTSWAP_SERVER",
        "The engine that client commands call. `--server` overrides it.",
    ),
    (
        "HOTSWAP_CONTEXT",
        "The context that client commands use: an engine that was saved under this name. \
         `--context` overrides it.",
    ),
    (
        "HOTSWAP_TOKEN",
        "The API token, of the client and of `hotswap serve`. `--token` and `--token-file` \
         override it.",
    ),
    (
        "HOTSWAP_NODE_TOKEN",
        "The token that nodes and the engine share. For `hotswap node run`, `--token` and \
         `--token-file` override it; for `hotswap serve`, `nodeTokenFile` does.",
    ),
    (
        PASSWORD_VARIABLE,
        "The password of the store, of `hotswap serve` and `hotswap store`. \
         `store.passwordFile` overrides it.",
    ),
    (
        "HOTSWAP_EMAIL",
        "Your e-mail address, which deployments record. `--email` overrides it.",
    ),
    (
        "HOTSWAP_CONFIG",
        "The engine's configuration file. `--config` overrides it.",
    ),
    (
        "HOTSWAP_CA",
        "A file with authorities to trust, of all commands. `--ca` overrides it.",
    ),
    (
        "HOTSWAP_CLIENT_CERT",
        "A file with the certificate to show to servers that ask for one. `--client-cert` \
         overrides it.",
    ),
    (
        "HOTSWAP_CLIENT_KEY",
        "A file with the key of that certificate. `--client-key` overrides it.",
    ),
    (
        "HOTSWAP_NODE_ENVIRONMENT",
        "Of `hotswap node run`, as the other variables of nodes: the environment. \
         `--environment` overrides it.",
    ),
    (
        "HOTSWAP_NODE_ENGINE",
        "The engine that the node reports in to. `--engine` overrides it.",
    ),
    ("HOTSWAP_NODE_ID", "The node's id. `--id` overrides it."),
    (
        "HOTSWAP_NODE_ADVERTISE",
        "The host name or address that others use to reach the node. `--advertise` overrides it.",
    ),
    (
        "HOTSWAP_NODE_ZONE",
        "The node's zone. `--zone` overrides it.",
    ),
    (
        "HOTSWAP_NODE_DATA",
        "The address that serves requests. `--data` overrides it.",
    ),
    (
        "HOTSWAP_NODE_CONTROL",
        "The address that receives orders. `--control` overrides it.",
    ),
    (
        "HOTSWAP_COMPILED_DIR",
        "The folder for compiled components, of nodes, the engine and `hotswap dev` alike. \
         `--compiled-dir` overrides it.",
    ),
    (
        "HOTSWAP_LAME_DUCK",
        "How long a server goes on serving after SIGTERM, of nodes and the engine alike. \
         `--lame-duck` overrides it.",
    ),
    (
        "HOTSWAP_DRAIN",
        "How long requests under way may go on then, of nodes and the engine alike. `--drain` \
         overrides it.",
    ),
    (
        "HOTSWAP_TLS_CERT",
        "A file with the certificate of a server, of nodes and the engine alike. `--tls-cert` \
         overrides it.",
    ),
    (
        "HOTSWAP_TLS_KEY",
        "A file with the key of that certificate. `--tls-key` overrides it.",
    ),
    (
        "HOTSWAP_TLS_CLIENT_CA",
        "A file with the authorities of client certificates, of nodes and the engine alike. \
         `--tls-client-ca` overrides it.",
    ),
    (
        "XDG_CONFIG_HOME",
        "The folder with `hotswap/contexts.json`, the user's contexts. Default: `~/.config`.",
    ),
    ("NO_COLOR", "Where set, output has no colours."),
    ("TERM", "Where `dumb`, output has no colours."),
    (
        "CI",
        "Where set, and not to `false` or `0`: commands are non-interactive, even at a terminal.",
    ),
    (
        "RUST_LOG",
        "What servers log, such as `info` or `hotswap_runner=debug`. Default: `info`.",
    ),
];

impl EnvironmentVariables {
    /// Reads the variables of this process.
    pub fn read() -> Self {
        let secret = |name| read_variable(name).map(|text| Secret::new(text.trim()));
        Self {
            token: secret("HOTSWAP_TOKEN"),
            node_token: secret("HOTSWAP_NODE_TOKEN"),
            email: read_variable("HOTSWAP_EMAIL").unwrap_or_else(user_at_host),
            config_folder: config_folder(),
            no_color: read_variable("NO_COLOR").is_some()
                || read_variable("TERM").is_some_and(|term| term == "dumb"),
            ci: read_variable("CI").is_some_and(|value| value != "false" && value != "0"),
        }
    }
}

/// The value of an environment variable. An empty one counts as not set.
pub fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder of this program among those of the user's configuration, as the XDG Base Directory
/// Specification places it: a relative path is ignored.
fn config_folder() -> Option<PathBuf> {
    let named = read_variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = named.filter(|folder| folder.is_absolute()).or_else(|| {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        home.map(|home| home.join(".config"))
    });
    folder.map(|folder| folder.join("hotswap"))
}

/// `user@host`, as far as the system tells.
fn user_at_host() -> String {
    let user = read_variable("USER").or_else(|| read_variable("LOGNAME"));
    let host = std::fs::read_to_string("/etc/hostname").ok();
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
