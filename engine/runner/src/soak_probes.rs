//! Requests that a deployment wants its nodes to send themselves while it soaks.

use serde::Deserialize;
use serde_json::Value;

/// The fewest and the most requests to one version on one node in a second.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=100.0;
/// Bytes of a path.
const MAX_PATH_BYTES: usize = 2048;

/// What the nodes of a soak send to both versions. A strategy that offers it has it in its schema
/// as `probes`: the contract has no place for it, and it is pinned with the request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SoakProbes {
    /// Path and query, beginning with `/`.
    pub(crate) path: String,
    /// How many each version gets on each node in a second.
    pub(crate) rate_per_second: f64,
}

/// The probes of a configuration. `None` if it has none, or they are not valid.
pub(crate) fn of_config(config: &Value) -> Option<SoakProbes> {
    let probes = SoakProbes::deserialize(&config["probes"]).ok()?;
    check_one(&probes).ok().map(|()| probes)
}

/// Checks the probes of a configuration.
///
/// # Errors
/// What is wrong with them, in one sentence.
pub(crate) fn check(config: &Value) -> Result<(), String> {
    let value = &config["probes"];
    if value.is_null() {
        return Ok(());
    }
    let probes = SoakProbes::deserialize(value);
    let probes =
        probes.map_err(|error| format!("probes: {error}; they have a path and ratePerSecond"))?;
    check_one(&probes)
}

fn check_one(probes: &SoakProbes) -> Result<(), String> {
    let SoakProbes {
        path,
        rate_per_second,
    } = probes;
    let is_path = path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        return Err(format!(
            "probes: the path must begin with '/', have no spaces, and at most {MAX_PATH_BYTES} \
             bytes of ASCII"
        ));
    }
    if !RATES.contains(rate_per_second) {
        let (min, max) = (RATES.start(), RATES.end());
        return Err(format!(
            "probes: ratePerSecond is {rate_per_second}; choose {min} to {max}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn probes_are_checked_before_a_deployment_begins() {
        let probes =
            |path: &str, rate: f64| json!({ "probes": { "path": path, "ratePerSecond": rate } });
        for valid in [
            json!({}),
            json!({ "probes": null }),
            probes("/health?a=b", 5.0),
        ] {
            assert_eq!(check(&valid), Ok(()), "{valid}");
        }
        let read = of_config(&probes("/health", 0.5)).unwrap();
        assert_eq!((read.path.as_str(), read.rate_per_second), ("/health", 0.5));
        for invalid in [
            probes("health", 5.0),
            probes("/a b", 5.0),
            probes("/ä", 5.0),
            probes("/", 0.0),
            probes("/", 1e9),
            json!({ "probes": { "path": "/" } }),
            json!({ "probes": 3 }),
        ] {
            assert!(
                check(&invalid).unwrap_err().starts_with("probes: "),
                "{invalid}"
            );
            assert_eq!(of_config(&invalid), None);
        }
    }
}
