//! Runs the commands of one guide.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::ChildProcess;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::checkout::Checkout;
use crate::class::Class;
use crate::guide::{Command, Guide};

/// How long a command may take, and a state may be waited for, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The address that the guides write. The tests use free ports instead.
const DOCUMENTED_ADDRESS: &str = "127.0.0.1:5000";

/// The sample version that is meant to be rolled back.
const FAULTY: &str = "hello@3.0.0";

/// What `cargo xtask dev` starts.
pub struct DevEngine {
    address: String,
    // Ends with this value, and its nodes with it.
    _program: ChildProcess,
}

impl DevEngine {
    /// Starts `hotswap dev` in the root of the checkout, and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub async fn start(checkout: &Checkout) -> Result<Self> {
        // Twice the usual traffic: the faulty version is found in half the time.
        let script = "exec hotswap dev --port 0 --rate 120 --json";
        let mut program = ChildProcess::start(checkout.shell(&checkout.root(), script)?)?;
        let ready = program.read_line().await?;
        let ready: Value = serde_json::from_str(&ready)?;
        let server = ready["server"].as_str().context("no server")?;
        let address = server.strip_prefix("http://").context("no address")?;
        Ok(Self {
            address: address.to_owned(),
            _program: program,
        })
    }

    /// Returns the nodes to the version that a fresh `hotswap dev` runs, once the deployments
    /// of the guide before have ended.
    ///
    /// # Errors
    /// Where a deployment does not end, or the reset fails.
    pub async fn reset(&self, checkout: &Checkout) -> Result<()> {
        let run = async |script: &str, codes: &[i32]| {
            let output = run_to_end(checkout.shell(&checkout.root(), script)?).await?;
            let code = output.status.code();
            ensure!(
                code.is_some_and(|code| codes.contains(&code)),
                "{script}: {output:#?}"
            );
            anyhow::Ok(output.stdout)
        };
        let rows: Vec<Value> = serde_json::from_slice(&run("hotswap list --json", &[0]).await?)?;
        for row in rows {
            let id = row["executionId"].as_str().context("no id")?;
            run(&format!("hotswap watch {id}"), &[0, 3]).await?;
        }
        for environment in ["development", "production"] {
            let deploy = "hotswap deploy hello@1.0.0 -s direct --wait -e";
            run(&format!("{deploy} {environment}"), &[0]).await?;
        }
        Ok(())
    }
}

/// One guide, from its first command to its last.
pub struct Session<'a> {
    checkout: &'a Checkout,
    folder: PathBuf,
    /// The engine that commands call.
    address: Option<String>,
    /// Whether clients find the engine by themselves, in `.hotswap/dev`.
    finds_engine: bool,
    /// The variables that are set so far, as a script.
    variables: String,
    servers: Vec<ChildProcess>,
}

impl<'a> Session<'a> {
    /// A guide that is read beside a running `hotswap dev`.
    ///
    /// # Errors
    /// Where its files cannot be prepared.
    pub fn beside(checkout: &'a Checkout, guide: &Guide, engine: &DevEngine) -> Result<Self> {
        let mut session = Self::alone(checkout, guide)?;
        session.address = Some(engine.address.clone());
        session.finds_engine = true;
        Ok(session)
    }

    /// A guide that starts an engine itself.
    ///
    /// # Errors
    /// Where its files cannot be prepared.
    pub fn alone(checkout: &'a Checkout, guide: &Guide) -> Result<Self> {
        Ok(Self {
            checkout,
            folder: checkout.folder_of(guide)?,
            address: None,
            finds_engine: false,
            variables: String::new(),
            servers: Vec::new(),
        })
    }

    /// Runs a command as its class says.
    ///
    /// # Errors
    /// Where the command does not do what the guide says.
    pub async fn run(&mut self, command: &Command) -> Result<()> {
        match Class::of(command)? {
            Class::Task | Class::NotRun => Ok(()),
            Class::Variable => {
                let (script, _) = self.script(&command.text).await?;
                self.variables = script + "\n";
                Ok(())
            }
            Class::Server => self.start_server(&command.text).await,
            Class::Client => self.run_client(command).await,
        }
    }

    async fn run_client(&self, command: &Command) -> Result<()> {
        let text = command.text.as_str();
        let (script, id) = self.script(text).await?;
        let output = self.client(&self.folder, &script).await?;
        let waits = text.contains(" --watch") || text.contains(" --wait");
        let follows = ["hotswap watch ", "deployment watch ", " --follow"];
        let is_watch = follows.iter().any(|word| text.contains(word));
        let expected = match id {
            Some(id) if is_watch => self.exit_code_of(&id).await?,
            _ if text.contains(FAULTY) && waits => 3,
            _ => 0,
        };
        ensure!(
            output.status.code() == Some(expected),
            "exit code {expected} expected: {output:#?}"
        );
        // A terminal shows the reason as a paragraph, a pipe gets it in one line.
        if let Some(reason) = command.output.as_deref().and_then(documented_reason) {
            let printed = String::from_utf8_lossy(&output.stdout);
            ensure!(
                without_numbers(&printed).contains(&without_numbers(&reason)),
                "the guide shows another reason, `{reason}`, than is printed: {printed}"
            );
        }
        Ok(())
    }

