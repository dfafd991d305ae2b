//! `hotswap discovery check --config`: whether a backend keeps the contract.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_plugins::discovery::{
    BackendLimits, ContractCheck, ContractOptions, DiscoveryHost, Outcome, check_contract,
};
use serde_json::{Value, json};

use super::super::Context;
use crate::args::Serve;
use crate::config::{Config, DiscoverySource, STATIC};
use crate::discovery::{Components, settings};
use crate::exit::Exit;
use crate::format::sanitize;
use crate::output::print_message;

/// The service in which an instance is registered.
const SCRATCH_SERVICE: &str = "hotswap-contract-check";

/// How soon a change must be seen. Generous: a slow network is not a fault of the backend.
const LATENCY: Duration = Duration::from_secs(10);

/// Bytes of an answer. Less than in an engine: an answer without an end is sent whole.
const RESPONSE_BYTES: usize = 4 << 20;

const CHECKS: [&str; 2] = ["RESULT", "RULE"];

/// Checks the backend of a source.
///
/// # Errors
/// If the file has no such source, or the backend does not start with its settings.
pub async fn check(name: &str, file: PathBuf, read_only: bool) -> Result<Vec<ContractCheck>> {
    let args = Serve {
        config: Some(file),
        ..Serve::default()
    };
    let config = Config::read(&args, |_| None)?;
    let source = find(name, &config.discovery)?;
    ensure!(
        source.backend != STATIC,
        "the backend {STATIC} is a part of the engine: there is no contract to check"
    );
    let limits = BackendLimits {
        response_bytes: RESPONSE_BYTES,
        ..BackendLimits::default()
    };
    let context = || format!("discovery source '{}'", source.name);
    let host = DiscoveryHost::new(limits)?;
    let bytes = Components::default().read(&source.backend).await;
    let component = host.load(&bytes.with_context(context)?).await;
    let component = component.with_context(context)?;
    let settings = settings(source, &component).await.with_context(context)?;
    let options = ContractOptions {
        service: source.service.clone(),
        scratch_service: (!read_only).then(|| SCRATCH_SERVICE.to_owned()),
        latency: LATENCY,
    };
    print_message("checking the contract, which takes about a minute");
    Ok(check_contract(&component, &settings, &options).await)
}

fn find<'a>(name: &str, sources: &'a [DiscoverySource]) -> Result<&'a DiscoverySource> {
    let by_name = sources.iter().find(|source| source.name == name);
    let found = by_name.or_else(|| sources.iter().find(|source| source.backend == name));
    found.with_context(|| {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        format!(
            "the file has no source or backend '{}'; its sources are: {}",
            sanitize(name),
            names.join(", ")
        )
    })
}

/// Prints the checks. Fails if one of them does.
pub fn show(checks: &[ContractCheck], context: &Context) -> Result<Exit> {
    let failed = checks
        .iter()
        .filter(|check| matches!(check.outcome, Outcome::Failed(_)));
    let exit = match failed.count() {
        0 => Exit::Success,
        _ => Exit::Failure,
    };
    if context.out.json {
        let list: Vec<_> = checks.iter().map(to_json).collect();
        context.out.json(&json!({ "checks": list }))?;
        return Ok(exit);
    }
    let row = |check: &ContractCheck| {
        let (result, reason) = words(check);
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        [
            result.to_owned(),
            sanitize(&format!("{}{reason}", check.rule)),
        ]
    };
    let rows: Vec<_> = checks.iter().map(row).collect();
    context.out.table(CHECKS, &rows)?;
    Ok(exit)
}

fn to_json(check: &ContractCheck) -> Value {
    let (result, reason) = words(check);
    json!({ "rule": check.rule, "result": result, "reason": reason })
}

fn words(check: &ContractCheck) -> (&'static str, Option<&str>) {
    match &check.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Skipped(reason) => ("skipped", Some(reason)),
    }
}
