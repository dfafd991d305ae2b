//! `docs/OBSERVABILITY.md` lists what a running engine and a running node expose, and nothing
//! else.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, tools};
use tokio::time::{Duration, Instant, sleep};

/// The series that the tables of the guide list, each with its type.
fn documented() -> Result<BTreeMap<String, String>> {
    let path = tools::repository_root().join("docs/OBSERVABILITY.md");
    let text = std::fs::read_to_string(path)?;
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `hotswap_")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, unit, meaning, _] = cells.as_slice() else {
            anyhow::bail!("not four cells: {line}");
        };
        ensure!(!unit.is_empty() && !meaning.is_empty(), "{line}");
        let twice = series.insert(name.trim_matches('`').to_owned(), (*kind).to_owned());
        ensure!(twice.is_none(), "listed twice: {line}");
    }
    Ok(series)
}

/// The series that a text of metrics announces, each with its type.
fn exposed(text: &str) -> BTreeMap<String, String> {
    let announced = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let pairs = announced.filter_map(|rest| rest.split_once(' '));
    let series = pairs.map(|(name, kind)| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        (format!("{name}{suffix}"), kind.to_owned())
    });
    series.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_lists_exactly_what_engine_and_nodes_expose() -> Result<()> {
    let hotswap = Installation::start("production", 1, &[]).await?;
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let control = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        let mut found = BTreeMap::new();
        for url in [hotswap.url.as_str(), control] {
            let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
            found.extend(exposed(&text));
        }
        // Announced with the first reading of the disk.
        if found.contains_key("hotswap_disk_full") || Instant::now() > deadline {
            break found;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let documented = documented()?;
    let missing = found
        .iter()
        .filter(|(name, _)| !documented.contains_key(*name));
    let missing: Vec<_> = missing.collect();
    ensure!(missing.is_empty(), "not in the guide: {missing:#?}");
    for (name, kind) in documented {
        ensure!(
            found.get(&name) == Some(&kind),
            "nobody exposes {name} as {kind}"
        );
    }
    Ok(())
}
