//! Commands that start a deployment, and may stay until it ends.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_core::DeploymentId;
use serde_json::{Map, Value, json};

use super::{Context, plan};
use crate::args::{Create, Retry, Rollback, Setting, Stay, Undo};
use crate::client::{Accepted, NewDeployment};
use crate::exit::{Exit, UsageError};
use crate::exit_report::ExitReport;
use crate::format;
use crate::output::print_message;
use crate::watch::{Show, Wait};

/// The largest file of settings, in bytes. The engine accepts no larger request, and the file
/// may be a device without an end.
const MAX_CONFIG: u64 = 1 << 20;

/// Starts a deployment.
pub(super) async fn create(args: Create, context: &Context) -> Result<Exit> {
    let config = strategy_config(args.config_file.as_deref(), &args.settings)?;
    let new = NewDeployment {
        module_name: args.module.module,
        version: args.module.version,
        target_environment: args.environment,
        selector: args.selector,
        requester_email: context.email.clone(),
        description: args.description,
        metadata: args.metadata.into_iter().collect(),
        require_approval: args.require_approval,
        supersede: args.supersede,
        strategy: args.strategy,
        config,
    };
    if args.plan {
        return context.unless_stopped(plan::show(&new, context)).await;
    }
    let module = &new.module_name;
    let environment = match &new.selector {
        Some(selector) => format!("{} ({selector})", new.target_environment),
        None => new.target_environment.to_string(),
    };
    let title = match &new.version {
        Some(version) => format!("{module} {version} → {environment}"),
        None => format!("newest {module} → {environment}"),
    };
    let create = async { Ok(context.client.create_deployment(&new).await?) };
    let response = context.unless_stopped(create).await?;
    stay(&response, &title, args.stay, context).await
}

/// Starts a deployment of an earlier version than that of a deployment.
pub(super) async fn rollback(args: Rollback, context: &Context) -> Result<Exit> {
    let Rollback { id, to, stay: args } = args;
    let mut body = json!({ "requesterEmail": context.email });
    if let Some(to) = to {
        body["to"] = to.to_string().into();
    }
    let roll_back = async { Ok(context.client.roll_back(id, &body).await?) };
    let response = context.unless_stopped(roll_back).await?;
    let title = describe(&format!("rollback of {id}"), &response);
    stay(&response, &title, args, context).await
}

/// Tries a deployment again.
pub(super) async fn retry(args: Retry, context: &Context) -> Result<Exit> {
    let Retry { id, stay: args } = args;
    let body = json!({ "requesterEmail": context.email });
    let retry = async { Ok(context.client.retry(id, &body).await?) };
    let response = context.unless_stopped(retry).await?;
    let title = describe(&format!("retry of {id}"), &response);
    stay(&response, &title, args, context).await
}

/// Goes back to an earlier success of a module in an environment.
pub async fn undo(args: Undo, context: &Context) -> Result<Exit> {
    let Undo {
        module,
        environment,
        to,
        stay: args,
    } = args;
    let mut body = json!({ "requesterEmail": context.email });
    if let Some(to) = to {
        body["to"] = to.into();
    }
    let undo = async { Ok(context.client.undo(&module, &environment, &body).await?) };
    let response = context.unless_stopped(undo).await?;
    let title = describe(&format!("undo of {module} in {environment}"), &response);
    stay(&response, &title, args, context).await
}

/// What a deployment that follows from an earlier one deploys, and why, as the engine says.
fn describe(what: &str, response: &Value) -> String {
    let text = |name: &str| response.get(name).and_then(Value::as_str);
    let mut title = what.to_owned();
    if let Some(version) = text("version") {
        title.push_str(&format!(" to {version}"));
        title.extend(text("reason").map(|reason| format!(" ({reason})")));
    }
    format::sanitize(&title)
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
        announce(response, title, id, context)?;
        return Ok(Exit::Success);
    };
    let wait = Wait {
        show,
        patience: args.patience,
        is_known: true,
    };
    super::wait_for_end(id, wait, context).await
}

fn announce(response: &Value, title: &str, id: DeploymentId, context: &Context) -> Result<()> {
    let message = format!("{title} started; follow it with: hotswap watch {id}");
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(id);
        let report = report.response(response.clone()).message(message);
        let report = report.next(format!("hotswap watch {id}"));
        return context.out.json(&report.to_json());
    }
    context.out.line(&id.to_string())?;
    print_message(&message);
    Ok(())
}

/// The settings of the file, overridden by those of the command line. `None` without any.
fn strategy_config(file: Option<&Path>, settings: &[Setting]) -> Result<Option<Value>> {
    let mut config = match file {
        None if settings.is_empty() => return Ok(None),
        None => Map::new(),
        Some(file) => {
            let name = file.display();
            let text = read_config(file).with_context(|| format!("cannot read {name}"))?;
            let is_small = u64::try_from(text.len()).is_ok_and(|length| length <= MAX_CONFIG);
            anyhow::ensure!(is_small, "{name} is larger than {MAX_CONFIG} bytes");
            let object = serde_json::from_str(&text);
            object.map_err(|error| UsageError(format!("{name} is not a JSON object: {error}")))?
        }
    };
    for setting in settings {
        setting.apply_to(&mut config);
    }
    Ok(Some(Value::Object(config)))
}

/// The text of a file, as far as [`MAX_CONFIG`] and one byte more.
fn read_config(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(file)?;
    file.take(MAX_CONFIG + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_says_which_version_it_deploys_and_why() {
        let response = json!({
            "version": "1.4.0",
            "reason": "the last success in production before 2.0.0",
        });
        assert_eq!(
            describe("rollback of 7", &response),
            "rollback of 7 to 1.4.0 (the last success in production before 2.0.0)"
        );
        assert_eq!(describe("rollback of 7", &json!({})), "rollback of 7");
    }

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
