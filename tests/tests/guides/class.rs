use anyhow::{Result, bail};

use crate::guide::Command;

/// The commands that do not run here, each with the reason.
pub const NOT_RUN: &[(&str, &str)] = &[
    (
        "cargo build --release --package hotswap",
        "takes minutes; the release workflow builds it",
    ),
    (
        "cargo test",
        "the workspace's tests include those of examples/strategies/halves",
    ),
    (
        "rustup target add wasm32-unknown-unknown",
        "changes the machine; `cargo xtask setup` does the same",
    ),
    (
        "cargo install --locked wasm-tools",
        "changes the machine, and takes minutes",
    ),
    (
        "cargo build --release --target wasm32-unknown-unknown",
        "the build of hotswap-guests compiles examples/strategies/halves for this target",
    ),
    (
        "wasm-tools component new target/wasm32-unknown-unknown/release/halves.wasm -o halves.wasm",
        "needs wasm-tools; the build of hotswap-guests makes this component with the same library",
    ),
    ("wasm-tools component wit halves.wasm", "needs wasm-tools"),
    (
        r#"curl -N -H "Authorization: Bearer $TOKEN" ws://127.0.0.1:5000/api/v1/deployments/$ID/events/socket"#,
        "needs curl 8.11; tests/live reads this socket",
    ),
    (
        "npm ci && npm run build",
        "needs packages from npm; tests/clients builds the examples",
    ),
    (
        "npm start",
        "needs packages from npm; tests/clients opens the page in a browser",
    ),
    (
        r#"HOTSWAP_TOKEN="$(cat ../../.hotswap/dev/token)" node dist/watch.js <executionId>"#,
        "needs packages from npm; tests/clients runs the example",
    ),
    (
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        "needs packages from PyPI; tests/clients runs the example",
    ),
    (
        r#"HOTSWAP_TOKEN="$(cat ../../.hotswap/dev/token)" .venv/bin/python watch.py <executionId>"#,
        "needs packages from PyPI; tests/clients runs the example",
    ),
    (
        "dotnet run -- <executionId>",
        "needs .NET, which the tests do not install",
    ),
];

/// How the test treats a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Sets a variable for the commands after it.
    Variable,
    /// A task of this repository. It would run the tests within the tests, or build again: its
    /// name is checked instead.
    Task,
    /// A server: started, awaited until it logs that it is ready, stopped at the guide's end.
    Server,
    /// Runs to its end with the documented exit code.
    Client,
    /// One of [`NOT_RUN`].
    NotRun,
}

impl Class {
    /// The class of a command.
    ///
    /// # Errors
    /// Where none or more than one fits.
    pub fn of(command: &Command) -> Result<Self> {
        let text = command.text.as_str();
        let starts = |prefixes: &[&str]| {
            let mut prefixes = prefixes.iter();
            prefixes.any(|prefix| text == prefix.trim_end() || text.starts_with(prefix))
        };
        let program = text.strip_prefix("target/debug/").unwrap_or(text);
        let is_hotswap = program.starts_with("hotswap ");
        let is_server = ["hotswap serve", "hotswap node run"]
            .iter()
            .any(|server| program.starts_with(server));
        let is_not_run = NOT_RUN.iter().any(|(known, _)| *known == text);
        let classes = [
            (Self::Variable, is_assignment(text)),
            (Self::Task, starts(&["cargo xtask "])),
            (Self::Server, is_server),
            (
                Self::Client,
                !is_not_run
                    && (is_hotswap && !is_server || starts(&["curl ", "python3 api_usage.py "])),
            ),
            (Self::NotRun, is_not_run),
        ];
        let mut fitting = classes.iter().filter(|(_, fits)| *fits);
        match (fitting.next(), fitting.next()) {
            (Some((class, _)), None) => Ok(*class),
            (None, _) => bail!(
                "`{text}` is of no known class: teach this test to run it, or add it to NOT_RUN \
                 with the reason"
            ),
            (Some((one, _)), Some((other, _))) => bail!("`{text}` is both {one:?} and {other:?}"),
        }
    }

    /// Whether the command really runs.
    pub fn runs(self) -> bool {
        matches!(self, Self::Server | Self::Client)
    }
}

/// Whether it only sets a variable: `NAME=value`, with or without `export`.
fn is_assignment(text: &str) -> bool {
    let exported = text.strip_prefix("export ");
    let Some((name, value)) = exported.unwrap_or(text).split_once('=') else {
        return false;
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    // `NAME="$(cat file)" program` runs a program.
    let rest = value.strip_prefix('"').map_or(value, |quoted| {
        quoted.split_once('"').map_or("", |(_, rest)| rest)
    });
    is_name && (rest.is_empty() || !rest.contains(' ') || rest.starts_with('<'))
}

#[test]
fn commands_are_classified() {
    let class = |text: &str| {
        Class::of(&Command {
            text: text.to_owned(),
            line: 1,
            output: None,
        })
        .ok()
    };
    assert_eq!(class(r#"export TOKEN="$(cat a b)""#), Some(Class::Variable));
    assert_eq!(class("ID=<execution id>"), Some(Class::Variable));
    assert_eq!(class(r#"TOKEN="$(cat a)" program"#), None);
    assert_eq!(class("cargo xtask dev"), Some(Class::Task));
    assert_eq!(class("hotswap serve"), Some(Class::Server));
    assert_eq!(class("target/debug/hotswap list"), Some(Class::Client));
    assert_eq!(class("npm start"), Some(Class::NotRun));
    assert_eq!(class("rm -rf target"), None);
}
