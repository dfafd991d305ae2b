//! The list of what engine and nodes log, read from the source.

mod fields;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The crates of the program, and what a reader calls each.
const PARTS: [(&str, &[&str]); 3] = [
    ("The engine", &["engine"]),
    ("A node", &["node"]),
    ("Both", &["common", "wasm", "cli"]),
];

const LEVELS: [&str; 3] = ["error", "warn", "info"];

const HEAD: &str = "\
# Log events

Everything that engine and nodes log at the levels `error`, `warn` and `info`. This list is generated \
from the source by `cargo xtask references`.

- `error`: a person should look. Something is lost, or needs a decision.
- `warn`: something failed, and the program goes on, mostly by trying again.
- `info`: something happened that explains what comes later.

An event's message is a sentence that says what happened, and mostly what the program does about it. \
`{…}` in a message stands for a value. Its [fields](#fields) are explained below. Spans of time are \
written with their unit, such as `1.5s`. The log's formats are described in \
[Logs](OBSERVABILITY.md#logs).
";

/// One event.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogEvent {
    message: String,
    level: usize,
    fields: Vec<String>,
}

/// The document about the repository at `root`.
///
/// # Errors
/// If a source cannot be read, or is not Rust, or if a field has no meaning, or the name of a key that
/// each line has.
pub fn document(root: &Path) -> Result<String> {
    let mut document = HEAD.to_owned();
    let mut used = BTreeSet::new();
    for (title, folders) in PARTS {
        let mut events = Vec::new();
        for folder in folders {
            collect(&root.join(folder), &mut events)?;
        }
        events.sort();
        events.dedup();
        document += &format!("\n## {title}\n\n| Event | Level | Fields |\n|---|---|---|\n");
        for event in events {
            used.extend(event.fields.iter().cloned());
            let fields: Vec<_> = event
                .fields
                .iter()
                .map(|field| format!("`{field}`"))
                .collect();
            document += &format!(
                "| {} | {} | {} |\n",
                event.message.replace('|', "\\|"),
                LEVELS[event.level],
                fields.join(", ")
            );
        }
    }
    Ok(document + &fields::document(&used)?)
}

/// Adds the events of all sources below a folder, tests and benches left out.
fn collect(folder: &Path, events: &mut Vec<LogEvent>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "tests" | "benches" | "target") {
                collect(&path, events)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path)?;
            let found = read_events(&source);
            events.extend(found.with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(())
}

fn read_events(source: &str) -> Result<Vec<LogEvent>> {
    let tokens: TokenStream = source
        .parse()
        .map_err(|error| anyhow::anyhow!("it is not Rust: {error}"))?;
    let mut events = Vec::new();
    walk(tokens, &mut events);
    Ok(events)
}

/// Finds `tracing::LEVEL!(…)`, and `LEVEL!(…)` where the macro is imported.
fn walk(tokens: TokenStream, events: &mut Vec<LogEvent>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        let TokenTree::Group(group) = tree else {
            continue;
        };
        let level = match &trees[..index] {
            [.., TokenTree::Ident(name), TokenTree::Punct(mark)] if mark.as_char() == '!' => {
                LEVELS.iter().position(|level| name == level)
            }
            _ => None,
        };
        match level {
            Some(level) if group.delimiter() == Delimiter::Parenthesis => {
                events.push(read_event(level, group.stream()));
            }
            _ => walk(group.stream(), events),
        }
    }
}

/// Reads what stands between the parentheses: fields, then the message, then values of its `{}`.
fn read_event(level: usize, arguments: TokenStream) -> LogEvent {
    let trees: Vec<TokenTree> = arguments.into_iter().collect();
    let is_comma = |tree: &TokenTree| tree.to_string() == ",";
    let mut event = LogEvent {
        message: String::new(),
        level,
        fields: Vec::new(),
    };
    for argument in trees.split(is_comma) {
        if let [TokenTree::Literal(literal)] = argument {
            event.message = unescape(&literal.to_string());
            break;
        }
        let name = argument
            .iter()
            .take_while(|tree| tree.to_string() != "=")
            .filter(
                |tree| !matches!(tree, TokenTree::Punct(punct) if "%?".contains(punct.as_char())),
            );
        let name: String = name.map(ToString::to_string).collect();
        // `config.id` is shown under its whole path.
        event.fields.push(name);
    }
    event.message = shorten_values(&event.message);
    event
}

/// The text of a literal as it stands in the source.
fn unescape(literal: &str) -> String {
    let mut text = String::new();
    let mut letters = literal.trim_matches('"').chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            // A line that goes on.
            Some('\n') => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
            Some(escaped) => text.push(escaped),
            None => {}
        }
    }
    text
}

/// Values of a message become `{…}`: their names are the source's, not the log's.
fn shorten_values(message: &str) -> String {
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        text += before;
        text += "{…}";
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listed = fs::read_to_string(root.join("docs/LOG_EVENTS.md")).unwrap();
        let document = document(&root).unwrap();
        let missing = document
            .lines()
            .filter(|line| !listed.lines().any(|it| it == *line));
        let missing: Vec<_> = missing.collect();
        assert!(listed == document, "not listed, or elsewhere: {missing:#?}");
    }

    #[test]
    fn events_have_their_message_and_fields() {
        let source = r#"
            fn f() {
                if true {
                    tracing::warn!(%id, node = %self.node, delay = ?span, error, "it is \
                        \"late\", {reason}");
                }
                match level {
                    Level::Info => info!("ready"),
                    _ => debug!("not listed"),
                }
                compile_error!("not an event");
            }
        "#;
        let events = read_events(source).unwrap();
        let fields = ["id", "node", "delay", "error"].map(str::to_owned).to_vec();
        assert_eq!(
            events,
            [
                LogEvent {
                    message: "it is \"late\", {…}".to_owned(),
                    level: 1,
                    fields,
                },
                LogEvent {
                    message: "ready".to_owned(),
                    level: 2,
                    fields: Vec::new(),
                },
            ]
        );
    }
}
