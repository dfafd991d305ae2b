//! What each command does once it is known what is asked: the only step with I/O.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Output;
use crate::settings::{Environ, Settings};
use crate::{dev, node, serve};

mod decide;
mod deploy;
mod list;
mod module;
mod nodes;
mod strategy;
mod token;

/// What the commands that speak to an engine need.
pub struct Context {
    /// The engine.
    pub client: Client,
    /// Where answers go.
    pub out: Output,
    /// Where to reach whoever asks.
    pub email: String,
}

impl Context {
    /// Speaks to the engine that the settings name.
    ///
    /// # Errors
    /// Where the machine cannot make HTTP clients.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            client: Client::new(settings)?,
            out: Output::new(settings),
            email: settings.email.clone(),
        })
    }
}

/// Does what the command line asks.
///
/// # Errors
/// Where that was not possible; the error says what to do about it.
pub async fn run(cli: Cli, environ: &Environ) -> Result<Exit> {
    let Cli { global, command } = cli;
    let context = || -> Result<Context> {
        Context::new(&Settings::resolve(
            &global,
            environ,
            &std::env::current_dir()?,
        )?)
    };
    match command {
        Command::Dev(args) => dev::run(args, global.json, global.no_color || environ.plain).await,
        Command::Serve(args) => serve::run(&args, &global, environ).await,
        Command::Node(args) => node::run(*args, &global, environ).await,
        Command::Module(command) => module::run(command, &context()?).await,
        Command::Deploy(args) => deploy::deploy(*args, &context()?).await,
        Command::Rollback { id, until } => deploy::rollback(id, until, &context()?).await,
        Command::Get { id } => list::get(id, &context()?).await,
        Command::List(args) => list::list(args, &context()?).await,
        Command::Watch(args) => deploy::watch(&args, &context()?).await,
        Command::Pause { id } => decide::pause(id, &context()?).await,
        Command::Resume { id } => decide::resume(id, &context()?).await,
        Command::Abort { id, reason } => decide::abort(id, reason, &context()?).await,
        Command::Approve(args) => decide::approve(args, &context()?).await,
        Command::Reject(args) => decide::reject(args, &context()?).await,
        Command::Strategy(command) => strategy::run(command, &context()?).await,
        Command::Nodes { environment } => nodes::run(environment.as_ref(), &context()?).await,
        Command::Token(args) => token::run(&args, &global, environ, &std::env::current_dir()?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hotswap", &mut script);
            print(&String::from_utf8(script)?)
        }
        Command::Openapi => print(&hotswap_api::openapi()),
        Command::NodeOpenapi => print(&hotswap_node::openapi()),
    }
}

fn print(text: &str) -> Result<Exit> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(Exit::Success)
}
