//! Runs each command: the only step with I/O.

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::{Cli, Command, NodeCommand};
use crate::client::Client;
use crate::environment_variables::EnvironmentVariables;
use crate::exit::Exit;
use crate::output::Output;
use crate::settings::Settings;
use crate::{dev, engine, reference, run_node};

mod deployment;
mod environment;
mod module;
mod node;
mod strategy;
mod token;

/// What the commands that call an engine need.
pub struct Context {
    /// The engine.
    pub client: Client,
    /// Standard output.
    pub out: Output,
    /// The user's e-mail address.
    pub email: String,
}

impl Context {
    /// A context for the engine that the settings name.
    ///
    /// # Errors
    /// Where the system cannot provide an HTTP client.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            client: Client::new(settings)?,
            out: Output::new(settings),
            email: settings.email.clone(),
        })
    }
}

/// Runs the command.
///
/// # Errors
/// Where the command fails. The error says what to do next.
pub async fn run(cli: Cli, variables: &EnvironmentVariables) -> Result<Exit> {
    let Cli { global, command } = cli;
    let current_folder = std::env::current_dir;
    let context = || Context::new(&Settings::resolve(&global, variables, &current_folder()?)?);
    let command = match command {
        Command::ShortForm(short) => short.expand(),
        command => command,
    };
    match command {
        Command::Dev(args) => {
            dev::run(args, global.json, global.no_color || variables.no_color).await
        }
        Command::Serve(args) => engine::run(&args, &global, variables).await,
        Command::Node(NodeCommand::Run(args)) => run_node::run(*args, &global, variables).await,
        Command::Node(NodeCommand::List { environment }) => {
            node::list(environment.as_ref(), &context()?).await
        }
        Command::Node(NodeCommand::Get { id }) => node::get(&id, &context()?).await,
        Command::Deployment(command) => deployment::run(command, &context()?).await,
        Command::Module(command) => module::run(command, &context()?).await,
        Command::Strategy(command) => strategy::run(command, &context()?).await,
        Command::Environment(command) => environment::run(command, &context()?).await,
        Command::Token(args) => token::run(&args, &global, variables, &current_folder()?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hotswap", &mut script);
            print(&String::from_utf8(script)?)
        }
        Command::Openapi => print(&hotswap_api::openapi()),
        Command::NodeOpenapi => print(&hotswap_node::openapi()),
        Command::Reference { document } => print(&reference::generate(document)),
        Command::ShortForm(_) => unreachable!("short forms are expanded above"),
    }
}

/// Prints a document, with a line end.
fn print(text: &str) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(Exit::Success)
}
