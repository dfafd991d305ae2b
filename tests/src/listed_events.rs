use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::tools;

/// The list, in the repository.
const LIST: &str = "docs/LOG_EVENTS.md";

const LEVELS: [&str; 3] = ["ERROR", "WARN", "INFO"];

/// What stands there for a value within a message.
const VALUE: &str = "{…}";

/// What a line has besides the fields of its event.
const OF_LINE: [&str; 8] = [
    "level",
    "message",
    "span",
    "span_id",
    "spans",
    "target",
    "timestamp",
    "trace_id",
];

/// The events that the documentation lists.
pub struct ListedEvents {
    events: Vec<ListedEvent>,
}

struct ListedEvent {
    message: String,
    level: String,
    fields: BTreeSet<String>,
}

impl ListedEvents {
    /// Reads the list.
    ///
    /// # Errors
    /// If it has another form.
    pub fn read() -> Result<Self> {
        let page = fs::read_to_string(tools::repository_root().join(LIST))?;
        let (page, _) = page.split_once("\n## Fields\n").context("no fields")?;
        let rows = page.lines().filter_map(|line| {
            let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
            let mut columns = row.rsplitn(3, " | ");
            let (fields, level) = (columns.next()?, columns.next()?);
            let fields = fields
                .split(", ")
                .map(|field| field.trim_matches(['`', ' ']));
            Some(ListedEvent {
                message: columns.next()?.replace("\\|", "|"),
                level: level.to_uppercase(),
                fields: fields
                    .filter(|field| !field.is_empty())
                    .map(str::to_owned)
                    .collect(),
            })
        });
        let events: Vec<_> = rows.collect();
        ensure!(events.len() > 100, "{LIST} has another form");
        Ok(Self { events })
    }

    /// Checks the lines of a log that are JSON: each is listed, with its level and its fields. Leaves
    /// out what other libraries say. Returns how many lines were checked.
    ///
    /// # Errors
    /// Names a line that is not listed.
    pub fn check(&self, log: &str) -> Result<usize> {
        let mut checked = 0;
        for line in log.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let target = line["target"].as_str().unwrap_or_default();
            let level = line["level"].as_str().unwrap_or_default();
            if target.starts_with("hotswap") && LEVELS.contains(&level) {
                let is_listed = self.events.iter().any(|event| event.is_of(&line));
                ensure!(is_listed, "{LIST} does not list {line}");
                checked += 1;
            }
        }
        Ok(checked)
    }
}

impl ListedEvent {
    fn is_of(&self, line: &Value) -> bool {
        let message = line["message"].as_str().unwrap_or_default();
        let keys = line.as_object().into_iter().flat_map(|line| line.keys());
        let fields = keys.filter(|key| !OF_LINE.contains(&key.as_str()));
        let fields: BTreeSet<_> = fields.cloned().collect();
        // A field that has no value now is left out of its line.
        let has_fields =
            fields.is_subset(&self.fields) && fields.is_empty() == self.fields.is_empty();
        line["level"] == *self.level && is_like(message, &self.message) && has_fields
    }
}

/// Whether a message is one that is listed so.
fn is_like(message: &str, listed: &str) -> bool {
    let Some((first, listed)) = listed.split_once(VALUE) else {
        return message == listed;
    };
    let Some(mut rest) = message.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<_> = listed.split(VALUE).collect();
    let Some((last, between)) = parts.split_last() else {
        return true;
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
