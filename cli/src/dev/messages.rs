//! What `hotswap dev` prints.

use std::io::Write as _;

use serde_json::{Value, json};

use super::folder::{Folder, quote};
use super::samples::MODULE;
use super::traffic::Statistics;
use crate::client::NodeRow;
use crate::defaults;
use crate::output::print_message;

/// Where everything is and what to try next, for people.
pub fn instructions(server: &str, folder: &Folder, nodes: &[NodeRow]) -> Vec<String> {
    let path = folder.path().display();
    let mut lines = vec![
        String::new(),
        "HotSwap is ready: an engine and six nodes.".to_owned(),
        String::new(),
        format!("  API      {server}/api/v1   (try it at {server}/swagger)"),
        format!("  token    {}", folder.tokens().api.expose()),
        format!("  folder   {path}   (logs: engine.log, nodes/*/node.log)"),
    ];
    for node in nodes {
        lines.push(format!(
            "  {:<7}  {}/{MODULE}   ({})",
            node.id, node.data_url, node.environment
        ));
    }
    let program = program();
    let steps = [
        (
            "a better version, step by step",
            "deploy hello@2.0.0 -e production --set soak=20s --watch",
        ),
        (
            "one that fails a tenth of its requests: it is rolled back",
            "deploy hello@3.0.0 -e production --set soak=20s --watch",
        ),
        (
            "all at once, in development",
            "deploy hello@2.0.0 -e development --watch",
        ),
        ("what happened", "list"),
    ];
    lines.push(String::new());
    lines.push("Try next, in another terminal:".to_owned());
    lines.push(String::new());
    let is_default_folder = std::env::current_dir()
        .is_ok_and(|current| current.join(defaults::DEV_FOLDER) == folder.path());
    if is_default_folder {
        // Clients find the server and the token in this folder.
        let current = folder.path().ancestors().nth(2).unwrap_or(folder.path());
        lines.push(format!("  cd {}", quote(current)));
    } else {
        lines.push(format!("  . {}", quote(&folder.env_file())));
    }
    for (what, command) in steps {
        lines.push(format!("  {program} {command}   # {what}"));
    }
    lines.push(String::new());
    lines.push("Ctrl-C stops everything; the next start continues from here.".to_owned());
    lines.push(String::new());
    lines
}

/// How to start this program, for commands to copy.
fn program() -> String {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    match name {
        // The shell found it in its path, and will again.
        Some(name) if name.components().count() == 1 => quote(&name),
        _ => std::env::current_exe().map_or_else(|_| "hotswap".to_owned(), |path| quote(&path)),
    }
}

/// The same for programs.
pub fn ready_record(server: &str, folder: &Folder, nodes: &[NodeRow]) -> Value {
    let node = |node: &NodeRow| {
        json!({
            "id": node.id,
            "environment": node.environment,
            "dataUrl": node.data_url,
            "controlUrl": node.control_url,
        })
    };
    json!({
        "server": server,
        "folder": folder.path(),
        "tokenFile": folder.token_file(),
        "nodeTokenFile": folder.node_token_file(),
        "envFile": folder.env_file(),
        "pid": std::process::id(),
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// Prints the status line over the one before.
pub fn print_status(statistics: &Statistics) {
    let _ = write!(std::io::stderr(), "\r{}\x1b[K", status_line(statistics));
}

fn status_line(statistics: &Statistics) -> String {
    let shares = statistics.shares();
    let shares: Vec<_> = shares
        .iter()
        .map(|(version, share)| format!("{version} {share} %"))
        .collect();
    let failed = match statistics.failed {
        0 => "none failed".to_owned(),
        failed => format!("! {failed} failed"),
    };
    format!(
        "{} requests, {failed} · last 10 s: {}",
        statistics.total,
        shares.join("  ")
    )
}

/// Prints a message, over the status line if there is one.
pub fn print_notice(text: &str, has_status_line: bool) {
    if has_status_line {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    print_message(text);
}
