//! The spans of engine and nodes, and their attributes: those of the source, and those that a page
//! lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use proc_macro2::{TokenStream, TokenTree};

/// The page with the table.
const PAGE: &str = "docs/OBSERVABILITY.md";
const HEADING: &str = "\n### Spans\n";

/// The sources that begin spans, or that set their attributes.
const SOURCES: [&str; 7] = [
    "common/src/trace",
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

/// The methods of `Span` that take the name of an attribute.
const SETTERS: [&str; 2] = ["set", "set_text"];

/// The column of the table with the attributes.
const ATTRIBUTES: usize = 5;

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
    let listed = of_page(&page, 1)?;
    let mut of_source = OfSource::default();
    for folder in SOURCES {
        of_folder(&root.join(folder), &mut of_source)?;
    }
    let mut begun = of_source.spans;
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
    let listed = of_page(&page, ATTRIBUTES)?;
    let unlisted: Vec<_> = of_source.attributes.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&of_source.attributes).collect();
    ensure!(
        unlisted.is_empty() && gone.is_empty(),
        "{PAGE} does not list the attributes {unlisted:?} of spans: add them to its table; it lists \
         {gone:?}, which no span has: remove them"
    );
    Ok(())
}

/// What the source says.
#[derive(Debug, Default)]
struct OfSource {
    spans: BTreeSet<String>,
    attributes: BTreeSet<String>,
}

/// The names in a column of the table, counted from 1.
fn of_page(page: &str, column: usize) -> Result<BTreeSet<String>> {
    let section = page.split_once(HEADING).context("no part about spans")?.1;
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(column));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    Ok(names.map(str::to_owned).collect())
}

/// Adds the names of all sources below a folder, tests left out.
fn of_folder(folder: &Path, found: &mut OfSource) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" {
                of_folder(&path, found)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path)?;
            of_source(&source, found).with_context(|| format!("in {}", path.display()))?;
        }
    }
    Ok(())
}

fn of_source(source: &str, found: &mut OfSource) -> Result<()> {
    // Tests within a file are its end.
    let source = source.split("\n#[cfg(test)]\nmod tests {").next();
    let tokens: TokenStream = source
        .unwrap_or_default()
        .parse()
        .map_err(|error| anyhow!("it is not Rust: {error}"))?;
    walk(tokens, Arguments::Other, found);
    Ok(())
}

/// Between which parentheses tokens stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    /// `Span::child(…)` and the like.
    NewSpan,
    /// `.set(…)` and the like.
    Setter,
    Other,
}

impl Arguments {
    /// Those that follow these tokens, the last ones before a parenthesis.
    fn after(tokens: &[TokenTree]) -> Self {
        let before: Vec<_> = tokens.iter().map(ToString::to_string).collect();
        let is_method = |name: &str| METHODS.contains(&name);
        match before.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["Span", ":", ":", method] if is_method(method) => Self::NewSpan,
            [.., ".", setter] if SETTERS.contains(&setter) => Self::Setter,
            _ => Self::Other,
        }
    }
}

/// Adds the names of spans and of attributes, and every text in `Span::child(…)` and the like.
fn walk(tokens: TokenStream, arguments: Arguments, found: &mut OfSource) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => {
                let before = &trees[index.saturating_sub(4)..index];
                walk(group.stream(), Arguments::after(before), found);
            }
            TokenTree::Literal(literal) => {
                let literal = literal.to_string();
                let text = literal
                    .strip_prefix('"')
                    .and_then(|it| it.strip_suffix('"'));
                let Some(text) = text else { continue };
                if arguments == Arguments::Setter && index == 0 {
                    found.attributes.insert(text.to_owned());
                } else if arguments == Arguments::NewSpan || is_name(text) {
                    found.spans.insert(text.to_owned());
                }
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
                span.set("hotswap.fence", "not.an.attribute");
                inner.span.set_text("server.address", &host);
                set("of.no.span", 1);
            }

#[cfg(test)]
mod tests {
    const NAME: &str = "node.of_a_test";
}
        "#;
        let mut found = OfSource::default();
        of_source(source, &mut found).unwrap();
        let expected = [
            "PUT /v1/modules/:module",
            "anything",
            "deployment.plan",
            "module.fetch",
        ];
        assert_eq!(found.spans, expected.map(str::to_owned).into());
        let expected = ["hotswap.fence", "server.address"];
        assert_eq!(found.attributes, expected.map(str::to_owned).into());
    }

    #[test]
    fn the_page_lists_every_span_and_attribute_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        check(&root).unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(of_page(&page, 1).unwrap().contains("slots.settle"));
        let attributes = of_page(&page, ATTRIBUTES).unwrap();
        assert!(attributes.contains("hotswap.call.number"));
    }
}