    async fn start_server(&mut self, text: &str) -> Result<()> {
        let (mut script, _) = self.script(text).await?;
        let is_engine = text.contains("hotswap serve");
        let (message, field) = if is_engine {
            ("engine ready", "addr")
        } else {
            script.push_str(" --data 127.0.0.1:0 --control 127.0.0.1:0 --log-format json");
            ("node started", "data_addr")
        };
        let mut shell = self.checkout.shell(&self.folder, &script)?;
        shell.env("HOTSWAP_LISTEN", "127.0.0.1:0");
        shell.env("HOTSWAP_LOG_FORMAT", "json");
        let mut server = ChildProcess::start(shell)?;
        let find = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then(|| line[field].as_str().map(str::to_owned))?
        };
        let address = server.find_in_stderr(find).await?;
        self.servers.push(server);
        if is_engine && !self.finds_engine {
            self.address = Some(address);
        }
        Ok(())
    }

    /// The script of a command: the variables before it, and the command with what a reader
    /// puts in: an execution id, and here another address and a shorter soak. Returns the id
    /// too.
    async fn script(&self, text: &str) -> Result<(String, Option<String>)> {
        let mut text = text.to_owned();
        if let Some(address) = &self.address {
            text = text.replace(DOCUMENTED_ADDRESS, address);
        }
        // The faulty version fails early. A deployment that waits for approval is steered by
        // further commands, and needs the time.
        if !text.contains(FAULTY) && !text.contains("--require-approval") {
            text = text.replace("soak=20s", "soak=1s");
            text = text.replace("watch=20s", "watch=1s");
        }
        let mut id = None;
        for placeholder in ["<execution id>", "<executionId>"] {
            if text.contains(placeholder) {
                let found = self.execution_id(required_status(&text)).await?;
                text = text.replace(placeholder, &found);
                id = Some(found);
            }
        }
        Ok((format!("{}{text}", self.variables), id))
    }

    /// The newest deployment, once there is one with this status.
    async fn execution_id(&self, status: Option<&str>) -> Result<String> {
        let option = status.map_or_else(String::new, |status| format!(" --status {status}"));
        let end = Instant::now() + TIMEOUT;
        loop {
            let rows = self
                .json(&format!("hotswap list -n 1{option} --json"))
                .await?;
            if let Some(id) = rows[0]["executionId"].as_str() {
                return Ok(id.to_owned());
            }
            ensure!(Instant::now() < end, "no deployment{option}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The exit code of watching a deployment that has ended.
    async fn exit_code_of(&self, id: &str) -> Result<i32> {
        let deployment = self.json(&format!("hotswap get {id} --json")).await?;
        match deployment["status"].as_str() {
            Some("succeeded") => Ok(0),
            Some("failed" | "rolledBack") => Ok(3),
            _ => anyhow::bail!("it has not ended: {deployment}"),
        }
    }

    async fn json(&self, script: &str) -> Result<Value> {
        let output = self.client(&self.checkout.root(), script).await?;
        ensure!(output.status.success(), "{script}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    async fn client(&self, folder: &Path, script: &str) -> Result<Output> {
        let mut shell = self.checkout.shell(folder, script)?;
        if let Some(address) = &self.address {
            let url = format!("http://{address}");
            if !self.finds_engine {
                shell.env("HOTSWAP_SERVER", &url);
            }
            shell.env("HOTSWAP_URL", url);
        }
        run_to_end(shell).await
    }
}

/// The status that a deployment must have for a command to make sense. A reader looks first.
fn required_status(text: &str) -> Option<&'static str> {
    let commands = [
        (" approve ", "awaitingApproval"),
        (" reject ", "awaitingApproval"),
        (" pause ", "running"),
        (" resume ", "paused"),
        (" abort ", "running"),
        (" rollback ", "succeeded"),
    ];
    let mut commands = commands.into_iter();
    commands.find_map(|(verb, status)| text.contains(verb).then_some(status))
}

/// The reason for a rollback in the output that a guide shows, in one line.
fn documented_reason(output: &str) -> Option<String> {
    let (_, reason) = output.split_once("✘ because ")?;
    let lines = reason.lines().take_while(|line| !line.is_empty());
    Some(lines.map(str::trim).collect::<Vec<_>>().join(" "))
}

/// The text with `#` for each number: every run measures others.
fn without_numbers(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_ascii_digit() {
            while characters
                .next_if(|next| next.is_ascii_digit() || *next == '.' || *next == ',')
                .is_some()
            {}
            result.push('#');
        } else {
            result.push(character);
        }
    }
    result
}

async fn run_to_end(mut shell: tokio::process::Command) -> Result<Output> {
    let output = timeout(TIMEOUT, shell.output()).await;
    Ok(output.with_context(|| format!("not ended after {}s", TIMEOUT.as_secs()))??)
}
