//! `deploy`, `rollback`, `watch`: begin a deployment, and stay with it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_core::{DeploymentId, ModuleName};
use semver::Version;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{Deploy, Until, Watch};
use crate::client::{Accepted, ModuleRows, NewDeployment};
use crate::exit::{Exit, Usage};
use crate::output::say;
use crate::setting::Setting;
use crate::watch::{self, Show};

/// Begins a deployment, and stays with it as far as was asked.
pub async fn deploy(args: Deploy, context: &Context) -> Result<Exit> {
    let config = configuration(args.config_file.as_deref(), &args.settings)?;
    let version = match args.target.version {
        Some(version) => version,
        None => newest(&args.target.module, context).await?,
    };
    let new = NewDeployment {
        module_name: args.target.module,
        version,
        target_environment: args.environment,
        requester_email: context.email.clone(),
        description: args.description,
        metadata: args.metadata.into_iter().collect(),
        require_approval: args.require_approval,
        strategy: args.strategy,
        config,
    };
    let what = format!(
        "{} {} → {}",
        new.module_name, new.version, new.target_environment
    );
    let created = context.client.deploy(&new).await?;
    stay(&created, &what, args.until, context).await
}

/// Begins a deployment of the version before, and stays with it as far as was asked.
pub async fn rollback(id: DeploymentId, until: Until, context: &Context) -> Result<Exit> {
    let body = json!({ "requesterEmail": context.email });
    let created = context.client.tell(id, "rollback", &body).await?;
    stay(&created, &format!("rollback of {id}"), until, context).await
}

/// Follows a deployment.
pub async fn watch(args: &Watch, context: &Context) -> Result<Exit> {
    watch::watch(
        &context.client,
        args.id,
        Show::Everything,
        args.patience,
        context.out,
    )
    .await
}

/// Tells of the deployment that was begun, and stays with it as far as was asked.
async fn stay(created: &Value, what: &str, until: Until, context: &Context) -> Result<Exit> {
    let id = serde_json::from_value::<Accepted>(created.clone())?.execution_id;
    let show = match (until.watch, until.wait || until.patience.timeout.is_some()) {
        (true, _) => Show::Everything,
        (false, true) => Show::Outcome,
        (false, false) if context.out.json => {
            context.out.value(created)?;
            return Ok(Exit::Success);
        }
        (false, false) => {
            context.out.line(&id.to_string())?;
            say(&format!(
                "{what} has begun; follow it with: hotswap watch {id}"
            ));
            return Ok(Exit::Success);
        }
    };
    if show == Show::Outcome {
        say(&format!("{what} has begun: {id}"));
    }
    watch::watch(&context.client, id, show, until.patience, context.out).await
}

/// The file's settings with those of the command line on top; none where there are none.
fn configuration(file: Option<&Path>, settings: &[Setting]) -> Result<Option<Value>> {
    let mut config = match file {
        None if settings.is_empty() => return Ok(None),
        None => Map::new(),
        Some(file) => {
            let name = file.display();
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            let object = serde_json::from_str(&text);
            object.map_err(|error| Usage(format!("{name} is no JSON object: {error}")))?
        }
    };
    for setting in settings {
        setting.set_in(&mut config);
    }
    Ok(Some(Value::Object(config)))
}

async fn newest(module: &ModuleName, context: &Context) -> Result<Version> {
    let rows: ModuleRows = serde_json::from_value(context.client.module(module).await?)?;
    let versions = rows.versions.into_iter().map(|row| row.version);
    let newest = versions.filter(|version| version.pre.is_empty()).max();
    newest.with_context(|| {
        format!("module {module} has no version that is no pre-release; name one as {module}@1.0.0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_on_top_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"soak": "15m", "by": "nodes"}"#).unwrap();
        let settings = ["soak=10s".parse().unwrap()];
        assert_eq!(
            configuration(Some(&file), &settings).unwrap(),
            Some(json!({"soak": "10s", "by": "nodes"}))
        );
        assert_eq!(configuration(None, &[]).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_no_object_is_a_usage_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, "[1]").unwrap();
        let error = configuration(Some(&file), &[]).unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().contains("config.json"),
            "{error}"
        );
    }
}
