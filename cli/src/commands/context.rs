//! `hotswap context …`: calls no engine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::args::{ContextCommand, Global};
use crate::contexts::{ContextFile, ContextName, Contexts, EngineContext};
use crate::environment_variables::EnvironmentVariables;
use crate::exit::{Exit, UsageError};
use crate::exit_report::ExitReport;
use crate::output::{Output, print_message};
use crate::settings;

const HEAD: [&str; 5] = ["", "NAME", "SERVER", "TOKEN", "E-MAIL"];

/// Runs a `context` command.
///
/// # Errors
/// Where the contexts can be neither read nor written, or the command does not fit them.
pub fn run(
    command: ContextCommand,
    global: &Global,
    variables: &EnvironmentVariables,
    current_folder: &Path,
) -> Result<Exit> {
    let file = settings::context_file(variables)?;
    let out = Output::new(
        global.json,
        global.no_color || variables.no_color,
        variables.ci,
    );
    match command {
        ContextCommand::Add { name, replace } => {
            let context = new_context(global, current_folder)?;
            file.change(|contexts| add(contexts, &name, context, replace))?;
            let next = format!("hotswap context use {name}");
            report(
                &out,
                &name,
                "saved",
                &format!("context {name} is saved"),
                Some(&next),
            )
        }
        ContextCommand::Use { name } => {
            let server = file.change(|contexts| choose(contexts, &name))?;
            let message = format!("context {name} is in use: commands call {server}");
            report(&out, &name, "in use", &message, None)
        }
        ContextCommand::List => list(&file, &out),
        ContextCommand::Delete { name } => {
            file.change(|contexts| delete(contexts, &name))?;
            let message = format!("context {name} is deleted");
            report(&out, &name, "deleted", &message, None)
        }
    }
}

/// The context that the options describe.
fn new_context(global: &Global, current_folder: &Path) -> Result<EngineContext> {
    let Some(server) = &global.server else {
        return Err(UsageError("name the engine with --server".to_owned()).into());
    };
    let token = settings::token(global, None)?;
    if let Some(token) = &token {
        settings::check_token(token)?;
    }
    global.tls.files()?;
    // A command may run in any folder.
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| current_folder.join(path));
    Ok(EngineContext {
        server: settings::parse_server(server)?,
        token: token.filter(|_| global.token_file.is_none()),
        token_file: absolute(&global.token_file),
        ca: absolute(&global.tls.ca),
        client_cert: absolute(&global.tls.client_cert),
        client_key: absolute(&global.tls.client_key),
        email: global.email.clone(),
    })
}

fn add(
    contexts: &mut Contexts,
    name: &ContextName,
    context: EngineContext,
    replace: bool,
) -> Result<()> {
    if !replace && let Some(before) = contexts.contexts.get(name) {
        return Err(UsageError(format!(
            "the context '{name}' is there already, for {}: add --replace to replace it",
            before.server
        ))
        .into());
    }
    contexts.contexts.insert(name.clone(), context);
    Ok(())
}

/// Returns the engine's address.
fn choose(contexts: &mut Contexts, name: &ContextName) -> Result<String> {
    let server = contexts.get(name)?.server.clone();
    contexts.current = Some(name.clone());
    Ok(server)
}

fn delete(contexts: &mut Contexts, name: &ContextName) -> Result<()> {
    contexts.get(name)?;
    contexts.contexts.remove(name);
    contexts.current.take_if(|current| current == name);
    Ok(())
}

fn list(file: &ContextFile, out: &Output) -> Result<Exit> {
    let Contexts { current, contexts } = file.read()?;
    let is_current = |name: &ContextName| current.as_ref() == Some(name);
    if out.json {
        let rows = contexts.iter().map(|(name, context)| {
            json!({
                "name": name,
                "current": is_current(name),
                "server": context.server,
                // Never the token itself.
                "hasToken": context.token.is_some(),
                "tokenFile": context.token_file,
                "ca": context.ca,
                "clientCert": context.client_cert,
                "clientKey": context.client_key,
                "email": context.email,
            })
        });
        out.json(&rows.collect::<Vec<_>>())?;
        return Ok(Exit::Success);
    }
    if contexts.is_empty() {
        print_message("there are no contexts; add one: hotswap context add NAME --server URL");
    }
    let rows = contexts.iter().map(|(name, context)| {
        let token = match (&context.token, &context.token_file) {
            (Some(_), _) => "saved".to_owned(),
            (None, Some(file)) => file.display().to_string(),
            (None, None) => "-".to_owned(),
        };
        [
            if is_current(name) { "*" } else { "" }.to_owned(),
            name.to_string(),
            context.server.clone(),
            token,
            context.email.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    out.table(HEAD, &rows.collect::<Vec<_>>())?;
    Ok(Exit::Success)
}

/// Prints what happened to a context.
fn report(
    out: &Output,
    name: &ContextName,
    state: &str,
    message: &str,
    next: Option<&str>,
) -> Result<Exit> {
    if out.json {
        let mut report = ExitReport::new(Exit::Success).id(name).state(state);
        if let Some(next) = next {
            report = report.next(next);
        }
        out.json(&report.message(message).to_json())?;
    } else {
        let next = next.map(|next| format!("; use it with: {next}"));
        print_message(&format!("{message}{}", next.unwrap_or_default()));
    }
    Ok(Exit::Success)
}
