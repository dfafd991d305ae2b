//! The examples, run as their READMEs say. `examples/csharp-websocket-client` has no runtime
//! here: what it names is compared with the guide.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{Ended, Installation, Load, Program, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::told;

const TYPESCRIPT: &str = "examples/typescript-websocket-client";
const PYTHON: &str = "examples/python-websocket-client";

/// What an example is told over each transport and in each protocol.
const WATCHES: [&[&str]; 4] = [
    &["--protocol", "messagepack"],
    &["--stateful"],
    &["--transport", "sse"],
    &["--transport", "longpolling", "--protocol", "messagepack"],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_miss_nothing_though_the_engine_is_killed_in_the_middle() -> Result<()> {
    build().await?;
    let mut here = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50, 100], "soak": "2s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let mut watching = vec![Watching::start(
        "python",
        python(&here, &["watch.py", &id])?,
    )];
    for flags in WATCHES {
        let arguments = [&["dist/watch.js", &id], flags].concat();
        let command = typescript(&here, &arguments)?;
        watching.push(Watching::start(&flags.join(" "), command));
    }
    let mut watching = watching.into_iter().collect::<Result<Vec<_>>>()?;
    let mut all = Program::start(typescript(&here, &["dist/watch.js", "--all"])?)?;
    all.told("argument").await?;
    for one in &mut watching {
        one.until("Subscribed").await?;
    }

    here.approve(&id).await?;
    for one in &mut watching {
        one.until("DeploymentProgress").await?;
    }
    here.kill_engine().await?;
    here.restart_engine().await?;
    // Before anybody is back, as a rule.
    here.pause(&id).await?;
    let ended = try_join_all(watching.into_iter().map(Watching::ended)).await?;
    let expected = told::all(&here, &id).await?;
    for (name, code, told) in ended {
        let check = || {
            ensure!(code == Some(0), "it ends with {code:?}");
            let rest = told::after(&expected, &told[0]["argument"]["offset"])?;
            told::ensure_whole(&told::events(&told)?, rest)
        };
        check().with_context(|| format!("{name}: {told:#?}"))?;
    }
    let last = |object: &Value| object["event"] == "DeploymentCompleted";
    while !last(&all.object().await?) {}

    ends_badly(&here).await?;
    metrics(&here).await?;
    walk(&here).await
}

/// A deployment that is turned down has failed, and the exit code says so.
async fn ends_badly(here: &Installation) -> Result<()> {
    let id = here.propose("2.0.0", "direct", json!({})).await?;
    let watching = [
        Watching::start("python", python(here, &["watch.py", &id])?)?,
        Watching::start("typescript", typescript(here, &["dist/watch.js", &id])?)?,
    ];
    let path = format!("/api/v1/deployments/{id}/approval");
    here.post(&path, json!({ "approved": false })).await?;
    for (name, code, told) in try_join_all(watching.map(Watching::ended)).await? {
        ensure!(code == Some(3), "{name} ends with {code:?}: {told:?}");
    }
    Ok(())
}

async fn metrics(here: &Installation) -> Result<()> {
    let arguments = ["dist/watch.js", "--metrics", here.environment];
    let mut watching = Program::start(typescript(here, &arguments)?)?;
    let subscribed = watching.object().await?;
    ensure!(subscribed == json!({ "event": "Subscribed", "argument": null }));
    let load = Load::start(here.data_urls().await?, 2);
    let measured = watching.object().await?;
    let score = load.stop().await;
    ensure!(score.failed() == 0, "{score:?}");
    ensure!(measured["event"] == "MetricsUpdated", "{measured}");
    let measured = &measured["argument"];
    let versions = measured["versions"].as_array().context("no versions")?;
    let answering = versions
        .iter()
        .filter(|it| it["requestsPerSecond"].as_f64() > Some(0.0));
    let answering: Vec<_> = answering.collect();
    ensure!(answering.len() == 1, "one version answered: {measured}");
    let of = |name: &str| answering[0][name].as_f64().unwrap_or(0.0);
    ensure!(
        of("cpu") > 0.0 && of("cpu") < measured["cpu"].as_f64().unwrap_or(0.0),
        "a module computes, and what it runs in takes more: {measured}"
    );
    ensure!(of("nodes") == 2.0 && of("errorRate") == 0.0, "{measured}");
    let latencies = ["latencyP50Ms", "latencyP95Ms", "latencyP99Ms"].map(of);
    ensure!(latencies[0] > 0.0 && latencies.is_sorted(), "{measured}");
    ensure!(of("memoryBytes") > 0.0, "{measured}");
    Ok(())
}

/// The walk through the REST API, with a module of its own.
async fn walk(here: &Installation) -> Result<()> {
    let file = here.folder().join("module.wasm");
    std::fs::write(&file, hotswap_guests::HELLO_V1)?;
    let mut command = python(here, &["../api-usage/api_usage.py", "0.1.0"])?;
    command.args([here.environment, "--module", "walk", "--module-file"]);
    let ended = Program::start({
        command.arg(&file);
        command
    })?
    .ended()
    .await?;
    let last = ended.output.last().map(String::as_str);
    ensure!(
        ended.code == Some(0) && last == Some("succeeded"),
        "{ended:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_examples_name_what_the_hubs_have() -> Result<()> {
    let mut command = tools::python(&tools::root().join(PYTHON))?;
    command.arg("../check_names.py");
    let Ended { code, errors, .. } = Program::start(command)?.ended().await?;
    ensure!(code == Some(0), "{errors}");
    Ok(())
}

/// The compiler is as strict as it can be: what it passes fits the client's types.
async fn build() -> Result<()> {
    let mut command = tools::npm(&tools::root().join(TYPESCRIPT))?;
    command.args(["run", "build"]);
    let built = Program::start(command)?.ended().await?;
    ensure!(built.code == Some(0), "{built:?}");
    Ok(())
}

fn typescript(here: &Installation, arguments: &[&str]) -> Result<Command> {
    let command = tools::node(&tools::root().join(TYPESCRIPT))?;
    Ok(example(command, here, arguments))
}

fn python(here: &Installation, arguments: &[&str]) -> Result<Command> {
    let command = tools::python(&tools::root().join(PYTHON))?;
    Ok(example(command, here, arguments))
}

fn example(mut command: Command, here: &Installation, arguments: &[&str]) -> Command {
    command.args(arguments);
    command.env("HOTSWAP_URL", &here.url);
    command.env("HOTSWAP_TOKEN", &here.token);
    command
}

/// An example that watches a deployment, and what it has told so far.
struct Watching {
    name: String,
    program: Program,
    told: Vec<Value>,
}

impl Watching {
    fn start(name: &str, command: Command) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            program: Program::start(command)?,
            told: Vec::new(),
        })
    }

    async fn until(&mut self, event: &str) -> Result<()> {
        while self.told.last().is_none_or(|last| last["event"] != event) {
            let object = self.program.object().await;
            self.told
                .push(object.with_context(|| format!("{}: no {event}", self.name))?);
        }
        Ok(())
    }

    async fn ended(mut self) -> Result<(String, Option<i32>, Vec<Value>)> {
        let ended = self.program.ended().await?;
        for line in ended.output {
            self.told.push(serde_json::from_str(&line)?);
        }
        Ok((self.name, ended.code, self.told))
    }
}
