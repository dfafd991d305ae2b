//! What `hotswap dev` says.

use std::io::Write as _;

use serde_json::{Value, json};

use super::folder::{Folder, quote};
use super::seed::MODULE;
use super::traffic::Score;
use crate::client::NodeRow;
use crate::output::say;
use crate::settings::DEV_DIR;

/// Where everything is and what to try, for people.
pub fn text(server: &str, folder: &Folder, nodes: &[NodeRow]) -> Vec<String> {
    let path = folder.path().display();
    let mut lines = vec![
        String::new(),
        "HotSwap is ready: an engine and six nodes.".to_owned(),
        String::new(),
        format!("  API      {server}/api/v1   (try it at {server}/swagger)"),
        format!("  token    {}", folder.keys().api.secret()),
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
            "deploy hello@2.0.0 -e production --config soak=20s --watch",
        ),
        (
            "one that fails a tenth of its requests: it is rolled back",
            "deploy hello@3.0.0 -e production --config soak=20s --watch",
        ),
        (
            "all at once, where nobody is hurt",
            "deploy hello@2.0.0 -e development --watch",
        ),
        ("what happened", "list"),
    ];
    lines.push(String::new());
    lines.push("Try next, in another terminal:".to_owned());
    lines.push(String::new());
    let here = std::env::current_dir().is_ok_and(|here| here.join(DEV_DIR) == folder.path());
    if here {
        // Clients find server and token in the folder.
        let here = folder.path().ancestors().nth(2).unwrap_or(folder.path());
        lines.push(format!("  cd {}", quote(here)));
    } else {
        lines.push(format!("  . {}", quote(&folder.env_file())));
    }
    for (what, command) in steps {
        lines.push(format!("  {program} {command}   # {what}"));
    }
    lines.push(String::new());
    lines.push("Ctrl-C ends it all; the next start goes on from here.".to_owned());
    lines.push(String::new());
    lines
}

/// How this program was called: what is copied must run.
fn program() -> String {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    match name {
        // Found by the shell in its path; so it will be again.
        Some(name) if name.components().count() == 1 => quote(&name),
        _ => std::env::current_exe().map_or_else(|_| "hotswap".to_owned(), |path| quote(&path)),
    }
}

/// The same for programs: one object on one line.
pub fn ready(server: &str, folder: &Folder, nodes: &[NodeRow]) -> Value {
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

/// Writes the status line over itself.
pub fn status(score: &Score) {
    let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(score));
}

fn line(score: &Score) -> String {
    let shares = score.shares();
    let shares: Vec<_> = shares
        .iter()
        .map(|(version, share)| format!("{version} {share} %"))
        .collect();
    let failed = match score.failed {
        0 => "none failed".to_owned(),
        failed => format!("! {failed} failed"),
    };
    format!(
        "{} requests, {failed} · last 10 s: {}",
        score.total,
        shares.join("  ")
    )
}

/// Says what happened to a node, above the status line if there is one.
pub fn notice(text: &str, over_status: bool) {
    if over_status {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    say(text);
}
