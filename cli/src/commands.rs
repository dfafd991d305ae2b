//! Runs each command: the only step with I/O.

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory as _;
use tokio::sync::Mutex;

use crate::args::{Cli, Command, ModuleCommand, NodeCommand};
use crate::client::Client;
use crate::environment_variables::EnvironmentVariables;
use crate::exit::Exit;
use crate::output::Output;
use crate::report::Stopped;
use crate::settings::Settings;
use crate::shutdown::ShutdownSignal;
use crate::{dev, engine, reference, run_node};

mod apply;
mod context;
mod debug;
mod deployment;
mod discovery;
mod environment;
mod module;
mod node;
mod store;
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
    /// The signals that stop the command.
    pub signal: Mutex<ShutdownSignal>,
}

impl Context {
    /// A context for the engine that the settings name. Catches SIGINT and SIGTERM. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// Where the system cannot provide an HTTP client, or lets no signal be caught.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            client: Client::new(settings)?,
            out: Output::new(settings.json, settings.no_color, settings.ci),
            email: settings.email.clone(),
            signal: Mutex::new(ShutdownSignal::new()?),
        })
    }

    /// The result of `work`, unless a signal stops it.
    ///
    /// # Errors
    /// Those of `work`, and [`Stopped`] after a signal.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut signal = self.signal.lock().await;
        tokio::select! {
            biased;
            result = work => result,
            signal = signal.next() => Err(Stopped(signal).into()),
        }
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
            let context = context()?;
            let list = node::list(environment.as_ref(), &context);
            context.unless_stopped(list).await
        }
        Command::Node(NodeCommand::Get { id }) => {
            let context = context()?;
            context.unless_stopped(node::get(&id, &context)).await
        }
        Command::Node(NodeCommand::Cordon { id, reason }) => {
            let context = context()?;
            let cordon = node::cordon(&id, reason.as_deref(), &context);
            context.unless_stopped(cordon).await
        }
        Command::Node(NodeCommand::Uncordon { id, reason }) => {
            let context = context()?;
            let uncordon = node::uncordon(&id, reason.as_deref(), &context);
            context.unless_stopped(uncordon).await
        }
        Command::Node(NodeCommand::Drain(args)) => {
            let context = context()?;
            context.unless_stopped(node::drain(&args, &context)).await
        }
        Command::Node(NodeCommand::Delete { id, reason }) => {
            let context = context()?;
            let delete = node::delete(&id, reason.as_deref(), &context);
            context.unless_stopped(delete).await
        }
        // Its waits end at a signal in their own way.
        Command::Deployment(command) => deployment::run(command, &context()?).await,
        Command::Module(ModuleCommand::Undo(args)) => deployment::undo(args, &context()?).await,
        Command::Module(command) => {
            let context = context()?;
            let run = module::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Strategy(command) => {
            let context = context()?;
            let run = strategy::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Environment(command) => {
            let context = context()?;
            let run = environment::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Apply(args) => {
            let context = context()?;
            context.unless_stopped(apply::run(&args, &context)).await
        }
        Command::Discovery(command) => {
            let context = context()?;
            let run = discovery::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Store(command) => {
            let context = context()?;
            let run = store::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Debug(command) => {
            let context = context()?;
            let run = debug::run(command, &context);
            context.unless_stopped(run).await
        }
        Command::Context(command) => context::run(command, &global, variables, &current_folder()?),
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
