//! What `docs/OBSERVABILITY.md` lists of spans.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{ReceivedSpan, tools};

/// The spans that the table of `docs/OBSERVABILITY.md` lists, each with the cell of its attributes.
fn documented() -> Result<Vec<(String, String)>> {
    let path = tools::repository_root().join("docs/OBSERVABILITY.md");
    let text = std::fs::read_to_string(path)?;
    let table = text.split("\n### Spans\n").nth(1).context("no table")?;
    let table = table.split("\n## ").next().unwrap_or_default();
    let mut all: Vec<(String, String)> = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, names, _, _, _, attributes, _] = cells.as_slice() else {
            anyhow::bail!("not five cells: {row}");
        };
        let attributes = match (*attributes, all.last()) {
            ("the same", Some((_, above))) => above.clone(),
            (attributes, _) => attributes.to_owned(),
        };
        for name in names.split(", ").filter(|name| *name != "…") {
            all.push((name.trim_matches('`').to_owned(), attributes.clone()));
        }
    }
    ensure!(all.len() > 20, "{all:#?}");
    Ok(all)
}

/// Checks that the table has each span, with its attributes and no others: what it lists for a span,
/// one of that name has. Two rows stand for any: one for the requests of the API, and one for those
/// of modules.
pub fn check_documented(spans: &[ReceivedSpan]) -> Result<()> {
    let documented = documented()?;
    let mut seen = BTreeMap::<&str, BTreeSet<&str>>::new();
    for span in spans {
        let has = |attribute: &str| span.attributes.contains_key(attribute);
        let example = match span.service() {
            "hotswap-engine" if has("hotswap.request.id") => "POST /api/v1/deployments",
            "hotswap-node" if has("http.request.method") && has("hotswap.module.name") => {
                "GET hello"
            }
            _ => span.name.as_str(),
        };
        let row = documented.iter().find(|(name, _)| name == example);
        let (_, attributes) = row.with_context(|| format!("not in the guide: {span:#?}"))?;
        for attribute in span.attributes.keys() {
            let is_listed = attributes.contains(&format!("`{attribute}`"));
            ensure!(
                is_listed,
                "the guide does not say that {example} has {attribute}"
            );
        }
        let attributes = span.attributes.keys().map(String::as_str);
        seen.entry(example).or_default().extend(attributes);
    }
    for (name, attributes) in &documented {
        let Some(seen) = seen.get(name.as_str()) else {
            continue;
        };
        let listed = attributes.split('`').skip(1).step_by(2);
        // None of these deployments' spans fails, and clients send no unknown methods.
        let rare = ["error.type", "http.request.method_original"];
        let mut listed = listed.filter(|attribute| !rare.contains(attribute));
        let gone = listed.find(|attribute| !seen.contains(attribute));
        ensure!(gone.is_none(), "the guide says that {name} has {gone:?}");
    }
    Ok(())
}
