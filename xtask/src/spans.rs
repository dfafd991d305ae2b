//! The spans of engine and nodes: those that the source begins, and those that a page lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use proc_macro2::{TokenStream, TokenTree};

/// The page with the table.
const PAGE: &str = "docs/OBSERVABILITY.md";
const HEADING: &str = "\n### Spans\n";

/// The sources that begin spans.
const SOURCES: [&str; 6] = [
    "engine/api/src",
    "engine/fleet/src",
    "engine/runner/src",
    "node/src/control",
    "node/src/data",
    "node/src/disk",
];

/// How the names of spans begin. Some are passed through functions, so they are found wherever they
/// stand in these sources.
const GROUPS: [&str; 4] = ["deployment.", "module.", "node.", "slots."];

/// The methods of `Span` that take a name.
const METHODS: [&str; 3] = ["child", "continuing", "numbered"];

/// Names that a span has until its request is known, and the example of the page for what it is named
/// then.
const REQUESTS: [(&str, &str); 2] = [
    ("request", "POST /api/v1/deployments"),
    ("module", "GET hello"),
];

/// Compares them, both ways.
///
/// # Errors
/// Names the spans that only one side has.
pub fn check(root: &Path) -> Result<()> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("no {PAGE}"))?;
    let listed = of_page(&page)?;
    let mut begun = BTreeSet::new();
    for folder in SOURCES {
        of_folder(&root.join(folder), &mut begun)?;
    }
    for (name, example) in REQUESTS {
        if begun.remove(name) {
            begun.insert(example.to_owned());
        }
    }
    let unlisted: Vec<_> = begun.difference(&listed).collect();
    ensure!(
        unlisted.is_empty(),
        "{PAGE} does not list the spans {unlisted:?}: add them to its table"
    );
    let gone: Vec<_> = listed.difference(&begun).collect();
    ensure!(
        gone.is_empty(),
        "{PAGE} lists the spans {gone:?}, which nothing begins: remove them"
    );
    Ok(())
}

/// The names in the first column of the table.
fn of_page(page: &str) -> Result<BTreeSet<String>> {
    let section = page.split_once(HEADING).context("no part about spans")?.1;
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    Ok(names.map(str::to_owned).collect())
}

/// Adds the names of all sources below a folder, tests left out.
fn of_folder(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" {
                of_folder(&path, names)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path)?;
            of_source(&source, names).with_context(|| format!("in {}", path.display()))?;
        }
    }
    Ok(())
}

fn of_source(source: &str, names: &mut BTreeSet<String>) -> Result<()> {
    // Tests within a file are its end.
    let source = source.split("\n#[cfg(test)]\nmod tests {").next();
    let tokens: TokenStream = source
        .unwrap_or_default()
        .parse()
        .map_err(|error| anyhow!("it is not Rust: {error}"))?;
    walk(tokens, false, names);
    Ok(())
}

/// Adds the names of spans, and every text in `Span::child(…)` and the like.
fn walk(tokens: TokenStream, is_argument: bool, names: &mut BTreeSet<String>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => {
                let before: String = trees[index.saturating_sub(4)..index]
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let mut methods = METHODS.iter();
                let is_span = methods.any(|method| before == format!("Span::{method}"));
                walk(group.stream(), is_span, names);
            }
            TokenTree::Literal(literal) => {
                let literal = literal.to_string();
                let text = literal
                    .strip_prefix('"')
                    .and_then(|it| it.strip_suffix('"'));
                let text = text.filter(|text| is_argument || is_name(text));
                names.extend(text.map(str::to_owned));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// Whether a text has the form of a span's name: a group and what is done, or an operation of nodes.
fn is_name(text: &str) -> bool {
    let is_done = |rest: &str| {
        let mut letters = rest.bytes();
        !rest.is_empty() && letters.all(|letter| letter.is_ascii_lowercase() || letter == b'_')
    };
    let mut groups = GROUPS.iter();
    groups.any(|group| text.strip_prefix(group).is_some_and(is_done))
        || text.split_once(" /v1/").is_some_and(|(method, _)| {
            let mut letters = method.bytes();
            letters.all(|letter| letter.is_ascii_uppercase())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_at_the_call_and_behind_a_function() {
        let source = r#"
            fn f(parent: Option<TraceContext>) {
                let span = Span::continuing(parent, "anything", Kind::Server);
                let fetched = fetch(Span::child("module.fetch", Kind::Internal), "not.a.span");
                measured("deployment.plan", plan).await?;
                let name = "PUT /v1/modules/:module";
                // "node.comment"
                Other::child("other", "node.toml.d", "GET /api/v1/nodes");
            }

#[cfg(test)]
mod tests {
    const NAME: &str = "node.of_a_test";
}
        "#;
        let mut names = BTreeSet::new();
        of_source(source, &mut names).unwrap();
        let expected = [
            "PUT /v1/modules/:module",
            "anything",
            "deployment.plan",
            "module.fetch",
        ];
        assert_eq!(names, expected.map(str::to_owned).into());
    }

    #[test]
    fn the_page_lists_every_span_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        check(&root).unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(of_page(&page).unwrap().contains("slots.settle"));
    }
}
