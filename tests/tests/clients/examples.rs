//! The examples, run as their READMEs say. `examples/csharp-websocket-client` cannot run without
//! .NET: instead, the names in its source are compared with the guide.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{ChildProcess, Installation, LoadGenerator, ProcessExit, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::notifications;

const TYPESCRIPT: &str = "examples/typescript-websocket-client";
const PYTHON: &str = "examples/python-websocket-client";

/// Flags of the TypeScript example: each transport and each protocol.
const FLAGS: [&[&str]; 4] = [
    &["--protocol", "messagepack"],
    &["--stateful"],
    &["--transport", "sse"],
    &["--transport", "longpolling", "--protocol", "messagepack"],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_miss_no_event_while_the_engine_is_killed_and_restarted() -> Result<()> {
    build_typescript_client().await?;
    let mut installation = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50, 100], "soak": "2s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let mut clients = vec![ExampleClient::start(
        "python",
        python(&installation, &["watch.py", &id])?,
    )];
    for flags in FLAGS {
        let arguments = [&["dist/watch.js", &id], flags].concat();
        let command = typescript(&installation, &arguments)?;
        clients.push(ExampleClient::start(&flags.join(" "), command));
    }
    let mut clients = clients.into_iter().collect::<Result<Vec<_>>>()?;
    let mut all_deployments =
        ChildProcess::start(typescript(&installation, &["dist/watch.js", "--all"])?)?;
    all_deployments.read_until_field("argument").await?;
    for client in &mut clients {
        client.read_until("Subscribed").await?;
    }

    installation.approve(&id).await?;
    for client in &mut clients {
        client.read_until("DeploymentProgress").await?;
    }
    installation.kill_engine().await?;
    installation.restart_engine().await?;
    // Usually before any client has reconnected, so that it misses these events.
    installation.pause_and_resume(&id).await?;
    let exits = try_join_all(clients.into_iter().map(ExampleClient::wait_for_exit)).await?;
    let expected = notifications::expected_notifications(&installation, &id).await?;
    for (name, code, notifications) in exits {
        let check = || {
            ensure!(code == Some(0), "exited with {code:?}");
            let missed =
                notifications::after_offset(&expected, &notifications[0]["argument"]["offset"])?;
            notifications::ensure_complete(&notifications::parse_events(&notifications)?, missed)
        };
        check().with_context(|| format!("{name}: {notifications:#?}"))?;
    }
    let is_last = |object: &Value| object["event"] == "DeploymentCompleted";
    while !is_last(&all_deployments.read_json().await?) {}

    check_exit_code_of_a_rejected_deployment(&installation).await?;
    check_metrics(&installation).await?;
    check_api_usage(&installation).await?;
    check_sources(&mut installation).await
}

/// A deployment that was not approved has failed: exit code 3.
async fn check_exit_code_of_a_rejected_deployment(installation: &Installation) -> Result<()> {
    let id = installation.propose("2.0.0", "direct", json!({})).await?;
    let clients = [
        ExampleClient::start("python", python(installation, &["watch.py", &id])?)?,
        ExampleClient::start(
            "typescript",
            typescript(installation, &["dist/watch.js", &id])?,
        )?,
    ];
    let path = format!("/api/v1/deployments/{id}/approval");
    installation
        .post(&path, json!({ "approved": false }))
        .await?;
    for (name, code, notifications) in
        try_join_all(clients.map(ExampleClient::wait_for_exit)).await?
    {
        ensure!(
            code == Some(3),
            "{name} exited with {code:?}: {notifications:?}"
        );
    }
    Ok(())
}

async fn check_metrics(installation: &Installation) -> Result<()> {
    let arguments = ["dist/watch.js", "--metrics", installation.environment];
    let mut client = ChildProcess::start(typescript(installation, &arguments)?)?;
    let subscribed = client.read_json().await?;
    ensure!(subscribed == json!({ "event": "Subscribed", "argument": null }));
    let load = LoadGenerator::start(installation.data_urls().await?, 2);
    let measured = client.read_json().await?;
    let report = load.stop().await;
    ensure!(report.failed_requests() == 0, "{report:?}");
    ensure!(measured["event"] == "MetricsUpdated", "{measured}");
    let measured = &measured["argument"];
    let versions = measured["versions"].as_array().context("no versions")?;
    let answering = versions
        .iter()
        .filter(|it| it["requestsPerSecond"].as_f64() > Some(0.0));
    let answering: Vec<_> = answering.collect();
    ensure!(
        answering.len() == 1,
        "not exactly one version answered: {measured}"
    );
    let metric = |name: &str| answering[0][name].as_f64().unwrap_or(0.0);
    ensure!(
        metric("cpu") > 0.0 && metric("cpu") < measured["cpu"].as_f64().unwrap_or(0.0),
        "the version's CPU is not between 0 and the node's: {measured}"
    );
    ensure!(
        metric("nodes") == 2.0 && metric("errorRate") == 0.0,
        "{measured}"
    );
    let latencies = ["latencyP50Ms", "latencyP95Ms", "latencyP99Ms"].map(metric);
    ensure!(latencies[0] > 0.0 && latencies.is_sorted(), "{measured}");
    ensure!(metric("memoryBytes") > 0.0, "{measured}");
    Ok(())
}

