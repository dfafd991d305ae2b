//! Commands that start a deployment, and may stay until it ends.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_core::DeploymentId;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{Create, Setting, Stay};
use crate::client::{Accepted, NewDeployment};
use crate::exit::{Exit, UsageError};
use crate::output::print_message;
use crate::watch::{self, Show};

/// Starts a deployment.
pub(super) async fn create(args: Create, context: &Context) -> Result<Exit> {
    let config = strategy_config(args.config_file.as_deref(), &args.settings)?;
    let new = NewDeployment {
        module_name: args.module.module,
        version: args.module.version,
        target_environment: args.environment,
        requester_email: context.email.clone(),
        description: args.description,
        metadata: args.metadata.into_iter().collect(),
        require_approval: args.require_approval,
        strategy: args.strategy,
        config,
    };
    let (module, environment) = (&new.module_name, &new.target_environment);
    let title = match &new.version {
        Some(version) => format!("{module} {version} → {environment}"),
        None => format!("newest {module} → {environment}"),
    };
    let response = context.client.create_deployment(&new).await?;
    stay(&response, &title, args.stay, context).await
}

/// Starts a deployment of the version that ran before deployment `id`.
pub(super) async fn rollback(id: DeploymentId, args: Stay, context: &Context) -> Result<Exit> {
    let body = json!({ "requesterEmail": context.email });
    let response = context
        .client
        .post_to_deployment(id, "rollback", &body)
        .await?;
    stay(&response, &format!("rollback of {id}"), args, context).await
}

/// Announces the deployment that was started, and stays as long as the arguments say.
async fn stay(response: &Value, title: &str, args: Stay, context: &Context) -> Result<Exit> {
    let id = serde_json::from_value::<Accepted>(response.clone())?.execution_id;
    let wait = args.wait || args.patience.timeout.is_some();
    let show = if args.watch {
        Show::Everything
    } else if wait {
        print_message(&format!("{title} started: {id}"));
        Show::Outcome
    } else {
        if context.out.json {
            context.out.json(response)?;
        } else {
            context.out.line(&id.to_string())?;
            print_message(&format!(
                "{title} started; follow it with: hotswap watch {id}"
            ));
        }
        return Ok(Exit::Success);
    };
    watch::watch(&context.client, id, show, args.patience, context.out).await
}

/// The settings of the file, overridden by those of the command line. `None` without any.
fn strategy_config(file: Option<&Path>, settings: &[Setting]) -> Result<Option<Value>> {
    let mut config = match file {
        None if settings.is_empty() => return Ok(None),
        None => Map::new(),
        Some(file) => {
            let name = file.display();
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            let object = serde_json::from_str(&text);
            object.map_err(|error| UsageError(format!("{name} is not a JSON object: {error}")))?
        }
    };
    for setting in settings {
        setting.apply_to(&mut config);
    }
    Ok(Some(Value::Object(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_override_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"soak": "15m", "by": "nodes"}"#).unwrap();
        let settings = ["soak=10s".parse().unwrap()];
        assert_eq!(
            strategy_config(Some(&file), &settings).unwrap(),
            Some(json!({"soak": "10s", "by": "nodes"}))
        );
        assert_eq!(strategy_config(None, &[]).unwrap(), None);
    }

    #[test]
    fn a_file_without_an_object_is_a_usage_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, "[1]").unwrap();
        let error = strategy_config(Some(&file), &[]).unwrap_err();
        assert!(
            error.is::<UsageError>() && error.to_string().contains("config.json"),
            "{error}"
        );
    }
}
