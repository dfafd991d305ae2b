//! `hotswap apply`.

mod policy_file;

use anyhow::Result;
use hotswap_core::{Environment, Policy, Selector};
use serde_json::{Map, Value, json};

use self::policy_file::PolicyFile;
use super::Context;
use crate::args::Apply;
use crate::client::EnvironmentSettings;
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::format::sanitize;

/// Sets the policies and selectors in a file. Changes nothing where one of them is not valid; a policy that
/// somebody else changes meanwhile is left as that person set it.
pub async fn run(args: &Apply, context: &Context) -> Result<Exit> {
    let file = PolicyFile::read(&args.file)?;
    let mut planned = Vec::new();
    for (environment, policy) in file.policies {
        let selector = file.selectors.get(&environment);
        planned.push(Change::plan(environment, (&policy, selector), context).await?);
    }
    let mut changed = Vec::new();
    for change in planned {
        // Sent even if nothing seems to differ: the policy that was read may be out of date.
        let is_changed = match args.dry_run {
            true => change.is_needed(),
            false => change.carry_out(args.reason.as_deref(), context).await?,
        };
        if !is_changed {
            show(context, &change.environment, "is so already", &[])?;
            continue;
        }
        let done = if args.dry_run {
            "would be set"
        } else {
            "is set"
        };
        show(context, &change.environment, done, &change.differences())?;
        changed.push(change.environment.to_string());
    }
    if context.out.json {
        let state = if args.dry_run { "planned" } else { "applied" };
        let report = ExitReport::new(Exit::Success).state(state);
        let report = report.response(json!({ "changed": changed }));
        context.out.json(&report.to_json())?;
    }
    Ok(Exit::Success)
}

fn show(
    context: &Context,
    environment: &Environment,
    done: &str,
    differences: &[String],
) -> Result<()> {
    if context.out.json {
        return Ok(());
    }
    context
        .out
        .line(&format!("the policy of {environment} {done}"))?;
    for difference in differences {
        context.out.line(&format!("  {}", sanitize(difference)))?;
    }
    Ok(())
}

/// The change of an environment's policy and selector.
struct Change {
    environment: Environment,
    /// What counts now.
    before: EnvironmentSettings,
    /// What should count, as the API has it.
    after: Map<String, Value>,
    /// The nodes that should belong to it by their labels. `None`: those of each engine's own
    /// configuration.
    selector: Option<String>,
}

impl Change {
    async fn plan(
        environment: Environment,
        (policy, selector): (&Policy, Option<&Selector>),
        context: &Context,
    ) -> Result<Self> {
        let before = context.client.environment_settings(&environment).await?;
        Ok(Self {
            environment,
            before,
            after: members(policy),
            selector: selector.map(ToString::to_string),
        })
    }

    /// What an engine has from its own configuration does not count on others.
    fn is_needed(&self) -> bool {
        self.before.source != "api"
            || self.before.policy != self.after
            || self.selector_before() != self.selector.as_deref()
    }

    /// The selector that was set through the API.
    fn selector_before(&self) -> Option<&str> {
        let is_set = self.before.selector_source.as_deref() == Some("api");
        self.before.selector.as_deref().filter(|_| is_set)
    }

    /// `maxUnavailable: 50% -> 25%`.
    fn differences(&self) -> Vec<String> {
        let different = self.after.iter().filter_map(|(key, after)| {
            let before = self.before.policy.get(key);
            (before != Some(after))
                .then(|| format!("{key}: {} -> {}", text(before), text(Some(after))))
        });
        let selectors = (self.selector_before(), self.selector.as_deref());
        let selector = (selectors.0 != selectors.1).then(|| {
            let [before, after] = [selectors.0, selectors.1].map(|one| one.unwrap_or("none"));
            format!("selector: {before} -> {after}")
        });
        different.chain(selector).collect()
    }

    /// Returns whether anything was changed.
    async fn carry_out(&self, reason: Option<&str>, context: &Context) -> Result<bool> {
        let mut body = json!({ "policy": self.after, "requesterEmail": context.email });
        if let Some(selector) = &self.selector {
            body["selector"] = selector.as_str().into();
        }
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        let client = &context.client;
        let set = client.set_environment(&self.environment, self.before.version, &body);
        Ok(set.await?.version != self.before.version)
    }
}

/// The policy as the API has it: spans in milliseconds.
fn members(policy: &Policy) -> Map<String, Value> {
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let members = [
        ("defaultStrategy", json!(policy.default_strategy.as_str())),
        ("maxUnavailable", json!(policy.max_unavailable.to_string())),
        (
            "toleratedFailures",
            json!(policy.tolerated_failures.to_string()),
        ),
        ("maxMissing", json!(policy.max_missing.to_string())),
        ("deadline", json!(millis(policy.deadline))),
        ("pauseStopsDeadline", json!(policy.pause_stops_deadline)),
        ("revertPatience", json!(millis(policy.revert_patience))),
    ];
    let members = members.map(|(key, value)| (key.to_owned(), value));
    members.into_iter().collect()
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "none".to_owned(),
    }
}
