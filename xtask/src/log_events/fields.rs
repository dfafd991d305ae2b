//! What the fields of log events mean.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

/// Each field, with its meaning and its unit.
const FIELDS: &[(&str, &str)] = &[
    (
        "action",
        "The order and its values. An order is one of `Stage`, `Shift`, `Promote`, `Revert`, `Restart` and `Settle`",
    ),
    ("addr", "Address and port on which the engine listens"),
    ("attempts", "How often it was tried in vain so far"),
    ("backend", "Name of a discovery backend"),
    ("before", "The node's control URL until now"),
    ("bucket", "Name of the bucket that holds the artifacts"),
    ("by", "Who asked for it: the subject of the token"),
    (
        "bytes",
        "Bytes of the files that were deleted, or that are free on the disk",
    ),
    ("cause", "What went wrong, with its causes"),
    ("commands", "How many commands were to be written together"),
    ("connections", "How many connections are open"),
    (
        "contradiction",
        "Which setting has another value on which engine, and both values",
    ),
    (
        "control_addr",
        "Address and port on which a node listens for its engine",
    ),
    ("control_url", "URL at which the engine reaches a node"),
    ("cordon", "Who cordoned or drained the node, and why"),
    ("damage", "Why the journal cannot be read"),
    (
        "data_addr",
        "Address and port on which a node listens for clients",
    ),
    (
        "delay",
        "Time until the next attempt, or until ages count again",
    ),
    ("deployment", "Id of the deployment"),
    ("deployments", "How many deployments"),
    (
        "difference",
        "How far the wall-clock moved, on top of the time that has passed",
    ),
    ("digest", "SHA-256 of an artifact or a component"),
    ("dir", "Folder of the engine's data"),
    (
        "disks",
        "Whether appends wait for the disk of the server: 1 if so, otherwise 0",
    ),
    (
        "durability",
        "What is on disk when the store acknowledges a write",
    ),
    (
        "elapsed",
        "Time from the arrival of an order until it took effect",
    ),
    ("endpoint", "URL to which telemetry is sent"),
    (
        "engine",
        "Id of an engine; on a node, the URL of its engine",
    ),
    ("environment", "Name of the environment"),
    ("error", "What went wrong, with its causes"),
    ("failure", "How the last request failed"),
    (
        "failures",
        "How many requests to a version have failed since it was loaded, or how many exports in a row",
    ),
    (
        "fence",
        "Number of the newest take-over that a node has seen. Nodes refuse orders with a lower one",
    ),
    ("file", "Path of the file"),
    ("files", "How many files"),
    ("from", "Version of the module until now, or `none`"),
    ("health", "`Warning`, `Critical` or `Unknown`"),
    ("heartbeat_interval", "Time between two reports of a node"),
    ("host", "Host and port that a request was for"),
    (
        "id",
        "Id of what the message is about: a deployment, a node or a request",
    ),
    ("instances", "How many instances the registry lists"),
    ("interval", "Time between two exports"),
    ("keys", "Keys of the configuration"),
    (
        "kind",
        "Kind of the decision (an event of the environment), or of the registry's error",
    ),
    ("lame_duck", "Time for which requests are still served"),
    ("line", "What a discovery backend says"),
    (
        "lost",
        "How many instances are missing, or how many spans or data points were thrown away",
    ),
    ("method", "Method of a request"),
    ("millis", "Milliseconds that a request took"),
    ("module", "Name of the module"),
    ("node", "Name of the node"),
    ("now", "The node's control URL from now on"),
    (
        "operation",
        "Id of an order. An order that is repeated keeps it",
    ),
    ("origin", "Scheme, host and port of a server"),
    ("path", "Path of the file or folder"),
    ("place", "Id of the entry in the store's stream"),
    (
        "position",
        "Place of an event in the order of all events of the installation",
    ),
    (
        "protocol",
        "Protocol of the export: `grpc` or `http/protobuf`",
    ),
    ("reason", "Why, in a sentence"),
    ("received", "Bytes of the artifact that have arrived"),
    (
        "refused",
        "How often a discovery backend was refused something",
    ),
    ("replicas", "For how many replicas appends wait"),
    (
        "request",
        "What was asked of the engine: `registration` or `heartbeat`",
    ),
    (
        "route",
        "Path of a request as the API documents it, with its parameters' names",
    ),
    ("scheme", "Scheme of a URL"),
    ("server", "Host and port of the store's server"),
    ("signal", "What is exported: `traces` or `metrics`"),
    ("source", "Name of the registry in the configuration"),
    ("stall", "Time for which the engine did nothing"),
    ("status", "HTTP status of the answer"),
    ("tasks", "How many requests and orders are not finished"),
    ("to", "Version of the module from now on, or `none`"),
    ("variables", "Names of environment variables"),
    ("versions", "How many versions of modules"),
];

/// What each line has besides the fields of its event. An event with such a field would have two keys
/// with one name in JSON, of which readers take one.
const RESERVED: [&str; 8] = [
    "level",
    "message",
    "span",
    "span_id",
    "spans",
    "target",
    "timestamp",
    "trace_id",
];

/// The part of the document about these fields.
///
/// # Errors
/// If one of them has no meaning in [`FIELDS`], or a meaning has no field, or if one has the name of a
/// key that each line has.
pub(super) fn document(used: &BTreeSet<String>) -> Result<String> {
    let reserved = RESERVED.iter().find(|name| used.contains(**name));
    ensure!(
        reserved.is_none(),
        "a field of an event is called {reserved:?}, as a key of each line: call it otherwise"
    );
    let known: BTreeSet<String> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let without_meaning: Vec<_> = used.difference(&known).collect();
    let without_use: Vec<_> = known.difference(used).collect();
    ensure!(
        without_meaning.is_empty() && without_use.is_empty(),
        "add the meaning of {without_meaning:?}, and remove that of {without_use:?}"
    );
    let mut document = "\n## Fields\n\n| Field | Meaning |\n|---|---|\n".to_owned();
    for (name, meaning) in FIELDS {
        document += &format!("| `{name}` | {meaning} |\n");
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_a_meaning_is_found_and_a_meaning_without_a_field() {
        let mut used: BTreeSet<String> =
            FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert!(document(&used).unwrap().contains("| `millis` | "));
        used.insert("colour".to_owned());
        let error = document(&used).unwrap_err().to_string();
        assert!(error.contains("meaning of [\"colour\"]"), "{error}");
        used.remove("colour");
        used.insert("message".to_owned());
        let error = document(&used).unwrap_err().to_string();
        assert!(error.contains("\"message\""), "{error}");
        used.remove("message");
        used.remove("millis");
        let error = document(&used).unwrap_err().to_string();
        assert!(error.contains("remove that of [\"millis\"]"), "{error}");
    }
}