/// A node that joins changes what the built-in registry shows.
async fn check_sources(installation: &mut Installation) -> Result<()> {
    let clients = [
        python(installation, &["watch.py", "--sources"])?,
        typescript(installation, &["dist/watch.js", "--sources"])?,
    ];
    let mut clients: Vec<_> = clients
        .into_iter()
        .map(ChildProcess::start)
        .collect::<Result<_>>()?;
    for client in &mut clients {
        let subscribed = client.read_json().await?;
        let source = &subscribed["argument"]["sources"][0];
        ensure!(
            subscribed["event"] == "Subscribed" && source["name"] == "built-in",
            "{subscribed}"
        );
    }
    installation.start_node("joins")?;
    for client in &mut clients {
        loop {
            let changed = client.read_json().await?;
            ensure!(changed["event"] == "SourceChanged", "{changed}");
            if changed["argument"]["instances"] == 3 {
                break;
            }
        }
    }
    Ok(())
}

/// Runs the example of the REST API with a module of its own.
async fn check_api_usage(installation: &Installation) -> Result<()> {
    let file = installation.folder().join("module.wasm");
    std::fs::write(&file, hotswap_guests::HELLO_V1)?;
    let mut command = python(installation, &["../api-usage/api_usage.py", "0.1.0"])?;
    command.args([
        installation.environment,
        "--module",
        "walk",
        "--module-file",
    ]);
    let exit = ChildProcess::start({
        command.arg(&file);
        command
    })?
    .wait_for_exit()
    .await?;
    let last = exit.stdout.last().map(String::as_str);
    ensure!(
        exit.code == Some(0) && last == Some("succeeded"),
        "{exit:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_examples_and_the_guide_name_the_same_methods_and_events() -> Result<()> {
    let mut command = tools::python(&tools::repository_root().join(PYTHON))?;
    command.arg("../check_names.py");
    let ProcessExit { code, stderr, .. } = ChildProcess::start(command)?.wait_for_exit().await?;
    ensure!(code == Some(0), "{stderr}");
    Ok(())
}

/// The compiler runs in its strictest mode: the example must match the client's types.
async fn build_typescript_client() -> Result<()> {
    let mut command = tools::npm(&tools::repository_root().join(TYPESCRIPT))?;
    command.args(["run", "build"]);
    let exit = ChildProcess::start(command)?.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(())
}

fn typescript(installation: &Installation, arguments: &[&str]) -> Result<Command> {
    let command = tools::nodejs(&tools::repository_root().join(TYPESCRIPT))?;
    Ok(with_connection(command, installation, arguments))
}

fn python(installation: &Installation, arguments: &[&str]) -> Result<Command> {
    let command = tools::python(&tools::repository_root().join(PYTHON))?;
    Ok(with_connection(command, installation, arguments))
}

fn with_connection(
    mut command: Command,
    installation: &Installation,
    arguments: &[&str],
) -> Command {
    command.args(arguments);
    command.env("HOTSWAP_URL", &installation.url);
    command.env("HOTSWAP_TOKEN", &installation.token);
    command
}

/// An example that watches a deployment, and the notifications that it has printed.
struct ExampleClient {
    name: String,
    process: ChildProcess,
    notifications: Vec<Value>,
}

impl ExampleClient {
    fn start(name: &str, command: Command) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            process: ChildProcess::start(command)?,
            notifications: Vec::new(),
        })
    }

    async fn read_until(&mut self, event: &str) -> Result<()> {
        while self
            .notifications
            .last()
            .is_none_or(|last| last["event"] != event)
        {
            let object = self.process.read_json().await;
            self.notifications
                .push(object.with_context(|| format!("{}: no {event}", self.name))?);
        }
        Ok(())
    }

    async fn wait_for_exit(mut self) -> Result<(String, Option<i32>, Vec<Value>)> {
        let exit = self.process.wait_for_exit().await?;
        for line in exit.stdout {
            self.notifications.push(serde_json::from_str(&line)?);
        }
        Ok((self.name, exit.code, self.notifications))
    }
}
